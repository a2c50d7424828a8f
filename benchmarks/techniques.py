"""What each technique gives on the real photos: accuracy over seeds, how far from the same schedule without it, seconds.

    python -m benchmarks.techniques                           all of them, five seeds each
    python -m benchmarks.techniques --only averaging soup     some, and what they are compared with
    python -m benchmarks.techniques --seeds 3 --folder RUNS

MobileNet of alpha 0.25 at 160 px, the last block and the head, 10 epochs; a technique is an ordinary command line or two,
shown in its row. A tenth of the training photos is kept back, by which nothing is chosen. Runs stay in the folder, and the same
command again measures what is missing: seed by seed, so that a table of what is there can be had at any time (``--seeds 2``).
Seconds are those of all processors, without what every command imports.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import Any

from benchmarks.measure import data_folder, made_on, mobilenet, processor, weights_file
from framework.core.errors import DONE
from framework.core.files import write_whole
from framework.core.runs import RunFolder
from framework.reports.interval import OUTSIDE
from framework.sweeps.processes import in_processes
from framework.sweeps.ready import ready

LAST_BLOCK = "stages.main.train=from:conv_dw_13"
FEW = "data.limit=600 trainer.epochs=20"
HALVES = "stages=finetune stages.head.train=from:conv_dw_13 stages.head.image_size=96 stages.head.epochs=5"
HALVES += " stages.finetune.train=from:conv_dw_13 stages.finetune.lr_factor=1 stages.finetune.epochs=5"


@dataclass(frozen=True)
class Technique:
    """Command lines, without what all of their command have.

    Attributes:
        lines: in each ``{NAME}`` is the folder of what another technique has left for the same seed, and ``{here}`` its own.
        beside: the technique that it is compared with; None for one that others are compared with.
    """

    lines: tuple[str, ...]
    beside: str | None = None

    @property
    def needs(self) -> set[str]:
        """Names of the techniques whose results it takes."""
        fields = {field for line in self.lines for _, field, _, _ in Formatter().parse(line)}
        return ({self.beside} | fields) & TECHNIQUES.keys()

    @property
    def last(self) -> str:
        """The command whose result counts."""
        return self.lines[-1].partition(" ")[0]

    @property
    def shown(self) -> str:
        """What its lines say that those of the other one do not."""
        others = TECHNIQUES[self.beside].lines if self.beside else ()
        common = {word for line in others for word in line.split()}
        lines = [[word for word in line.split() if word not in common] for line in self.lines]
        return "; ".join(" ".join(line) for line in lines if line) or self.lines[0]


MEMBERS = ("plain", "smoothing", "clipping", "accumulation", "averaging", "progressive")
ALL_OF_THEM = ",".join(f"{{{name}}}" for name in MEMBERS)

# each after those that it needs
TECHNIQUES = {
    "plain": Technique((f"train {LAST_BLOCK}",)),
    "smoothing": Technique((f"train {LAST_BLOCK} loss.label_smoothing=0.1",), "plain"),
    "clipping": Technique((f"train {LAST_BLOCK} optim.clipnorm=1",), "plain"),
    "accumulation": Technique(
        (f"train {LAST_BLOCK} trainer.batch_size=8 trainer.gradient_accumulation_steps=4",), "plain"
    ),
    "averaging": Technique((f"train {LAST_BLOCK} callbacks=[default,weight_averaging]",), "plain"),
    "progressive": Technique((f"train {HALVES}",), "plain"),
    "ensemble": Technique((f"ensemble runs=[{ALL_OF_THEM}]",), "plain"),
    "soup": Technique((f"ensemble method=soup runs=[{ALL_OF_THEM}]",), "plain"),
    "larger": Technique((f"train {LAST_BLOCK} data.image_size=224",), "plain"),
    "distillation": Technique((f"train {LAST_BLOCK} distill.from={{larger}}",), "plain"),
    "few": Technique((f"train {LAST_BLOCK} {FEW}",)),
    "pseudo": Technique(
        (
            "predict {photos}/train run={few} calibrate=true min_confidence=0.95 output={here}.csv",
            f"train {LAST_BLOCK} {FEW} data.pseudo={{here}}.csv",
        ),
        "few",
    ),
    "light": Technique((f"train {LAST_BLOCK} {FEW} augment=light augment.copies=4",), "few"),
    "mixup": Technique((f"train {LAST_BLOCK} {FEW} augment=mixup",), "few"),
    "kept_back": Technique(("evaluate run={plain} split=test",)),
    "temperature": Technique(("evaluate run={plain} split=test calibrate=true",), "kept_back"),
    "of_smoothing": Technique(("evaluate run={smoothing} split=test",), "kept_back"),
    "its_temperature": Technique(("evaluate run={smoothing} split=test calibrate=true",), "of_smoothing"),
    "flip": Technique(("evaluate run={plain} split=test tta=flip",), "kept_back"),
    "crops": Technique(("evaluate run={plain} split=test tta=crops",), "kept_back"),
    "of_ensemble": Technique(("evaluate run={ensemble} split=test",), "kept_back"),
    "of_soup": Technique(("evaluate run={soup} split=test",), "kept_back"),
    "unknown": Technique(
        (
            f"train {LAST_BLOCK} data.classes=[{{others}}]",
            "evaluate run={here} data.unknown={photos}/train/{left_out}",
        )
    ),
}
# features that are kept and shared are computed before anything is timed
FEATURES = (LAST_BLOCK, HALVES, f"{LAST_BLOCK} data.image_size=224")

Note = Mapping[str, Any]
Notes = Mapping[str, Mapping[int, Note]]


class Bench:
    """A folder of runs, in which each technique leaves a note a seed of what it gave and took.

    Args:
        folder: for runs, notes and the feature cache.
        photos: with folders train and validation.
        weights: a file of MobileNet's; None for random ones.
    """

    def __init__(self, folder: Path, photos: Path, weights: str | None):
        self.folder, self.photos = folder, photos
        self.classes = sorted(path.name for path in (photos / "train").iterdir() if path.is_dir())
        self._network = [*mobilenet(photos, weights), "data.image_size=160", "data.test=0.1"]
        self._always = {
            "train": [*self._network, "trainer.seed={seed}", "hydra.run.dir={here}"],
            "ensemble": ["output={here}"],
            "evaluate": ["output={here}/measured"],
            "predict": [],
        }

    def words(self, name: str, seed: int) -> list[list[str]]:
        """The command lines of a technique for a seed: the command, then what it is given."""
        left_out = self.classes[(seed - 1) % len(self.classes)]
        places: dict[str, Any] = {other: self._here(other, seed) for other in TECHNIQUES}
        places |= {"here": self._here(name, seed), "photos": self.photos, "seed": seed, "left_out": left_out}
        places["others"] = ",".join(one for one in self.classes if one != left_out)
        lines = [line.split() for line in TECHNIQUES[name].lines]
        return [[word.format_map(places) for word in (line[0], *self._always[line[0]], *line[1:])] for line in lines]

    def fill(self) -> float:
        """Compute the features that several techniques share; processor seconds, 0 where they are there."""
        note = self.folder / "features.json"
        if not note.is_file():
            lines = [line.split() for line in FEATURES]
            taken = [
                self._run(
                    "train", *self._network, *line, "cache=only", f"hydra.run.dir={self._here('features', place)}"
                )
                for place, line in enumerate(lines)
            ]
            write_whole(note, json.dumps({"processor": sum(taken)}))
        return float(json.loads(note.read_text())["processor"])

    def measure(self, name: str, seed: int) -> Note:
        """What a technique gives with a seed, measured if it is not known."""
        file = Path(f"{self._here(name, seed)}.json")
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            taken = [self._run(*words) for words in self.words(name, seed)]
            found = {"processor": sum(taken), **self._result(TECHNIQUES[name], file.with_suffix(""))}
            write_whole(file, json.dumps(found))
        note: Note = json.loads(file.read_text())
        return note

    def _run(self, *words: str) -> float:
        """Do a command in a process of its own, a copy of this one; its processor seconds."""
        before = processor()
        (ended,) = in_processes([partial(_command, words, self.folder / "said.txt")], 1)
        if ended.code != DONE:
            sys.exit(f"{' '.join(words)} ended with {ended.code}; {self.folder / 'said.txt'} says more")
        return processor() - before

    def _here(self, name: str, seed: int) -> str:
        return str(self.folder / name / str(seed))

    def _result(self, technique: Technique, folder: Path) -> dict[str, Any]:
        if technique.last != "evaluate":
            return {"accuracy": RunFolder(folder).read_run()["best"]["metrics"]["val_accuracy"]}
        said = json.loads((folder / "measured" / "metrics.json").read_text())
        found = {"accuracy": said["accuracy"], "error": said["calibration"]["error"]}
        if unknown := said.get("unknown"):
            found |= {"confidence": unknown["auroc"], **{by: unknown[by]["auroc"] for by in ("distance", "either")}}
        return found


def _command(words: Sequence[str], log: Path) -> int:
    """What ``python -m framework.…`` does with these words, in this process; its exit code."""
    with open(log, "a") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    command, *given = words
    sys.argv = [f"framework.{command}", *given]
    code: int = import_module(f"framework.{command}").main(given)
    return code


def wanted(only: Iterable[str]) -> list[str]:
    """Names of what is to be measured, each after those that it needs: all, or some with these."""
    found = set(only) or set(TECHNIQUES)
    for name in reversed(TECHNIQUES):
        found |= TECHNIQUES[name].needs if name in found else set()
    return [name for name in TECHNIQUES if name in found]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean over seeds and half its 95 % interval (Student's t); of one seed the half is infinite."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return values[0], math.inf
    reach = float(stdtrit(len(values) - 1, 1 - OUTSIDE / 2))
    return statistics.fmean(values), reach * statistics.stdev(values) / math.sqrt(len(values))


def tables(notes: Notes) -> str:
    """What was measured, in Markdown: trainings on the validation photos, answers to those kept back, unknown photos."""
    names = [name for name in TECHNIQUES if notes.get(name)]
    trained = [name for name in names if TECHNIQUES[name].last != "evaluate"]
    answered = [name for name in names if name not in (*trained, "unknown")]
    areas = {by: f"area by {by}" for by in ("confidence", "distance", "either")}
    found = [
        _table(trained, notes, "best validation accuracy", {}),
        _table(answered, notes, "accuracy on what is kept back", {"error": "calibration error"}),
        _table([name for name in names if name == "unknown"], notes, "accuracy on the other classes", areas),
    ]
    return "\n\n".join(table for table in found if table)


def _table(names: Iterable[str], notes: Notes, accuracy: str, more: Mapping[str, str]) -> str:
    """A row a technique: what it is given, its accuracy and other figures, the difference that it makes, its price."""
    rows = []
    for name in names:
        technique, own = TECHNIQUES[name], notes[name]
        others = notes.get(technique.beside or "", {})
        both = [seed for seed in own if seed in others]
        apart = [own[seed]["accuracy"] - others[seed]["accuracy"] for seed in both]
        figures = [_said([note[column] for note in own.values()]) for column in ("accuracy", *more)]
        seconds = statistics.fmean(note["processor"] for note in own.values())
        versus = f"{_said(apart, '+')} to {technique.beside}" if apart else ""
        rows.append([name, f"`{technique.shown}`", figures[0], versus, *figures[1:], f"{seconds:.0f}", f"{len(own)}"])
    head = ["", "given", accuracy, "difference", *more.values(), "processor seconds", "seeds"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _said(values: Sequence[float], sign: str = "-") -> str:
    """A mean with its interval; ≈ behind a difference that chance explains."""
    mean, half = interval(values)
    tied = " ≈" if sign == "+" and abs(mean) <= half else ""
    return f"{mean:{sign}.3f} ± {half:.3f}{tied}" if math.isfinite(half) else f"{mean:{sign}.3f}"


def main() -> None:
    """Measure what is missing, telling each, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--only", choices=TECHNIQUES, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("techniques"), help="for runs, notes and kept features")
    options = parser.parse_args()
    weights = weights_file("mobilenet", options.weights)
    bench = Bench(options.folder.resolve(), data_folder(options.data), weights)
    bench.folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(bench.folder / "cache")
    ready()
    filled, names = bench.fill(), wanted(options.only)
    notes: dict[str, dict[int, Note]] = {name: {} for name in names}
    for seed in range(1, options.seeds + 1):
        for name in names:
            note = notes[name][seed] = bench.measure(name, seed)
            print(f"seed {seed} {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in note.items()), flush=True)
    print(f"\n{tables(notes)}\n\nfeatures at all sizes, computed before: {filled:.0f} processor seconds\n{made_on()}")


if __name__ == "__main__":
    main()

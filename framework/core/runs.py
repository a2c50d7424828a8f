"""The run folder: the names of what a run leaves, and reading and writing its small files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from framework.core.digits import KEPT
from framework.core.errors import BadInput, Problem
from framework.core.files import open_own, read_own, refuse_bomb, whole, write_whole

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
MOST_CONFIG = 1 << 20  # bytes of a resolved config: a hundred times as many as the largest have
ANSWERS = ("path", "label", "predicted", "probability", "right")  # columns of answers.csv


class KeptLogits(NamedTuple):
    """What a model gave for its validation images.

    Attributes:
        logits: float32 (images, units).
        labels: as in ``data.images.Split``.
        images: stands for their names in their order; equal for two runs that were measured on images of the same names.
    """

    logits: np.ndarray
    labels: np.ndarray
    images: str


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run's files; nothing is touched until asked for."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config; enough to run it again."""
        return self.path / "config.yaml"

    @property
    def run_json(self) -> Path:
        """Status, versions, seed, classes, best epoch and metrics."""
        return self.path / "run.json"

    @property
    def history(self) -> Path:
        """A row an epoch."""
        return self.path / "history.csv"

    @property
    def curves(self) -> Path:
        """Training and validation curves."""
        return self.path / "curves.png"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoint callback writes."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The best model, self-contained."""
        return self.path / "model.keras"

    @property
    def state(self) -> Path:
        """All that it takes to go on with the run."""
        return self.path / "state.npz"

    @property
    def lock(self) -> Path:
        """Held by the process that trains here."""
        return self.path / ".lock"

    @property
    def confusion(self) -> Path:
        """Validation images of each class by what the best model takes them for."""
        return self.path / "confusion.csv"

    @property
    def answers(self) -> Path:
        """A row a validation image: its label, the best model's answer, how sure it is, and whether it is right."""
        return self.path / "answers.csv"

    @property
    def logits(self) -> Path:
        """What the best model gives for each image of ``answers``, and its label."""
        return self.path / "logits.npz"

    @property
    def familiar(self) -> Path:
        """What distances to the training images need, once they were asked for."""
        return self.path / "familiar.npz"

    @property
    def split(self) -> Path:
        """A row an image: which split it is in, with which label."""
        return self.path / "split.csv"

    def read_run(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            BadInput: it is missing, unreadable, or of a format this version does not know.
        """
        try:
            run = json.loads(read_own(self.run_json, self.path))
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput(Problem(f"{self.path} is not a run folder: run.json is missing", str(self.path))) from None
        except RecursionError:
            what = f"{self.run_json} can't be read: it is nested too deeply"
            raise BadInput(Problem(what, str(self.run_json))) from None
        except (OSError, ValueError) as error:
            raise BadInput(Problem(f"{self.run_json} can't be read: {error}", str(self.run_json))) from None
        if not isinstance(run, dict) or run.get("format") != FORMAT:
            raise BadInput(
                Problem(
                    f"{self.run_json} has format {run.get('format') if isinstance(run, dict) else None}; "
                    f"this version reads format {FORMAT}",
                    str(self.run_json),
                    "the version of this project that wrote it",
                )
            )
        data = run.get("data")
        if isinstance(data, dict) and "pictures" in data:  # what 0.1.0 called them
            data["images"] = data.pop("pictures")
        return run

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write ``run.json`` whole."""
        write_whole(self.run_json, json.dumps({"format": FORMAT, **run}, indent=2, ensure_ascii=False) + "\n")

    def read_config(self) -> dict[str, Any]:
        """What ``config.yaml`` says, in plain values; empty where it is no mapping.

        Raises:
            OSError: it can't be read.
            ValueError: it is no YAML as a run writes it; aliases, by which a value may contain itself, are none.
        """
        import yaml

        text = read_own(self.config, self.path, MOST_CONFIG)
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader)):
                raise ValueError("it has an alias, which no run writes")
            config = yaml.load(text, loader)
        except yaml.YAMLError as error:
            raise ValueError(str(error).strip().split("\n", 1)[0]) from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return config if isinstance(config, dict) else {}

    def read_history(self) -> list[dict[str, Any]]:
        """Rows of ``history.csv``: epoch a whole number, stage a text, every other column a number or None."""
        rows = csv.DictReader(io.StringIO(read_own(self.history, self.path), newline=""))
        try:
            return [{key: _read(key, value) for key, value in row.items()} for row in rows]
        except csv.Error as error:
            raise ValueError(str(error)) from None

    def read_answers(self) -> dict[str, bool]:
        """Of each image in ``answers.csv`` whether the answer is right.

        Raises:
            OSError: it can't be read.
            ValueError: it is none, or not whole.
        """
        path, right = ANSWERS.index("path"), ANSWERS.index("right")
        found = {}
        with open_own(self.answers, self.path) as opened:
            rows = csv.reader(io.TextIOWrapper(opened, "utf-8", "surrogateescape", newline=""))
            try:
                if tuple(next(rows, ())) != ANSWERS:
                    raise ValueError(f"its columns are not {', '.join(ANSWERS)}")
                for row in rows:
                    if len(row) != len(ANSWERS) or row[right] not in ("0", "1"):
                        raise ValueError(f"line {rows.line_num} is none of its own")
                    found[row[path]] = row[right] == "1"
            except csv.Error as error:
                raise ValueError(str(error)) from None
        return found

    def read_logits(self) -> KeptLogits:
        """What ``logits.npz`` holds.

        Raises:
            BadInput: there is none, or it is none.
        """

        try:
            with open_own(self.logits, self.path) as file, arrays(file) as found:
                kept = KeptLogits(found["logits"], found["labels"], str(found["images"]))
        except FileNotFoundError:
            what = f"{self.path} has no logits.npz: what its model said of the validation images was not kept"
            raise BadInput(Problem(what, str(self.path), "a run with validation images, of this version")) from None
        except (*NO_ARRAYS, KeyError) as error:
            raise BadInput(Problem(f"{self.logits} can't be read: {error}", str(self.logits))) from None
        if kept.logits.ndim != 2 or len(kept.logits) != len(kept.labels) or not len(kept.labels):
            raise BadInput(Problem(f"{self.logits} holds no logits of labelled images", str(self.logits)))
        return kept

    def write_logits(self, kept: KeptLogits) -> None:
        """Write ``logits.npz`` whole."""
        import numpy as np

        with whole(self.logits) as beside, open(beside, "wb") as file:
            np.savez(file, logits=kept.logits, labels=kept.labels, images=kept.images)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``history.csv`` whole; columns are those of the rows, in order of first appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns)]
        lines += [",".join("" if row.get(key) is None else _show(row[key]) for key in columns) for row in rows]
        write_whole(self.history, "\n".join(lines) + "\n")


# what reading arrays raises where a file holds none, or others than it says
NO_ARRAYS = (OSError, EOFError, ValueError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error)


def arrays(file: IO[bytes]) -> Any:
    """The arrays in an opened ``.npz``, read when they are asked for, none of them a pickle; to be closed as a file is.

    Raises:
        ValueError: it is none, or would unpack to very much more than it is.
    """
    import numpy as np

    with zipfile.ZipFile(file) as archive:
        refuse_bomb(archive)
    file.seek(0)
    return np.load(file, allow_pickle=False)


def refuse_made(run: RunFolder, argument: str) -> None:
    """Let only what was trained be trained on or anew, not what was made of other runs.

    Raises:
        BadInput: it was made of others, or is no run.
    """
    made = run.read_run().get("made")
    if isinstance(made, dict):
        members = [str(member.get("run")) for member in made.get("members", ()) if isinstance(member, dict)]
        what = f"{run.path} was not trained: it is the {made.get('method')} of {len(members)} runs"
        raise BadInput(Problem(what, f"command line: {argument}", f"one of them: {members[0] if members else 'a run'}"))


def _read(key: str, value: str) -> Any:
    if key == "stage":
        return value
    if value == "":
        return None
    return int(value) if key == "epoch" else float(value)


def _show(value: Any) -> str:
    return f"{value:.{KEPT}g}" if isinstance(value, float) else str(value)

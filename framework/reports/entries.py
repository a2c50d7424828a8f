"""Runs as their folders tell them: whole ones, failed ones, and what can be had of half-written ones."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core import better
from framework.core.better import Direction, Yardstick
from framework.core.digits import is_number
from framework.core.errors import BadInput, Problem, listing, many, suggestion
from framework.core.files import read_own
from framework.core.names import from_csv
from framework.core.runs import RunFolder

if TYPE_CHECKING:
    import numpy as np

SWEEP_FILE = "sweep.json"
EVALUATED = Path("evaluation", "validation", "confusion.csv")
NOT_MEASURED = ("stage", "epoch", "learning_rate", "seconds")
TRACES = ("run.json", "config.yaml", "history.csv")


@dataclass(frozen=True)
class Confusion:
    """Images counted by true class (row) and predicted class (column)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Answers:
    """Which validation images a finished run's model answers rightly.

    Attributes:
        images: stands for their names; equal for two runs that were measured on images of the same names.
        right: whether it is right, in the order of the sorted names: bool (images,).
    """

    images: int
    right: np.ndarray


@dataclass(frozen=True)
class Entry:
    """One run; what its folder lacks is empty here, and ``missing`` names it.

    ``config`` is flat: dotted key to value. ``overrides`` maps key to value as typed, read as a plain value.
    ``history`` has a row an epoch. ``status`` is that of ``run.json``, or ``incomplete`` where there is none.
    """

    folder: Path
    name: str
    status: str
    reason: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
    confusion: Confusion | None = None

    @property
    def failed(self) -> bool:
        """Whether the run came to nothing, as it says itself."""
        return self.status == "failed"

    @property
    def known(self) -> bool:
        """Whether anything says what the run was."""
        return bool(self.config or self.overrides)

    @cached_property
    def yardstick(self) -> Yardstick:
        """How its epochs are judged: as the run says, else as its config does."""
        validated = any(column.startswith("val_") for column in self.columns) or not self.columns
        configured = better.of_run(self._checkpoints(), self._metrics(), validated)
        best = _mapping(self.run.get("best"))
        column = str(best.get("monitor") or configured.column)
        return Yardstick.of(column, best.get("mode") or (configured.mode if column == configured.column else "auto"))

    def _checkpoints(self) -> list[dict[str, Any]]:
        """Monitor and mode of each checkpoint callback of the config."""
        names = [key.removesuffix(".name") for key, part in self.config.items() if part == "checkpoint"]
        found = [{key: self.config.get(f"{name}.{key}") for key in ("monitor", "mode")} for name in names]
        return [each for each in found if isinstance(each["monitor"], str)]

    def _metrics(self) -> list[str]:
        """Names of the metrics that the config sets, else of those that the history has."""
        named = [key.split(".")[1] for key in self.config if key.startswith("metrics.") and key.endswith(".name")]
        measured = [name for name in self.columns if name not in NOT_MEASURED and not name.endswith("loss")]
        return named or [name for name in measured if not name.startswith("val_")]

    @property
    def columns(self) -> tuple[str, ...]:
        """What the history measures, in its order."""
        return tuple(self.history[0]) if self.history else ()

    @cached_property
    def best(self) -> Mapping[str, Any]:
        """The best epoch's row: the one that the run names, else the best so far; empty if there is none."""
        best = _mapping(self.run.get("best"))
        if isinstance(best.get("epoch"), int):
            named = next((row for row in self.history if row.get("epoch") == best["epoch"]), {})
            return {**named, "epoch": best["epoch"], **_mapping(best.get("metrics"))}
        return self.yardstick.best(self.history) or {}

    @property
    def seconds(self) -> float | None:
        """Seconds of all phases, or of the epochs so far where the run has not said more."""
        phases = [value for value in _mapping(self.run.get("seconds")).values() if is_number(value)]
        epochs = [row["seconds"] for row in self.history if is_number(row.get("seconds"))]
        return sum(phases) if len(phases) and self.status == "finished" else sum(epochs) if epochs else None

    @property
    def parameters(self) -> int | None:
        """Weights of the whole model, as single numbers."""
        count = self.run.get("parameters")
        return count if isinstance(count, int) else None

    @property
    def images(self) -> int | None:
        """How many validation images the run was measured on."""
        count = _mapping(_mapping(self.run.get("data")).get("images")).get("validation")
        return count if isinstance(count, int) and count > 0 else None

    @property
    def tested(self) -> int:
        """How many test images the run's data have, which it has never seen."""
        count = _mapping(_mapping(self.run.get("data")).get("images")).get("test")
        return count if isinstance(count, int) else 0

    @property
    def fingerprint(self) -> str | None:
        """Digest of the images and labels that the run saw."""
        return _mapping(self.run.get("data")).get("fingerprint")

    @property
    def answered(self) -> bool:
        """Whether the run left its answers; they are read when they are first asked for."""
        return RunFolder(self.folder).answers.is_file()

    @cached_property
    def answers(self) -> Answers | None:
        """Its answers, one for each of its images; None where they are missing or not whole."""
        import numpy as np

        try:
            found = sorted(RunFolder(self.folder).read_answers().items())
        except (OSError, ValueError):
            return None
        right = np.array([right for _, right in found], bool)
        return Answers(hash(tuple(name for name, _ in found)), right) if len(found) == self.images else None


@dataclass(frozen=True)
class HeldOut:
    """How good a run is on test images, by which nothing was chosen: accuracy, the ends of its 95 % interval, images."""

    run: str
    accuracy: float
    low: float
    high: float
    images: int

    @property
    def told(self) -> str:
        """In a clause."""
        interval = f"95 % interval {self.low:.4f} to {self.high:.4f}"
        return f"accuracy {self.accuracy:.4f} on {many(self.images, 'image')} that nothing was chosen by ({interval})"


@dataclass(frozen=True)
class Sweep:
    """A sweep's name, its command line, the keys it says it varies, its runs, how it judges them if not as they do, and how
    good the best of them is on test images, where that was measured."""

    name: str
    command: str
    varied: tuple[str, ...]
    entries: tuple[Entry, ...]
    metric: str | None = None
    direction: Direction = "auto"
    test: HeldOut | None = None


def read_sweep(folder: Path) -> Sweep:
    """A sweep from its folder: the runs that ``sweep.json`` names, or where there is none every run folder inside.

    Raises:
        BadInput: there is no such folder, ``sweep.json`` can't be read, or there is no run in it.
    """
    if not folder.is_dir():
        raise BadInput(_no_folder(folder))
    told = _read_json(folder / SWEEP_FILE)
    if told is None:
        runs: list[Mapping[str, Any]] = [{"folder": name} for name in _run_folders(folder)]
    else:
        runs = [_mapping(run) for run in _list(told.get("runs"))]
        root = folder.resolve()
        outside = [name for name in (str(run.get("folder", "")) for run in runs) if not _lies_in(root, name)]
        if outside:
            what = f"{folder / SWEEP_FILE} names {listing(outside, 3)}, which lies outside of the sweep's folder"
            raise BadInput(Problem(what, str(folder), "the folder of a sweep, with its runs in it"))
    if not runs:
        raise BadInput(
            Problem(f"{folder} holds no run folder", str(folder), "the folder of a sweep, or runs=[FOLDER,FOLDER]")
        )
    told = told or {}
    command, metric = told.get("command"), told.get("metric")
    return Sweep(
        name=str(told.get("name") or folder.resolve().name),
        command=command if isinstance(command, str) else " ".join(map(str, _list(command))),
        varied=tuple(map(str, _list(told.get("varied")))),
        entries=tuple(read_entry(folder / name, name, run) for run in runs if (name := str(run.get("folder", "")))),
        metric=metric if isinstance(metric, str) else None,
        direction=told["direction"] if told.get("direction") in better.MODES else "auto",
        test=_held_out(_mapping(told.get("test"))),
    )


def _held_out(test: Mapping[str, Any]) -> HeldOut | None:
    numbers: list[Any] = [test.get(key) for key in ("accuracy", "low", "high", "images")]
    if not all(map(is_number, numbers)):
        return None
    accuracy, low, high, images = numbers
    return HeldOut(str(test.get("run")), float(accuracy), float(low), float(high), int(images))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _lies_in(root: Path, name: str) -> bool:
    try:
        return Path(os.path.realpath(root / name)).is_relative_to(root)
    except (OSError, ValueError):  # no name that a file can have
        return False


def _run_folders(folder: Path) -> list[str]:
    """Every folder inside that holds a file of a run, and every empty one beside them: a run that left nothing."""
    inside = {path.parent.relative_to(folder) for name in TRACES for path in folder.rglob(name)}
    inside |= {path.relative_to(folder) for path in folder.iterdir() if path.is_dir() and not any(path.iterdir())}
    runs = [path for path in inside if path.parts and not any(part.startswith(".") for part in path.parts)]
    return [str(path) for path in sorted(runs, key=_natural)]


def read_entries(folders: Sequence[Path]) -> tuple[Entry, ...]:
    """Runs from anywhere, each called by its path as given.

    Raises:
        BadInput: with a problem for each folder that does not exist, or if none of them holds anything of a run.
    """
    problems = [_no_folder(folder) for folder in folders if not folder.is_dir()]
    if not problems and not any((folder / name).exists() for folder in folders for name in TRACES):
        what = f"{' and '.join(map(str, folders))} {'holds' if len(folders) == 1 else 'hold'} no run"
        problems.append(Problem(what, "command line", "run folders; sweep=FOLDER for a sweep"))
    if problems:
        raise BadInput(problems)
    return tuple(read_entry(folder, str(folder)) for folder in folders)


def read_entry(folder: Path, name: str, told: Mapping[str, Any] | None = None) -> Entry:
    """What there is of one run; ``told`` is what ``sweep.json`` says of it: overrides, status and reason."""
    told = told or {}
    files = RunFolder(folder)
    missing: list[str] = []
    run, config, history = {}, {}, []
    try:
        run = files.read_run()
    except BadInput as error:
        missing.append("run.json is missing" if not files.run_json.exists() else error.problems[0].what)
    try:
        config = flat(files.read_config())
    except FileNotFoundError:
        missing.append("config.yaml is missing")
    except (OSError, ValueError) as error:
        missing.append(f"config.yaml can't be read: {_first_line(error)}")
    try:
        history = [row for row in files.read_history() if isinstance(row.get("epoch"), int)]
        if not history:
            missing.append("history.csv has no epoch yet")
    except FileNotFoundError:
        missing.append("history.csv is missing")
    except (OSError, ValueError, TypeError) as error:
        missing.append(f"history.csv can't be read: {_first_line(error)}")
    overrides = _list(run.get("overrides")) or _list(told.get("overrides"))
    return Entry(
        folder=folder,
        name=name,
        status=str(_latest(run.get("status"), told.get("status"))),
        reason=str(run.get("reason") or told.get("reason") or ""),
        config=config,
        overrides=dict(_override(str(line)) for line in overrides if "=" in str(line)),
        run=run,
        history=tuple(history),
        missing=tuple(missing),
        confusion=read_confusion(folder, "confusion.csv") or read_confusion(folder, EVALUATED),
    )


def read_confusion(folder: Path, name: str | Path) -> Confusion | None:
    """A confusion matrix in a run folder, None where there is no whole one: class names, then a row a true class."""
    try:
        header, *rows = csv.reader(io.StringIO(read_own(folder / name, folder), newline=""))
        counts = tuple(tuple(int(value) for value in row[1:]) for row in rows)
    except (OSError, ValueError, csv.Error):
        return None
    classes = tuple(map(from_csv, header[1:]))
    whole = len(counts) == len(classes) and all(len(row) == len(classes) for row in counts)
    return Confusion(classes, counts) if whole and classes else None


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key to value, for every leaf; an empty mapping is a leaf."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def plain(text: str) -> Any:
    """A value as typed on the command line, read as the number, truth value or text that it is."""
    words = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _override(line: str) -> tuple[str, Any]:
    key, _, value = line.partition("=")
    return key.lstrip("+~"), plain(value)


def _latest(own: Any, told: Any) -> str:
    """The run's own word, unless the sweep saw it die: a killed run still calls itself running."""
    return told if told == "failed" and own in (None, "running") else own or told or "incomplete"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        told = json.loads(read_own(path, path.parent))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(Problem(f"{path} can't be read: {_first_line(error)}", str(path))) from None
    return _mapping(told)


def _no_folder(folder: Path) -> Problem:
    beside: Iterable[Path] = folder.parent.iterdir() if folder.parent.is_dir() else ()
    names = sorted(path.name for path in beside if path.is_dir() and not path.name.startswith("."))
    return Problem(f"there is no folder {folder}", str(folder), suggestion(folder.name, names) if names else "")


def _natural(path: Path) -> tuple[Any, ...]:
    """Job folders 0 to 12 in the order of their numbers."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in path.parts)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]

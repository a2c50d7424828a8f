"""Model and weights files, for ``run=``, ``model=`` and ``model.weights=``, in every command and in Python."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import framework
from benchmarks.hostile import networks
from benchmarks.hostile.canary import Canary, listening
from benchmarks.hostile.child import in_child
from benchmarks.hostile.files import jpeg
from benchmarks.hostile.tally import Accepted, Tally, Told, ask, most_memory, unclean
from framework import check, ensemble, evaluate, export, predict, serve, visualize
from framework.config.documents import read_option
from framework.config.folders import conf_folder
from framework.core.runs import RunFolder
from framework.model.description import describe
from framework.model.saved import open_file, open_run
from framework.model.weights import unfit

REFUSED, EITHER = (2,), (0, 2)
CLASSES = "classes=[no,yes]"


class Case:
    """A file, what it is, and which exit codes are good answers to it."""

    def __init__(
        self, name: str, file: Path, codes: Sequence[int] = REFUSED, whole: bool = True, weights: bool = False
    ):
        self.name, self.file, self.codes, self.whole, self.weights = name, file, codes, whole, weights


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every file by every way that leads to it; ``short``: without TensorFlow, by what all commands open models with."""
    os.chdir(folder)
    for name in ("no", "yes"):
        Path("photos", name).mkdir(parents=True)
        for number in range(4):
            Path("photos", name, f"{number}.jpg").write_bytes(jpeg((8, 8)))
    make_run(folder / "sound", networks.keras_file(folder / "sound.keras"))
    with listening(folder / "canary") as canary:
        tally.case("a sound file is opened", lambda: _sound(folder, short))
        for case in _cases(canary, folder, short):
            for way, answer in _ways(case, folder, short).items():
                tally.case(f"{case.name}, {way}", lambda case=case, answer=answer: _fault(case, answer, canary))  # type: ignore[misc]
        damaged = {"keras": folder / "sound.keras", "h5": networks.h5_file(folder / "sound.h5")}
        for ending, file in damaged.items():
            for share in range(0, 100, 10 if short else 1):
                cut = folder / f"cut.{ending}"
                cut.write_bytes(file.read_bytes()[: file.stat().st_size * share // 100])
                case = Case(f"{ending} cut at {share} %", cut)
                tally.case(case.name, lambda case=case: _fault(case, _opened(case), canary))  # type: ignore[misc]
                tally.case(f"{case.name}, as weights", lambda cut=cut: "" if _weights(cut) else "taken")  # type: ignore[misc]
            flips = 20 if short else 1000
            wrong = in_child(lambda file=file, flips=flips: _flipped(file, flips))  # type: ignore[misc]
            for number in range(flips):
                tally.count(
                    f"{ending} with byte {number} flipped", wrong if number == 0 and isinstance(wrong, str) else ""
                )
    tally.facts.append(f"at most {most_memory():.0f} MiB of memory were taken")


def make_run(path: Path, model: Path) -> Path:
    """A run folder around a model's file."""
    run = RunFolder(path)
    run.write_run(
        {"status": "finished", "started": "2026-01-01", "classes": list(networks.CLASSES), "task": "multiclass"}
    )
    run.model.write_bytes(model.read_bytes())
    return path


def _sound(folder: Path, short: bool) -> str:
    if short:
        open_run(str(folder / "sound"))
        open_file(str(folder / "sound.keras"), networks.CLASSES)
        open_file(str(networks.h5_file(folder / "sound.h5")), networks.CLASSES)
        return ""
    for words in ([f"run={folder}/sound"], [f"model={networks.h5_file(folder / 'sound.h5')}", CLASSES]):
        told = ask(predict, ["photos", *words])
        if told.code != 0:
            return told.said
    return ""


def _cases(canary: Canary, folder: Path, short: bool) -> Iterator[Case]:
    made = folder / "made"
    made.mkdir()
    for number, (name, config) in enumerate(networks.evil_configs(canary)):
        # what is registered is found, or not, by Keras
        codes = EITHER if short and networks.left_to_keras(name) else REFUSED
        yield Case(name, networks.keras_file(made / f"evil{number}.keras", config), codes)
        yield Case(f"{name}, .h5", networks.h5_file(made / f"evil{number}.h5", config), codes)
    for number, (name, write) in enumerate(networks.evil_arrays(canary, made)):
        # those of another kind or shape fit no layer, which shows when there is one
        codes = (
            EITHER
            if "itself" in name
            or (
                short
                and not any(one in name for one in ("link", "other file", "never written", "packed", "in another"))
            )
            else REFUSED
        )
        yield Case(
            name,
            networks.keras_file(made / f"arrays{number}.keras", weights=networks.hdf5(write)),
            codes,
            weights=not short,
        )
        yield Case(f"{name}, .h5", networks.h5_file(made / f"arrays{number}.h5", write=write), codes, weights=not short)
    for name, file in (*networks.evil_archives(canary, made), *networks.other_files(canary, made)):
        yield Case(name, file, EITHER if "behind a link" in name or (short and "a text" in name) else REFUSED)
    for number, (name, config) in enumerate(networks.absurd_configs()):
        yield Case(name, networks.keras_file(made / f"absurd{number}.keras", config), EITHER)
    for name in ("nan", "inf", "-inf"):
        weights = networks.hdf5(lambda file, name=name: networks.write_arrays(file, float(name)))  # type: ignore[misc]
        yield Case(
            f"weights that are {name}",
            networks.keras_file(made / f"{name}.keras", weights=weights),
            REFUSED if not short else EITHER,
        )
    os.mkfifo(made / "pipe.keras")
    yield Case("a pipe", made / "pipe.keras", whole=False)
    (made / "folder.keras").mkdir()
    yield Case("a folder", made / "folder.keras", whole=False)
    yield Case("a device", Path("/dev/zero"), whole=False)


def _ways(case: Case, folder: Path, short: bool) -> dict[str, Callable[[], Told]]:
    """How a file comes to be opened: by which command, by which option, from Python."""
    if short:
        return {"opened": lambda: _opened(case)}
    words = [f"model={case.file}", CLASSES]
    ways: dict[str, Callable[[], Told]] = {
        "predict model=": lambda: ask(predict, ["photos", *words]),
        "framework.load": lambda: _loaded(str(case.file), networks.CLASSES),
        "model.weights=": lambda: _weighed(case),
    }
    if case.weights:
        small = ["data=image_folder", "data.dir=photos", "model=mobilenet", "model.alpha=0.25"]
        ways["check model.weights="] = lambda: ask(check, [*small, f"model.weights={case.file}"])
    if case.file.suffix == ".keras" and case.whole:
        run = make_run(folder / "run", case.file)
        commands = {"evaluate": evaluate, "visualize": visualize, "export": export}
        data = {
            "evaluate": ["data.dir=photos"],
            "visualize": ["image=photos/no/0.jpg"],
            "export": ["format=saved_model"],
        }
        for name, command in commands.items():
            ways[f"{name} run="] = lambda name=name, command=command: ask(command, [f"run={run}", *data[name]])  # type: ignore[misc]
        ways["serve run="] = lambda: _served(run)
        ways["ensemble runs="] = lambda: ask(
            ensemble, [f"runs=[{folder}/sound,{run}]", f"output={folder}/made/ensemble"]
        )
    return ways


def _opened(case: Case) -> Told:
    """What all commands do first, without TensorFlow."""
    try:
        describe(case.file)
    except framework.core.errors.BadInput as error:
        return Told(2, "", str(error), 0.0)
    return Told(0, "", "", 0.0)


def _loaded(path: str, classes: Sequence[str]) -> Told:
    try:
        assert framework.load(path, classes=classes).model
    except framework.Error as error:
        return Told(2, "", str(error), 0.0)
    return Told(0, "", "", 0.0)


def _served(run: Path) -> Told:
    with mock.patch.object(serve, "_listen", side_effect=Accepted):
        told = ask(serve, [f"run={run}", "port=0"])
    # what is found wrong only when it is loaded, the other commands have seen
    return told if told.code else Told(2, told.out, told.err + "accepted so far", told.seconds)


def _weighed(case: Case) -> Told:
    """What ``model.weights=`` finds wrong with a file, before TensorFlow loads."""
    return Told(2, "", "unfit", 0.0) if _weights(case.file) else Told(0, "", "", 0.0)


def _weights(file: Path) -> bool:
    from framework.core import registry

    return unfit(registry.get("base", "mobilenet"), file, {**_usual(), "alpha": 0.25}) is not None


@functools.cache
def _usual() -> dict[str, Any]:
    return read_option(conf_folder() / "model" / "mobilenet.yaml").content


def _fault(case: Case, answer: Told | Callable[[], Told], canary: Canary) -> str:
    told = answer() if callable(answer) else answer
    wrong = unclean(told, case.codes) or canary.fault(told.said)
    return wrong or ("no one sentence" if len(told.err) > 4000 else "")


def _flipped(file: Path, count: int) -> str:
    """Open copies of a file with a byte changed, in a process that may die of it; what was raised that must not be."""
    draw, whole = random.Random(0), file.read_bytes()
    for _ in range(count):
        place = draw.randrange(len(whole))
        changed = file.with_name(f"flipped{file.suffix}")
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        for attempt in (describe, _weights):
            try:
                attempt(changed)  # type: ignore[operator]
            except framework.core.errors.BadInput:
                continue
            except Exception as error:
                return f"byte {place}: {type(error).__name__}: {error}"
    return ""

"""Model and weights files, for ``run=``, ``model=`` and ``model.weights=``, in every command and in Python."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import framework
from benchmarks.hostile import networks
from benchmarks.hostile.canary import Canary, listening
from benchmarks.hostile.files import class_folders
from benchmarks.hostile.names import HOSTILE, LONG, formula_in
from benchmarks.hostile.runs import made, whole_config
from benchmarks.hostile.tally import Accepted, Tally, Told, ask, unclean
from framework import check, ensemble, evaluate, export, predict, serve, visualize
from framework.config.documents import read_option
from framework.config.folders import conf_folder
from framework.core import registry
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.model.description import describe
from framework.model.weights import unfit
from framework.train import ready

DONE, REFUSED, EITHER = (0,), (2,), (0, 2)
CLASSES = "classes=[no,yes]"
LOADED = 5000.0  # MiB: 4 GiB are what a model may take while it is built
# what opens a model, and what it needs beside
COMMANDS: dict[str, tuple[Any, list[str]]] = {
    "predict": (predict, ["photos"]),
    "evaluate": (evaluate, ["data.dir=photos", "split=validation"]),
    "visualize": (visualize, ["image=photos/train/no/0.jpg"]),
    "export": (export, ["format=saved_model"]),
}


class Case:
    """A file, what it is, and which exit codes are good answers to it."""

    def __init__(
        self, name: str, file: Path, codes: Sequence[int] = REFUSED, whole: bool = True, weights: bool = False
    ):
        self.name, self.file, self.codes, self.whole, self.weights = name, file, codes, whole, weights


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every file by every way that leads to it; ``short``: without TensorFlow, by what all commands open models with."""
    os.chdir(folder)
    tally.most = LOADED
    class_folders("no", "yes", side=8)
    networks.keras_file(folder / "sound.keras")
    networks.h5_file(folder / "sound.h5")
    whole_run(folder / "sound", folder / "sound.keras")
    if not short:
        ready()  # once for all cases, which are tried in forks
    with listening(folder / "canary") as canary:
        tally.cases(
            (f"a sound file, {way}", lambda answer=answer: unclean(answer(), DONE) or canary.fault())  # type: ignore[misc]
            for way, answer in _sound(folder, short).items()
        )
        for case in _cases(canary, folder, short):
            tally.cases(
                (f"{case.name}, {way}", functools.partial(_fault, codes, answer, canary))
                for way, (codes, answer) in _ways(case, folder, short).items()
            )
        for ending in ("keras", "h5"):
            tally.cases(_cut(folder / f"sound.{ending}", canary, 10 if short else 1))
            tally.cases(_flipped(folder / f"sound.{ending}", 20 if short else 1000))
        if not short:
            tally.cases(_named(canary, folder))


def make_run(path: Path, model: Path, classes: Sequence[str] = networks.CLASSES) -> Path:
    """A run folder around a model's file."""
    run = RunFolder(path)
    run.write_run({"status": "finished", "started": "2026-01-01", "classes": list(classes), "task": "multiclass"})
    run.model.write_bytes(model.read_bytes())
    return path


def whole_run(path: Path, model: Path) -> Path:
    """The same with all that a training leaves beside it."""
    made(path, _config())
    RunFolder(path).model.write_bytes(model.read_bytes())
    return path


@functools.cache
def _config() -> dict[str, Any]:
    return whole_config()


def _sound(folder: Path, short: bool) -> dict[str, Callable[[], Told]]:
    """What is wrong with none of the ways."""
    if short:
        return {ending: lambda ending=ending: _opened(folder / f"sound.{ending}") for ending in ("keras", "h5")}  # type: ignore[misc]
    file = folder / "sound.h5"
    return {**_of_file(file), **_of_run(folder / "sound", folder)}


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


def _ways(case: Case, folder: Path, short: bool) -> dict[str, tuple[Sequence[int], Callable[[], Told]]]:
    """How a file comes to be opened: by which command, by which option, from Python; with the exit codes that are right."""
    if short:
        return {"opened": (case.codes, lambda: _opened(case.file))}
    ways = _of_file(case.file)
    ways["model.weights="] = lambda: Told(2 if _is_unfit(case.file) else 0, "", "unfit", 0.0)
    if case.weights:
        small = ["data=image_folder", "data.dir=photos", "model=mobilenet", "model.alpha=0.25"]
        ways["check model.weights="] = lambda: ask(check, [*small, f"model.weights={case.file}"])
    if case.file.suffix == ".keras" and case.whole:
        ways |= _of_run(whole_run(folder / "run", case.file), folder)
    # a run that makes no ensemble better is not opened
    return {way: (EITHER if way.startswith("ensemble") else case.codes, answer) for way, answer in ways.items()}


def _of_file(file: Path) -> dict[str, Callable[[], Told]]:
    words = [f"model={file}", CLASSES]
    ways: dict[str, Callable[[], Told]] = {
        f"{name} model=": lambda command=command, given=given: ask(command, [*given, *words])  # type: ignore[misc]
        for name, (command, given) in COMMANDS.items()
    }
    return {**ways, "serve model=": lambda: _served(words), "framework.load": lambda: _loaded(file)}


def _of_run(run: Path, folder: Path) -> dict[str, Callable[[], Told]]:
    ways: dict[str, Callable[[], Told]] = {
        f"{name} run=": lambda command=command, given=given: ask(command, [*given, f"run={run}"])  # type: ignore[misc]
        for name, (command, given) in COMMANDS.items()
    }
    return {**ways, "serve run=": lambda: _served([f"run={run}"]), "ensemble runs=": lambda: _combined(folder, run)}


def _combined(folder: Path, run: Path) -> Told:
    shutil.rmtree(folder / "ensemble", ignore_errors=True)
    return ask(ensemble, [f"runs=[{folder}/sound,{run}]", f"output={folder}/ensemble"])


def _opened(file: Path) -> Told:
    """What all commands do first, without TensorFlow."""
    try:
        describe(file)
    except BadInput as error:
        return Told(2, "", str(error), 0.0)
    return Told(0, "", "", 0.0)


def _loaded(file: Path) -> Told:
    try:
        assert framework.load(str(file), classes=networks.CLASSES).model
    except framework.Error as error:
        return Told(2, "", str(error), 0.0)
    return Told(0, "", "", 0.0)


def _served(words: Sequence[str]) -> Told:
    """Up to where a server would answer."""
    with mock.patch("uvicorn.Server.run", side_effect=Accepted):
        return ask(serve, [*words, "port=0"])


def _is_unfit(file: Path) -> bool:
    """Whether ``model.weights=`` finds something wrong with a file, before TensorFlow loads."""
    return unfit(registry.get("base", "mobilenet"), file, {**_usual(), "alpha": 0.25}) is not None


@functools.cache
def _usual() -> dict[str, Any]:
    return read_option(conf_folder() / "model" / "mobilenet.yaml").content


def _fault(codes: Sequence[int], answer: Callable[[], Told], canary: Canary) -> str:
    told = answer()
    wrong = unclean(told, codes) or canary.fault(told.said)
    return wrong or ("no one sentence" if len(told.err) > 4000 else "")


def _cut(sound: Path, canary: Canary, step: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """A file of which so many per cent are there."""
    whole = sound.read_bytes()
    for share in range(0, 100, step):

        def ask(weights: bool, share: int = share) -> str:
            cut = sound.with_name(f"cut{sound.suffix}")
            cut.write_bytes(whole[: len(whole) * share // 100])
            if weights:
                return "" if _is_unfit(cut) else "taken"
            return _fault(REFUSED, lambda: _opened(cut), canary)

        yield f"{sound.suffix} cut at {share} %", lambda ask=ask: ask(weights=False)  # type: ignore[misc]
        yield f"{sound.suffix} cut at {share} %, as weights", lambda ask=ask: ask(weights=True)  # type: ignore[misc]


def _flipped(sound: Path, count: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """A file with a bit changed: taken or refused, but never otherwise."""
    draw, whole = random.Random(0), sound.read_bytes()
    for number in range(count):
        place, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)

        def ask(place: int = place, bit: int = bit) -> str:
            changed = sound.with_name(f"flipped{sound.suffix}")
            changed.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            for attempt in (describe, _is_unfit):
                with contextlib.suppress(BadInput):
                    attempt(changed)
            return ""

        yield f"{sound.suffix} with byte {place} flipped, {number}", ask


def _named(canary: Canary, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """What commands print and write of classes whose names are no good for terminals, tables and figures."""
    names = [*HOSTILE, *LONG]
    units = len(names)
    weights = networks.hdf5(lambda file: networks.write_arrays(file, units=units))
    file = networks.keras_file(folder / "named.keras", networks.network(units=units), weights)
    run = make_run(folder / "named", file, names)
    for name, command, words in (
        *(
            (f"predict format={kind}", predict, ["photos", f"format={kind}", "top=40"])
            for kind in ("text", "csv", "jsonl")
        ),
        ("evaluate", evaluate, ["data.dir=photos"]),
        ("visualize", visualize, ["image=photos/train/no/0.jpg"]),
        ("export", export, ["format=saved_model"]),
    ):

        def asked(command: Any = command, words: list[str] = words) -> str:
            told = ask(command, [*words, f"run={run}"])
            # a table for programs has names as they are
            wrong = unclean(told._replace(out="") if "format=csv" in words else told, EITHER) or canary.fault(told.said)
            if "format=csv" in words:
                (folder / "named" / "told.csv").write_text(told.out, encoding="utf-8")
            return wrong or next(filter(None, map(formula_in, (folder / "named").rglob("*.csv"))), "")

        yield f"classes of hostile names, {name}", asked

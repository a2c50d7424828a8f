"""Run folders, sweeps and recipes from strangers: what they record, what their configs ask for, how they are called."""

from __future__ import annotations

import copy
import csv
import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import framework
from benchmarks.hostile import browser, networks
from benchmarks.hostile.canary import VARIABLE, Canary, listening
from benchmarks.hostile.files import class_folders, jpeg
from benchmarks.hostile.names import HOSTILE, LONG, MARKUP, formula_in
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, ask, unclean
from framework import check, compare, doctor, evaluate, plan, predict, recipe, show, train
from framework.core.runs import KeptLogits, RunFolder
from framework.reports.entries import flat

DATA = ["data=image_folder", "data.dir=photos", "data.image_size=32"]
BOTH, REFUSED, DONE = (0, 2), (2,), (0,)
ALL = ("evaluate", "predict", "compare", "check from=", "train from=", "train resume=")
READ_BY_ALL = ("run.json", "config.yaml")
DRAWN = (*READ_BY_ALL, "history.csv", "confusion.csv")  # what figures are drawn of
FILES = (*DRAWN, "answers.csv", "logits.npz", "state.npz", "model.keras")
WRITTEN = ("compared", "new", "runs", "doctor", "evil")  # folders that commands are told to write to
# when a page has drawn itself
READY = {
    "report.html": "return document.documentElement.dataset.ready !== undefined",
    "doctor.html": "return document.getElementById('name').textContent !== ''",
}
Cases = Iterator[tuple[str, Callable[[], str | None]]]


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """All of it; ``short``: fewer keys, and no browser."""
    inside = folder / "a" / "b"
    inside.mkdir(parents=True)
    os.chdir(inside)
    class_folders("no", "yes")
    with listening(folder / "canary") as canary, accepting():
        configs = whole_config()
        made(inside / "other", configs)
        made(inside / "evil", configs)
        for name, words in _commands("evil").items():  # what is read and imported once, no case has to pay for
            ask(COMMANDS[name], words)
        tally.cases(
            (
                f"a sound run, {name}",
                lambda name=name: _read(canary, inside, name, configs, codes=BOTH if name == "train resume=" else DONE),
            )  # type: ignore[misc]
            for name in _commands("evil")
        )
        for cases in (
            *_records(canary, inside, configs, short),
            _reaching(canary, inside, configs, short),
            _begun(canary, inside, configs),
            _recipes(canary, inside),
            _sweeps(canary, inside, configs),
        ):
            for some in _batched(cases, 50):
                tally.cases(some)
    with listening(folder / "canary") as canary:
        _names(tally, canary, inside, configs, short)


def _batched(cases: Cases, size: int) -> Iterator[list[Any]]:
    while some := list(itertools.islice(cases, size)):
        yield some


def whole_config() -> dict[str, Any]:
    """The config that a run on these photos leaves."""
    from omegaconf import OmegaConf

    from framework.cli.compose import compose

    found: dict[str, Any] = yaml.safe_load(OmegaConf.to_yaml(compose(DATA).node, resolve=True))
    return found


def made(path: Path, config: Any, **record: Any) -> Path:
    """A run folder with all that a training leaves."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    run = RunFolder(path)
    best = {"epoch": 1, "stage": "main", "monitor": "val_accuracy", "metrics": {"val_accuracy": 0.5, "val_loss": 1.0}}
    usual = {
        "status": "finished",
        "started": "2026-01-01",
        "overrides": ["optim.lr=0.01"],
        "classes": list(networks.CLASSES),
        "task": "multiclass",
        "best": best,
    }
    run.write_run({**usual, "data": {"images": {"train": 4, "validation": 4}, "fingerprint": "a"}, **record})
    run.config.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    run.history.write_text("stage,epoch,loss,val_loss,val_accuracy,seconds\nmain,1,1.0,1.0,0.5,1.0\n")
    run.answers.write_text(
        "path,label,predicted,probability,right\na.jpg,no,no,0.5,1\nb.jpg,no,yes,0.5,0\nc.jpg,yes,yes,0.5,1\nd.jpg,yes,no,0.5,0\n"
    )
    run.confusion.write_text("true,no,yes\nno,1,1\nyes,1,1\n")
    run.write_logits(KeptLogits(np.eye(4, 2, dtype=np.float32), np.array([0, 0, 1, 1]), "a"))
    networks.keras_file(run.model)
    return path


COMMANDS: dict[str, Any] = {
    "evaluate": evaluate, "predict": predict, "compare": compare, "check from=": check, "train from=": train, "train resume=": train, "plan from=": plan,
}  # fmt: skip


def _commands(run: str) -> dict[str, list[str]]:
    """What is typed to have each command read a run folder."""
    return {
        "evaluate": [f"run={run}"],
        "predict": ["photos", f"run={run}"],
        "compare": [f"runs=[{run},other]", "output=compared"],
        "check from=": [f"from={run}"],
        "train from=": [f"from={run}", "hydra.run.dir=new"],
        "train resume=": [f"resume={run}"],
    }


def _answer(canary: Canary, inside: Path, codes: Sequence[int], command: Any, words: Sequence[str]) -> str:
    """What is wrong with an answer, and with what was written: it lies in the folders that were named."""
    root, named = inside.parents[1], [inside / name for name in WRITTEN]
    before = _there(root)
    told = ask(command, words)
    if command is compare and codes == BOTH:
        codes = (0, 1, 2)  # there is nothing to compare, or no verdict
    wrong = unclean(told, codes) or canary.fault(told.said)
    astray = [path for path in _there(root) - before if not any(map(path.is_relative_to, named))]
    for path in named:
        if path.exists():
            if canary.holds(path):
                wrong = wrong or "the secret was written"
            shutil.rmtree(path)
    for path in astray:
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    return wrong or (f"it wrote {astray}" if astray else "")


def _there(root: Path) -> set[Path]:
    return {Path(place, name) for place, inside, names in os.walk(root) for name in (*inside, *names)}


def _read(
    canary: Canary,
    inside: Path,
    command: str,
    config: Any,
    change: Callable[[Path], Any] | None = None,
    codes: Sequence[int] = BOTH,
    **record: Any,
) -> str:
    """Have a command read a run folder that was changed."""
    made(inside / "evil", config, **record)
    if change is not None:
        change(inside / "evil")
    return _answer(canary, inside, codes, COMMANDS[command], _commands("evil")[command])


def _by(
    commands: Sequence[str], canary: Canary, inside: Path, name: str, change: Callable[[Path], Any] | None, config: Any
) -> Cases:
    """The same of several commands, and of Python."""
    for command in commands:
        yield f"{name}, {command}", functools.partial(_read, canary, inside, command, config, change)

    def python() -> str:
        made(inside / "evil", config)
        if change is not None:
            change(inside / "evil")
        try:
            run = framework.load(inside / "evil")
            said = repr((run.classes, run.metrics, dict(run.config)))
        except framework.Error as error:
            said = str(error)
        return canary.fault(said)

    yield f"{name}, framework.load", python


def _readers(file: str) -> list[str]:
    """Commands that look at a file of a run; figures take seconds, and are drawn where they are of this file."""
    some = ALL if file in READ_BY_ALL else ("evaluate", "predict", "train resume=")
    return [*some, *(["compare"] if file in DRAWN and "compare" not in some else [])]


def _records(canary: Canary, inside: Path, config: Any, short: bool) -> Iterator[Cases]:
    """Links, pipes, devices, sizes, depths and shapes of each file; each value of the record another."""

    def link(file: Path) -> None:
        file.symlink_to(canary.secret_file)

    def device(file: Path) -> None:
        file.symlink_to("/dev/zero")

    def loop(file: Path) -> None:
        file.symlink_to(file.name)

    odd: dict[str, Callable[[Path], Any]] = {
        "a link to a secret": link, "a pipe": os.mkfifo, "a device": device, "a link to itself": loop, "a folder": Path.mkdir,
    }  # fmt: skip
    size = (10 if short else 100) << 20
    contents: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"", "nulls": lambda: bytes(1000), "letters of no encoding": lambda: b"\xff\xfe\xff" * 100, "lists without end": lambda: b"[" * 10**6,
        "a large text": lambda: b'"' + b"x" * size, "a large list": lambda: b"[" + b"1," * (size // 2) + b"1]", "a list": lambda: b"[1]", "a number": lambda: b"1",
        "digits": lambda: b"9" * 10_000, "markup": lambda: MARKUP.encode(),
    }  # fmt: skip

    def replaced(name: str, make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def change(run: Path) -> None:
            (run / name).unlink(missing_ok=True)
            make(run / name)

        return change

    def written(name: str, content: Callable[[], bytes]) -> Callable[[Path], Any]:
        return lambda run: (run / name).write_bytes(content())

    for name in FILES:
        for what, make in odd.items():
            yield _by(_readers(name), canary, inside, f"{name} is {what}", replaced(name, make), config)
        for what, content in contents.items():
            if not (short and "large" in what and name not in READ_BY_ALL):
                yield _by(_readers(name), canary, inside, f"{name} holds {what}", written(name, content), config)
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    for what, text in {
        "aliases": aliases,
        "an alias of itself": "a: &a [*a]\n",
        "tags": "a: !!python/object/apply:os.system ['touch sung']\n",
        "depth": "a: " + "[" * 10**5,
    }.items():
        change = written("config.yaml", text.encode)
        yield _by(ALL, canary, inside, f"config.yaml of {what}", change, config)
    yield _recorded(canary, inside, config, short)


def _recorded(canary: Canary, inside: Path, config: Any, short: bool) -> Cases:
    """Each key of ``run.json`` with values that no run writes, each text in it a way out of the folder."""
    made(inside / "evil", config)
    record = json.loads((inside / "evil" / "run.json").read_text())
    keys = dict.fromkeys([*record, "recipe", "format", "made", "calibration", "seconds", "parameters", "reason", "version", "seed"])  # fmt: skip
    values = (None, -1, 1e999, 99, [], {}, "x", "../../x", "/etc", ["x"] * 3, ["../../x"] * 2, {"name": "../../x", "folder": "/etc"}, {"images": -1}, True, LONG[0])  # fmt: skip
    changed = [(f"{key}={str(value)[:20]}", {**record, key: value}) for key in keys for value in values]
    for path in _texts(record):
        out = copy.deepcopy(record)
        functools.reduce(lambda node, name: node[name], path[:-1], out)[path[-1]] = "../../x"
        changed.append((f"{'.'.join(map(str, path))}=../../x", out))
    for what, said in changed:
        some = ("evaluate", "predict", "compare", "check from=", "train resume=") if what.startswith(("best", "data")) and not short else ("predict", "train resume=")  # fmt: skip
        for command in some:

            def asked(command: str = command, said: Any = said) -> str:
                return _read(
                    canary, inside, command, config, lambda run: (run / "run.json").write_text(json.dumps(said))
                )

            yield f"run.json says {what}, {command}", asked


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a JSON value."""
    if isinstance(value, str):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _texts(inner, (*path, key))


def reaching(canary: Canary) -> dict[str, Any]:
    """Values that ask for more than themselves."""
    return {
        "a variable": f"${{oc.env:{VARIABLE}}}", "a variable within": f"/tmp/${{oc.env:{VARIABLE}}}/x", "a variable by parts": "${oc.${nowhere}:" + VARIABLE + "}",
        "a shell's variable": f"/tmp/${VARIABLE}/x", "a shell's variable in braces": f"${{{VARIABLE}}}", "a decoded variable": f"${{oc.decode:${{oc.env:{VARIABLE}}}}}",
        "Hydra's node": "${hydra:runtime.cwd}", "a created node": "${oc.create:{_target_: os.system}}", "a select": "${oc.select:hydra.job.env_set}",
        "code": {"_target_": "os.system", "command": canary.shell}, "code in a list": [{"_target_": "os.system", "_args_": [canary.shell]}], "a way out": "../../x",
    }  # fmt: skip


def _reaching(canary: Canary, inside: Path, config: Mapping[str, Any], short: bool) -> Cases:
    """A config that asks for a variable, a file, or code, at each of its keys; the commands that go on from it in turn."""
    keys = ["data.dir", "optim.lr", "model.name", "callbacks.checkpoint.filename"] if short else list(flat(config))
    turns = itertools.cycle(("check from=", "train from="))
    for key in keys:
        for what, value in reaching(canary).items():
            for command in (next(turns), "evaluate"):

                def asked(command: str = command, key: str = key, value: Any = value) -> str:
                    changed = copy.deepcopy(dict(config))
                    *nodes, last = key.split(".")
                    functools.reduce(lambda node, name: node[name], nodes, changed)[last] = value
                    return _read(canary, inside, command, changed)

                yield f"{key} is {what}, {command}", asked
    for what, node in hydra_nodes(canary).items():
        yield from _by(ALL, canary, inside, f"config.yaml says {what}", None, {**config, **node})


def hydra_nodes(canary: Canary) -> dict[str, dict[str, Any]]:
    """What would have Hydra run code, or read configs from elsewhere."""
    call = {"_target_": "os.system", "command": canary.shell}
    return {
        "callbacks": {"hydra": {"callbacks": {"evil": call}}},
        "a launcher": {"hydra": {"launcher": call}},
        "a sweeper": {"hydra": {"sweeper": call}},
        "handlers of a log": {
            "hydra": {
                "job_logging": {
                    "version": 1,
                    "handlers": {"evil": {"()": "os.system", "command": canary.shell}},
                    "root": {"handlers": ["evil"]},
                }
            }
        },
        "variables": {"hydra": {"job": {"env_set": {"LD_PRELOAD": "/tmp/evil.so"}, "env_copy": [VARIABLE]}}},
        "a search path": {"hydra": {"searchpath": [f"file://{canary.file.parent}"]}},
        "a folder": {"hydra": {"run": {"dir": f"${{oc.env:{VARIABLE}}}"}}},
        "defaults": {"defaults": [{"override hydra/launcher": "joblib"}]},
        "a package": {"defaults": ["_self_", {"/head@hydra.callbacks.evil": "dense"}]},
    }


def _begun(canary: Canary, inside: Path, config: Any) -> Cases:
    """Overrides that a run says it was begun with, and a recipe that it says was its own."""
    shelf = inside / "shelf" / "evil"
    shelf.mkdir(parents=True)
    (shelf / "recipe.yaml").write_text("# Evil.\n")
    (shelf / "parts.py").write_text(canary.python)
    for line in (
        f"+hydra.callbacks.evil={{_target_:os.system,command:'{canary.shell}'}}", "++hydra.launcher._target_=os.system", "hydra/launcher=joblib", "~hydra.run", "hydra={}",
        f"recipes={inside}/shelf", "recipe=evil", f"from={inside}/other", f"resume={inside}/other", f"data.dir=${{oc.env:{VARIABLE}}}", f"data.dir=${VARIABLE}", "x", "", "=", "a" * 10_000,
        "hydra.run.dir=/etc", f"model.weights=${{oc.env:{VARIABLE}}}", "trainer.epochs=${oc.decode:1}", "callbacks.checkpoint.filename=../../../x",
    ):  # fmt: skip
        overrides = [f"recipes={inside}/shelf", line] if line == "recipe=evil" else [line]
        begun = functools.partial(_read, canary, inside, "train resume=", config, status="stopped", overrides=overrides)
        yield f"begun with {line[:40]}", begun
    for command in ("predict", "evaluate", "check from=", "train resume="):
        recipe = {"name": "evil", "folder": str(shelf)}
        yield (
            f"a recipe of its own, {command}",
            functools.partial(_read, canary, inside, command, config, recipe=recipe),
        )


def _recipes(canary: Canary, inside: Path) -> Cases:
    """Recipes without ``parts.py``: they are data."""
    own = inside / "mine" / "evil"
    usual = yaml.safe_load((Path(train.__file__).parents[1] / "conf" / "head" / "dense.yaml").read_text())
    documents: dict[str, Any] = {}
    for what, value in reaching(canary).items():
        # the paths of a recipe that one chooses may name variables, and lead anywhere
        if "shell's" not in what and "way out" not in what:
            documents |= {
                f"data.dir is {what}": {"data": {"dir": value}},
                f"optim.lr is {what}": {"optim": {"lr": value}},
            }
    documents |= {f"it says {what}": node for what, node in hydra_nodes(canary).items()}

    def asked(content: Any, place: str, command: Any, words: list[str]) -> str:
        (own / "conf" / "head").mkdir(parents=True, exist_ok=True)
        for one, body in (("recipe.yaml", {}), ("conf/head/mine.yaml", usual)):
            body = {**body, **content} if one == place else body
            (own / one).write_text("# Evil.\n" + (yaml.safe_dump(body, sort_keys=False) if body else ""))
        return _answer(canary, inside, BOTH, command, words)

    for what, content in documents.items():
        for place in ("recipe.yaml", "conf/head/mine.yaml"):
            head = [] if place == "recipe.yaml" else ["head=mine"]
            words = ["recipes=mine", "recipe=evil", *DATA[:1], *DATA[2:], *head]
            commands = {
                "check": (check, words),
                "train": (train, [*words, "hydra.run.dir=new"]),
                "show": (show, words),
                "recipe list": (recipe, ["list", "recipes=mine"]),
            }
            for name, (command, given) in commands.items():
                yield f"a recipe: {place}: {what}, {name}", functools.partial(asked, content, place, command, given)


def _sweeps(canary: Canary, inside: Path, config: Any) -> Cases:
    """A sweep's index, and its search, that name what lies outside, or are none."""
    sweep = inside / "swept"
    sweep.mkdir()
    made(sweep / "0", config)
    made(sweep / "1", config)
    runs = [{"folder": "0"}, {"folder": "1"}]
    trial = {"folder": "0", "state": "complete", "results": [0.5], "values": {"optim.lr": "0.1"}}
    search = {"format": 1, "sampler": "tpe", "keys": [{"key": "optim.lr", "numeric": True, "log": True}], "objectives": [{"column": "val_accuracy", "higher": True}], "trials": [trial], "best": ["0"], "importance": []}  # fmt: skip
    indices: dict[str, Any] = {
        "sound": {"runs": runs}, "a way out": {"runs": [*runs, {"folder": "../other"}]}, "a path": {"runs": [*runs, {"folder": str(inside / "other")}]}, "a result elsewhere": {"runs": runs, "result": "../other"},
        "a null": {"runs": [*runs, {"folder": "a\0b"}]}, "a long name": {"runs": [*runs, {"folder": "x" * 10_000}]}, "no list": {"runs": 3}, "texts": {"runs": ["0", "1"]}, "nothing": [], "numbers": {"runs": runs, "varied": 3, "command": 3, "name": 3},
        "markup": {"runs": runs, "name": MARKUP, "command": MARKUP, "varied": [MARKUP]}, "a direction": {"runs": runs, "metric": "=cmd", "direction": "x"}, "the same run 10,000 times": {"runs": [{"folder": "0"}] * 10_000},
    }  # fmt: skip
    searches = {
        "sound": search, "a trial elsewhere": {**search, "trials": [{**trial, "folder": "../other"}], "best": ["../other"]}, "markup": {**search, "sampler": MARKUP, "keys": [{"key": MARKUP, "numeric": False, "log": False}]},
        "results without end": {**search, "trials": [{**trial, "results": [1e999] * 1000}] * 100}, "no list": {**search, "trials": 3, "keys": "x"}, "nothing": [],
    }  # fmt: skip
    for file, contents in (("sweep.json", indices), ("search.json", searches)):
        for what, content in contents.items():
            for name, command, words in (
                ("compare", compare, ["sweep=swept", "output=compared"]),
                ("predict", predict, ["photos", "run=swept"]),
            ):

                def asked(file: str = file, content: Any = content, command: Any = command, words: Sequence[str] = words) -> str:  # fmt: skip
                    for one, index in (("sweep.json", indices["sound"]), ("search.json", searches["sound"])):
                        told = content if one == file else index
                        (sweep / one).write_text(json.dumps({"format": 1, **told} if isinstance(told, dict) else told))
                    return _answer(canary, inside, BOTH, command, words)

                yield f"{file}: {what}, {name}", asked


def _names(tally: Tally, canary: Canary, inside: Path, config: Any, short: bool) -> None:
    """Names of classes, runs, columns and sweeps, in the terminal, in tables, and in pages."""
    sweep = inside / "named"
    sweep.mkdir()
    names = [*HOSTILE, *LONG]
    runs = []
    for number, name in enumerate(names):
        other = names[(number + 1) % len(names)]
        made(
            sweep / str(number),
            config,
            classes=[name, other],
            overrides=[f"optim.name={name}", f"{other}=1"],
            reason=name,
            status=("failed", "finished", name)[number % 3],
        )
        with open(sweep / str(number) / "confusion.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["true", name, other], [name, 1, 1], [other, 1, 1]])
        with open(sweep / str(number) / "history.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["stage", "epoch", "val_accuracy", other], [name, 1, 0.5, 1.0]])
        runs.append({"folder": str(number), "overrides": [f"optim.name={name}"], "reason": name})
    index = {"format": 1, "name": MARKUP, "command": MARKUP, "varied": ["optim.name", MARKUP], "runs": runs}
    (sweep / "sweep.json").write_text(json.dumps(index))
    photos = inside / "called"
    for name in HOSTILE:
        (photos / name.replace("/", "-")).mkdir(parents=True)
        (photos / name.replace("/", "-") / f"{name[:100]}.jpg").write_bytes(jpeg((8, 8)))
        (photos / name.replace("/", "-") / "b.jpg").write_bytes(b"none")
    tally.case(
        "compare prints hostile names",
        lambda: unclean(ask(compare, ["sweep=named", "output=told"]), DONE) or canary.fault(),
    )
    tally.case(
        "doctor prints hostile names", lambda: unclean(ask(doctor, [f"data.dir={photos}", "output=doctor"]), BOTH)
    )
    for file in sorted([*(inside / "told").rglob("*.csv"), *(inside / "doctor").rglob("*.csv")]):
        tally.case(f"no formula in {file.name}", lambda file=file: formula_in(file))  # type: ignore[misc]
    if short or not browser.DRIVER:
        return
    with browser.chromium() as opened:
        for page in filter(Path.exists, (inside / "told" / "report.html", inside / "doctor" / "doctor.html")):
            tally.count(f"{page.name} in Chromium", browser.fault(opened, page.as_uri(), READY[page.name]))
            tally.count(f"a script that gets into {page.name}", browser.intruder(opened))

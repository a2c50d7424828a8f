"""Run folders, sweeps and recipes from strangers: what they record, what their configs ask for, how they are called."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import framework
from benchmarks.hostile import browser, networks
from benchmarks.hostile.canary import VARIABLE, Canary, listening
from benchmarks.hostile.files import jpeg
from benchmarks.hostile.names import HOSTILE, LONG, MARKUP
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, ask, most_memory, unclean
from framework import check, compare, doctor, evaluate, plan, predict, recipe, show, train
from framework.core.names import FORMULA
from framework.core.runs import RunFolder
from framework.reports.entries import flat

DATA = ["data=image_folder", "data.dir=photos", "data.image_size=32"]
ALL, SOME = ("evaluate", "predict", "compare", "check from=", "train resume="), ("predict", "train resume=")
BOTH, REFUSED, DONE = (0, 2), (2,), (0,)
DRAWN = ("run.json", "config.yaml", "history.csv", "confusion.csv")  # what figures are drawn of
FILES = (
    "run.json",
    "config.yaml",
    "history.csv",
    "answers.csv",
    "confusion.csv",
    "logits.npz",
    "state.npz",
    "model.keras",
)


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """All of it; ``short``: fewer keys, and no browser."""
    os.chdir(folder)
    for name in ("no", "yes"):
        for split in ("train", "validation"):
            Path("photos", split, name).mkdir(parents=True)
            for number in range(2):
                Path("photos", split, name, f"{number}.jpg").write_bytes(jpeg((32, 32)))
    with listening(folder / "canary") as canary, accepting():
        configs = whole_config()
        made(folder / "sound", configs)
        made(folder / "other", configs)
        for name, words in _commands("sound").items():
            codes = BOTH if name == "train resume=" else DONE
            tally.case(
                f"a sound run, {name}",
                lambda name=name, words=words, codes=codes: _answer(canary, folder, codes, COMMANDS[name], words),
            )  # type: ignore[misc]
        _records(tally, canary, folder, configs, short)
        _reaching(tally, canary, folder, configs, short)
        _begun(tally, canary, folder, configs)
        _recipes(tally, canary, folder)
        _sweeps(tally, canary, folder, configs)
    with listening(folder / "canary") as canary:
        _names(tally, canary, folder, configs, short)
    tally.facts.append(f"at most {most_memory():.0f} MiB of memory were taken")


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


def _answer(canary: Canary, folder: Path, codes: Sequence[int], command: Any, words: Sequence[str]) -> str:
    told = ask(command, words)
    wrong = unclean(told, codes) or canary.fault(told.said)
    for made_up in ("compared", "new", "runs", "doctor"):
        if (folder / made_up).exists():
            if canary.holds(folder / made_up):
                wrong = wrong or "the secret was written"
            shutil.rmtree(folder / made_up)
    return wrong


def _by_all(
    tally: Tally,
    canary: Canary,
    folder: Path,
    name: str,
    change: Callable[[Path], Any],
    config: Any,
    codes: Sequence[int] = BOTH,
    **record: Any,
) -> None:
    """Have each command, and Python, read a run folder that was changed."""
    for command, words in _commands("evil").items():
        if command == "compare" and not any(name.startswith(file) for file in DRAWN):
            continue  # which takes seconds for its figures

        def asked(command: str = command, words: list[str] = words) -> str:
            made(folder / "evil", config, **record)
            change(folder / "evil")
            return _answer(canary, folder, codes, COMMANDS[command], words)

        tally.case(f"{name}, {command}", asked)

    def python() -> str:
        made(folder / "evil", config, **record)
        change(folder / "evil")
        try:
            run = framework.load(folder / "evil")
            said = repr((run.classes, run.metrics, dict(run.config)))
        except framework.Error as error:
            said = str(error)
        return canary.fault(said)

    tally.case(f"{name}, framework.load", python)


def _records(tally: Tally, canary: Canary, folder: Path, config: Any, short: bool) -> None:
    """Links, pipes, devices, sizes, depths and shapes of each file."""

    def link(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(canary.secret_file)

    def pipe(file: Path) -> None:
        file.unlink(missing_ok=True)
        os.mkfifo(file)

    def device(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to("/dev/zero")

    def loop(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(file.name)

    def directory(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.mkdir()

    size = (10 if short else 100) << 20
    contents: dict[str, bytes] = {
        "nothing": b"", "nulls": bytes(1000), "letters of no encoding": b"\xff\xfe\xff" * 100, "lists without end": b"[" * 10**6, "a large text": b'"' + b"x" * size,
        "a large list": b"[" + b"1," * (size // 4) + b"1]", "a list": b"[1]", "a number": b"1", "digits": b"9" * 10_000, "markup": MARKUP.encode(),
    }  # fmt: skip
    for name in FILES:
        for what, change in (
            ("a link to a secret", link),
            ("a pipe", pipe),
            ("a device", device),
            ("a link to itself", loop),
            ("a folder", directory),
        ):
            _by_all(
                tally,
                canary,
                folder,
                f"{name} is {what}",
                lambda run, name=name, change=change: change(run / name),
                config,
            )  # type: ignore[misc]
        for what, content in contents.items():
            if short and "large" in what and name not in ("run.json", "config.yaml"):
                continue
            _by_all(
                tally,
                canary,
                folder,
                f"{name} holds {what}",
                lambda run, name=name, content=content: (run / name).write_bytes(content),
                config,
            )  # type: ignore[misc]
    for key in (
        "status",
        "overrides",
        "classes",
        "task",
        "best",
        "data",
        "recipe",
        "started",
        "format",
        "made",
        "calibration",
        "seconds",
        "parameters",
        "reason",
    ):
        for value in (
            None,
            -1,
            1e999,
            [],
            {},
            "x",
            ["x"] * 3,
            {"name": "../../x", "folder": "/etc"},
            {"images": -1},
            True,
            LONG[0],
        ):
            made(folder / "evil", config)
            record = json.loads((folder / "evil" / "run.json").read_text())
            text = json.dumps({**record, key: value})
            for command, words in [
                one
                for one in _commands("evil").items()
                if one[0] in (ALL if key in ("best", "data") and not short else SOME)
            ]:

                def said(command: str = command, words: list[str] = words, text: str = text) -> str:
                    made(folder / "evil", config)
                    (folder / "evil" / "run.json").write_text(text)
                    return _answer(canary, folder, BOTH, COMMANDS[command], words)

                tally.case(f"run.json says {key}={str(value)[:20]}, {command}", said)
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    for what, text in {
        "aliases": aliases,
        "an alias of itself": "a: &a [*a]\n",
        "tags": "a: !!python/object/apply:os.system ['touch sung']\n",
        "depth": "a: " + "[" * 10**5,
    }.items():
        _by_all(
            tally,
            canary,
            folder,
            f"config.yaml of {what}",
            lambda run, text=text: (run / "config.yaml").write_text(text),
            config,
        )  # type: ignore[misc]


def reaching(canary: Canary) -> dict[str, Any]:
    """Values that ask for more than themselves."""
    return {
        "a variable": f"${{oc.env:{VARIABLE}}}", "a variable within": f"/tmp/${{oc.env:{VARIABLE}}}/x", "a variable by parts": "${oc.${nowhere}:" + VARIABLE + "}",
        "a shell's variable": f"/tmp/${VARIABLE}/x", "a shell's variable in braces": f"${{{VARIABLE}}}", "a decoded variable": f"${{oc.decode:${{oc.env:{VARIABLE}}}}}",
        "Hydra's node": "${hydra:runtime.cwd}", "a created node": "${oc.create:{_target_: os.system}}", "a select": "${oc.select:hydra.job.env_set}",
        "code": {"_target_": "os.system", "command": canary.shell}, "code in a list": [{"_target_": "os.system", "_args_": [canary.shell]}],
    }  # fmt: skip


def _reaching(tally: Tally, canary: Canary, folder: Path, config: Mapping[str, Any], short: bool) -> None:
    """A config that asks for a variable, a file, or code, at each of its keys."""
    keys = ["data.dir", "optim.lr", "model.name", "callbacks.checkpoint.filename"]
    if not short:
        keys = list(flat(config))
    for key in keys:
        for what, value in reaching(canary).items():
            changed = yaml.safe_load(yaml.safe_dump(config))
            *nodes, last = key.split(".")
            node = changed
            for one in nodes:
                node = node[one]
            node[last] = value
            for command in ("check from=", "train from=", "evaluate") if not short else ("check from=", "evaluate"):

                def asked(command: str = command, changed: Any = changed) -> str:
                    made(folder / "evil", changed)
                    return _answer(canary, folder, BOTH, COMMANDS[command], _commands("evil")[command])

                tally.case(f"{key} is {what}, {command}", asked)
    for what, node in hydra_nodes(canary).items():
        _by_all(tally, canary, folder, f"config.yaml says {what}", lambda run: None, {**config, **node})


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


def _begun(tally: Tally, canary: Canary, folder: Path, config: Any) -> None:
    """Overrides that a run says it was begun with."""
    shelf = folder / "shelf" / "evil"
    shelf.mkdir(parents=True)
    (shelf / "recipe.yaml").write_text("# Evil.\n")
    (shelf / "parts.py").write_text(canary.python)
    for line in (
        f"+hydra.callbacks.evil={{_target_:os.system,command:'{canary.shell}'}}", "++hydra.launcher._target_=os.system", "hydra/launcher=joblib", "~hydra.run", "hydra={}",
        f"recipes={folder}/shelf", "recipe=evil", f"from={folder}/other", f"resume={folder}/other", f"data.dir=${{oc.env:{VARIABLE}}}", f"data.dir=${VARIABLE}", "x", "", "=", "a" * 10_000,
        "hydra.run.dir=/etc", f"model.weights=${{oc.env:{VARIABLE}}}", "trainer.epochs=${oc.decode:1}",
    ):  # fmt: skip

        def begun(line: str = line) -> str:
            made(
                folder / "evil",
                config,
                status="stopped",
                overrides=[f"recipes={folder}/shelf", line] if line == "recipe=evil" else [line],
            )
            return _answer(canary, folder, BOTH, train, ["resume=evil"])

        tally.case(f"begun with {line[:40]}", begun)
    tally.case(
        "a recipe of its own",
        lambda: (
            made(folder / "evil", config, recipe={"name": "evil", "folder": str(shelf)}),
            _answer(canary, folder, BOTH, predict, ["photos", "run=evil"]),
        )[1],
    )


def _recipes(tally: Tally, canary: Canary, folder: Path) -> None:
    """Recipes without ``parts.py``: they are data."""
    own = folder / "mine" / "evil"
    (own / "conf" / "head").mkdir(parents=True)
    usual = yaml.safe_load((Path(train.__file__).parents[1] / "conf" / "head" / "dense.yaml").read_text())
    documents: dict[str, Any] = {}
    for what, value in reaching(canary).items():
        documents |= {f"data.dir is {what}": {"data": {"dir": value}}, f"optim.lr is {what}": {"optim": {"lr": value}}}
    documents |= {f"it says {what}": node for what, node in hydra_nodes(canary).items()}
    for what, content in documents.items():
        for place in ("recipe.yaml", "conf/head/mine.yaml"):
            for one in ("recipe.yaml", "conf/head/mine.yaml"):
                (own / one).write_text("# Evil.\n" + ("" if one == "recipe.yaml" else yaml.safe_dump(usual)))
            body = content if place == "recipe.yaml" else {**usual, **content}
            (own / place).write_text("# Evil.\n" + yaml.safe_dump(body, sort_keys=False))
            words = [
                "recipes=mine",
                "recipe=evil",
                *DATA[:1],
                *DATA[2:],
                *([] if place == "recipe.yaml" else ["head=mine"]),
            ]
            for name, command in (("check", check), ("train", train), ("show", show)):
                given = [*words, "hydra.run.dir=new"] if name == "train" else words
                if "shell's" not in what:  # the paths of a recipe that one chooses may name variables
                    tally.case(
                        f"a recipe: {place}: {what}, {name}",
                        lambda command=command, given=given: _answer(canary, folder, BOTH, command, given),
                    )  # type: ignore[misc]
            tally.case(
                f"a recipe: {place}: {what}, recipe list",
                lambda: _answer(canary, folder, BOTH, recipe, ["list", "recipes=mine"]),
            )
    shutil.rmtree(folder / "mine")


def _sweeps(tally: Tally, canary: Canary, folder: Path, config: Any) -> None:
    """A sweep's index that names what lies outside, or is none."""
    sweep = folder / "swept"
    sweep.mkdir()
    made(sweep / "0", config)
    made(sweep / "1", config)
    runs = [{"folder": "0"}, {"folder": "1"}]
    for what, index in {
        "sound": {"runs": runs}, "a way out": {"runs": [*runs, {"folder": "../other"}]}, "a path": {"runs": [*runs, {"folder": str(folder / "other")}]}, "a result elsewhere": {"runs": runs, "result": "../other"},
        "a null": {"runs": [*runs, {"folder": "a\0b"}]}, "a long name": {"runs": [*runs, {"folder": "x" * 10_000}]}, "no list": {"runs": 3}, "texts": {"runs": ["0", "1"]}, "nothing": [], "numbers": {"runs": runs, "varied": 3, "command": 3, "name": 3},
        "markup": {"runs": runs, "name": MARKUP, "command": MARKUP, "varied": [MARKUP]}, "a direction": {"runs": runs, "metric": "=cmd", "direction": "x"}, "the same run 10,000 times": {"runs": [{"folder": "0"}] * 10_000},
    }.items():  # fmt: skip
        for name, command, words in (
            ("compare", compare, ["sweep=swept", "output=compared"]),
            ("predict", predict, ["photos", "run=swept"]),
        ):

            def asked(index: Any = index, command: Any = command, words: Sequence[str] = words) -> str:
                told = {"format": 1, **index} if isinstance(index, dict) else index
                (sweep / "sweep.json").write_text(json.dumps(told))
                return _answer(canary, folder, BOTH, command, words)

            tally.case(f"sweep.json: {what}, {name}", asked)


def _names(tally: Tally, canary: Canary, folder: Path, config: Any, short: bool) -> None:
    """Names of classes, runs, columns and sweeps, in the terminal, in tables, and in pages."""
    sweep = folder / "named"
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
    tally.case(
        "compare prints hostile names",
        lambda: unclean(ask(compare, ["sweep=named", "output=told"]), DONE) or canary.fault(),
    )
    for file in sorted((folder / "told").rglob("*.csv")):
        tally.case(f"no formula in {file.name}", lambda file=file: _formulas(file))  # type: ignore[misc]
    photos = folder / "called"
    for name in HOSTILE:
        (photos / name.replace("/", "-")).mkdir(parents=True)
        (photos / name.replace("/", "-") / f"{name[:100]}.jpg").write_bytes(jpeg((8, 8)))
        (photos / name.replace("/", "-") / "b.jpg").write_bytes(b"none")
    tally.case(
        "doctor prints hostile names", lambda: unclean(ask(doctor, [f"data.dir={photos}", "output=doctor"]), BOTH)
    )
    if short or not browser.DRIVER:
        return
    with browser.chromium() as opened:
        for page in (folder / "told" / "report.html", folder / "doctor" / "doctor.html"):
            tally.case(
                f"{page.name} in Chromium", lambda page=page: browser.fault(opened, page.as_uri()) or _policy(page)
            )  # type: ignore[misc]


def _formulas(file: Path) -> str:
    with open(file, newline="", encoding="utf-8") as opened:
        cells = [cell for row in csv.reader(opened) for cell in row]
    for cell in cells:
        with contextlib.suppress(ValueError):
            float(cell)
            continue
        if cell.startswith(FORMULA):
            return f"a spreadsheet takes {cell[:40]!r} for a formula"
    return ""


def _policy(page: Path) -> str:
    head = page.read_text(encoding="utf-8").partition("</head>")[0]
    return "" if "Content-Security-Policy" in head and "default-src 'none'" in head else "it has no policy"

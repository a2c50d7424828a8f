"""Commands killed (SIGKILL) at random moments must leave files that are whole or not there.

    python -m benchmarks.whole_files --kills 200

Four in turn: a training that saves its state every other step and a checkpoint every epoch, one that computes features
into the cache, a sweep with its index and its report, a comparison. Half of the kills come at a random moment, half
while a file is being written. After each kill every file in the run folders and the cache is opened and read to its
end; then the same command goes on, and what ends by itself is begun anew.

TensorFlow is imported once: each command runs in a fork of a process that has imported it and run nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.kills import make_photos

SMALL = (
    "data=image_folder",
    "data.dir=photos",
    "data.image_size=32",
    "model.filters=[4,8]",
    "trainer.batch_size=4",
    "trainer.epochs=4",
    "callbacks.checkpoint.save=every",
    "callbacks.checkpoint.filename='{epoch:02d}'",
    "cache.dir=cache",
)
HEAD_ONLY = "model.trainable=false"
BESIDE = re.compile(r"\.[0-9a-f]{8}-\d+(\.\w+)?")
LONGEST = 120.0


@dataclass(frozen=True)
class Scenario:
    """A command, and what is removed once it has ended by itself."""

    command: str
    arguments: tuple[str, ...]
    leaves: tuple[str, ...]


SCENARIOS: Mapping[str, Scenario] = {
    "training": Scenario("train", (*SMALL, "trainer.save_steps=2", "hydra.run.dir=run"), ("run",)),
    "features": Scenario("train", (*SMALL, HEAD_ONLY, "hydra.run.dir=kept"), ("kept", "cache")),
    "sweep": Scenario("train", ("-m", *SMALL, HEAD_ONLY, "sweep.name=rates", "optim.lr=0.1,0.01,0.001"), ("sweeps",)),
    "comparison": Scenario("compare", ("sweep=done/rates", "output=compared"), ("compared",)),
}


def begin(scenario: Scenario, folder: Path) -> int:
    """Start a command in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        from framework import compare, train
        from framework.features import store

        store.SHARD_BYTES = 16 << 10  # many files, so that a kill meets one
        sys.argv = [f"framework-{scenario.command}"]
        code = {"train": train, "compare": compare}[scenario.command].main(list(scenario.arguments))
    finally:
        os._exit(code)


def kill(scenario: Scenario, folder: Path, after: float, aimed: bool) -> int | None:
    """Run a command and kill it and what it has started; returns its exit code, None if it was killed.

    Args:
        scenario: the command.
        folder: where it runs.
        after: seconds.
        aimed: wait then for a file that is being written.
    """
    before = set(half_written(folder))
    child = begin(scenario, folder)
    started = time.monotonic()
    while time.monotonic() - started < after or (aimed and set(half_written(folder)) <= before):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - started > LONGEST:
            raise TimeoutError(f"{scenario} takes more than {LONGEST:g} s")
        time.sleep(0.0002 if aimed else 0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # what it had started is now ours
    for orphan in _children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return None


def half_written(folder: Path) -> list[Path]:
    """Files that a writer has not finished: they have names of their own, which no reader looks at."""
    with contextlib.suppress(OSError):
        return [Path(root, name) for root, _, names in os.walk(folder) for name in names if BESIDE.fullmatch(name)]
    return []


def faults(folder: Path) -> Iterator[str]:
    """Every file below that is not whole, with what is wrong."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not BESIDE.fullmatch(path.name) and "photos" not in path.parts:
            try:
                READERS.get(path.suffix, _nothing)(path)
            except Exception as error:
                yield f"{path.relative_to(folder)}: {type(error).__name__}: {error}"


def _nothing(path: Path) -> None:
    """A log or a lock: whole at any length."""


def _json(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if "crc32" in content:  # of features: it is written when they are there
        rows = path.with_suffix(".rows").read_bytes()
        assert (len(rows), zlib.crc32(rows)) == (content["bytes"], content["crc32"]), "not what its index says"


def _yaml(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n"), "no end of the last line"
    assert yaml.safe_load(text) is not None, "empty"


def _csv(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n"), "no end of the last line"
    assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1, "rows of several lengths"


def _npz(path: Path) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            assert arrays[name] is not None


def _keras(path: Path) -> None:
    import h5py

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, "a damaged member"
        json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(lambda _, item: item[()].tobytes() and None if isinstance(item, h5py.Dataset) else None)


def _png(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _html(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), "no end"


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".csv": _csv,
    ".npz": _npz,
    ".keras": _keras,
    ".png": _png,
    ".html": _html,
}


def _children() -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def finish(scenario: Scenario, folder: Path) -> float:
    """Let a command go to its end; returns its seconds.

    Raises:
        AssertionError: it did not end well.
    """
    started = time.monotonic()
    code = kill(scenario, folder, LONGEST, aimed=False)
    assert code == 0, f"exit code {code}:\n{(folder / 'log.txt').read_text()[-3000:]}"
    return time.monotonic() - started


def campaign(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Kill so many times in all; returns how many kills met each scenario, and how many left a half-written file.

    Raises:
        AssertionError: a file is there and not whole, or a command that was killed before does not end well.
    """
    draw = random.Random(seed)
    make_photos(folder / "photos")
    took = {"sweep": finish(SCENARIOS["sweep"], folder)}
    (folder / "sweeps").rename(folder / "done")
    shutil.rmtree(folder / "cache")
    for name, scenario in SCENARIOS.items():
        took.setdefault(name, 0.0)
        took[name] = took[name] or finish(scenario, folder)
        _clear(scenario, folder)
    met: Counter[str] = Counter()
    while sum(met[name] for name in SCENARIOS) < kills:
        for name, scenario in SCENARIOS.items():
            before = set(half_written(folder))
            code = kill(scenario, folder, draw.uniform(0, took[name]), aimed=draw.random() < 0.5)
            met["half-written files"] += not set(half_written(folder)) <= before
            found = list(faults(folder))
            assert not found, f"{name}: {found}"
            if code is None:
                met[name] += 1
            else:
                assert code == 0, f"{name}: exit code {code}\n{(folder / 'log.txt').read_text()[-3000:]}"
                met["ended first"] += 1
                _clear(scenario, folder)
        print(", ".join(f"{name} {count}" for name, count in met.items()), flush=True)
    for scenario in SCENARIOS.values():
        finish(scenario, folder)
        assert not list(faults(folder))
    return met


def _clear(scenario: Scenario, folder: Path) -> None:
    for name in scenario.leaves:
        shutil.rmtree(folder / name, ignore_errors=True)


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    adopt_orphans = 36
    ctypes.CDLL(None).prctl(adopt_orphans, 1)
    from framework import train

    train.ready()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "home"))
        met = campaign(Path(folder), options.kills, options.seed)
    killed = sum(met[name] for name in SCENARIOS)
    print(
        f"{killed} kills; {met['half-written files']} of them met a file half written; every file was whole or not there"
    )


if __name__ == "__main__":
    main()

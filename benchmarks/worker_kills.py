"""One of several workers is killed or stopped at any moment: all end soon, and the same command goes on to the same bits.

    python -m benchmarks.worker_kills --kills 60

Two and three workers in turn, of each config of ``kills`` and of a head on kept features. What is sent, to which of the
processes and when, from their start to the last file, is drawn; the process that has started the workers is one of them.
Then the command is given again until it ends by itself, and weights, optimizer, history and checkpoints are compared by
their hashes with those of a run that was not killed. No process is left, and no half-written file. Commands are forked
from this process, which has imported TensorFlow and computes nothing. For Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import runpy
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.workers import HEAD
from framework.core.errors import STOPPED
from framework.core.runs import RunFolder
from framework.sweeps.ready import ready

# seconds after which no process may be left, however one of them was ended
LIMIT = 60.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
CONFIGS = {
    **{name: (*kills.BASE, *arguments) for name, arguments in kills.CONFIGS.items()},
    "head on kept features": (
        *HEAD,
        "trainer.batch_size=4",
        "trainer.epochs=4",
        "trainer.save_steps=2",
    ),
}


def train(folder: Path, run: str, *arguments: str) -> Any:
    """Begin ``framework.train`` in a folder, its cache and its log there too; a process of ``multiprocessing``."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(folder, run, arguments))
    process.start()
    return process


def _train(folder: Path, run: str, arguments: tuple[str, ...]) -> None:
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    log = os.open(f"{run}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["framework.train", *arguments, f"hydra.run.dir={run}"]
    runpy.run_module("framework.train", run_name="__main__", alter_sys=True)


def workers_of(number: int) -> list[int]:
    """Process numbers of the workers that a training has started, in their order."""
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    return []


def is_alive(number: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(starter: int, place: int, number: int, after: float, workers: int) -> float | None:
    """Send a signal to a worker, or to the process that starts them (place -1), so many seconds after all have begun.

    Returns:
        Seconds until no process was left; None if the training had ended before.

    Raises:
        AssertionError: some process is left after ``LIMIT``.
    """
    while len(found := workers_of(starter)) < workers:
        if not is_alive(starter):
            return None
        time.sleep(0.01)
    time.sleep(after)
    whole = [starter, *found]
    if not all(map(is_alive, (starter, whole[place + 1]))):
        return None
    os.kill(whole[place + 1], number)
    if place == -1 and number == signal.SIGSTOP:
        # nobody misses it: the training goes on, and it is here that it is woken
        time.sleep(1)
        os.kill(starter, signal.SIGCONT)
        while any(map(is_alive, whole)):
            time.sleep(0.05)
        return 0.0
    sent = time.monotonic()
    while left := list(filter(is_alive, whole)):
        assert time.monotonic() - sent < LIMIT, f"processes {left} are left"
        time.sleep(0.05)
    return time.monotonic() - sent


def half_written(folder: Path) -> list[Path]:
    """What a run has left that is not whole; a kill may leave it, a run that has ended since does not."""
    return [path for path in folder.rglob(".*-*") if path.is_file()]


def campaign(
    folder: Path, count: int, seed: int, configs: tuple[str, ...] = tuple(CONFIGS), sizes: tuple[int, ...] = (2, 3)
) -> tuple[int, float]:
    """So many kills, each run compared in the end; returns how many met a training, and the longest end in seconds.

    Raises:
        AssertionError: a run ended otherwise than one that was not killed, or did not end.
    """
    draw = random.Random(seed)
    kills.make_photos(folder / "photos")
    ready()
    expected: dict[tuple[str, int], dict[str, str]] = {}
    lasts: dict[tuple[str, int], float] = {}
    number = met = 0
    longest, sent = 0.0, Counter[str]()
    while met < count:
        config, workers = chosen = configs[number % len(configs)], sizes[number // len(configs) % len(sizes)]
        arguments = (*CONFIGS[config], f"trainer.workers={workers}")
        if chosen not in expected:
            begun = time.monotonic()
            finish(folder, f"whole{number}", *arguments, f"cache.dir=cache{number}")
            lasts[chosen] = time.monotonic() - begun
            expected[chosen] = kills.fingerprint(folder / f"whole{number}")
        run = f"killed{number}"
        # each with a cache of its own, so that features are computed under fire too
        arguments = (*arguments, f"cache.dir=cache-{run}")
        for _ in range(draw.choice((2, 3, 4))):
            place, what = draw.randrange(-1, workers), draw.choice(SIGNALS)
            process = train(folder, run, *arguments)
            took = kill(process.pid, place, what, draw.uniform(0, lasts[chosen]), workers)
            process.join()
            said = f"{process.exitcode}: {(folder / f'{run}.log').read_text()}"
            if took is None:
                assert process.exitcode == 0, said
                break
            allowed = {0, STOPPED} if place >= 0 or what != signal.SIGKILL else {-signal.SIGKILL}
            assert process.exitcode in allowed, said
            met, longest = met + 1, max(longest, took)
            sent[f"{what.name} to {'the starter' if place == -1 else f'worker {place}'}"] += 1
        finish(folder, run, *arguments)
        found = kills.fingerprint(folder / run)
        differing = [name for name, value in expected[chosen].items() if found.get(name) != value]
        assert found.keys() == expected[chosen].keys(), (run, set(found) ^ set(expected[chosen]))
        assert not differing, (run, chosen, differing)
        assert not half_written(folder / run), half_written(folder / run)
        print(
            f"{met} kills, the longest end {longest:.1f} s: {config}, {workers} workers: the same to the bit",
            flush=True,
        )
        number += 1
        print(", ".join(f"{name} {times}" for name, times in sorted(sent.items())), flush=True)
    return met, longest


def finish(folder: Path, run: str, *arguments: str) -> None:
    """Let a run go to its end."""
    process = train(folder, run, *arguments)
    process.join()
    if process.exitcode != 0:
        sys.exit(f"{arguments}: exit code {process.exitcode}\n{(folder / f'{run}.log').read_text()}")
    assert RunFolder(folder / run).read_run()["status"] == "finished"


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met, longest = campaign(Path(folder), options.kills, options.seed)
    print(
        f"{met} kills met a training under way; all processes ended within {longest:.1f} s, every run to the same bits"
    )


if __name__ == "__main__":
    main()

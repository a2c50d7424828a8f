"""Runs killed (SIGKILL) at random moments and begun again must end bit for bit like one that was not.

    python -m benchmarks.kills --kills 30

Three configs in turn: dropout, shuffling and a plateau callback; two stages; augmentation. Each run is killed once or
more, then goes on to its end; weights, optimizer, history and checkpoints are compared by their hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from framework.core.runs import RunFolder

ROOT = Path(__file__).resolve().parents[1]
BASE = (
    "data=image_folder",
    "data.dir=photos",
    "data.image_size=32",
    "model.filters=[4,8]",
    "trainer.batch_size=4",
    "trainer.epochs=6",
    "trainer.save_steps=2",
)
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "dropout and plateau": (
        "head.hidden=[16]",
        "head.dropout=0.5",
        "callbacks=[default,reduce_on_plateau,early_stopping]",
        "callbacks.reduce_on_plateau.patience=1",
        "callbacks.early_stopping.patience=4",
    ),
    "two stages": ("stages=head_then_all", "stages.head.epochs=2", "stages.all.epochs=3", "head.dropout=0.2"),
    "augmentation": ("augment=strong", "callbacks=[default,weight_averaging]", "optim.schedule=cosine"),
}


def make_photos(folder: Path) -> None:
    """Small noisy images of three classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("validation", 4)):
        for number, name in enumerate(("blue", "green", "red")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 200, (40, 40, 3))
                pixels[..., number] += 55
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{index}.png")


def start(folder: Path, run: str, config: str) -> subprocess.Popen:
    """Begin a run, or go on with it."""
    return train(folder, run, *BASE, *CONFIGS[config])


def train(folder: Path, run: str, *arguments: str) -> subprocess.Popen:
    """Begin ``framework.train`` in a folder, its cache and its log there too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    log = open(folder / f"{run}.log", "a", encoding="utf-8")  # noqa: SIM115 - the process keeps it
    return subprocess.Popen(
        [sys.executable, "-m", "framework.train", *arguments, f"hydra.run.dir={run}"],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=log,
    )


def finish(folder: Path, run: str, config: str) -> None:
    """Let a run go to its end."""
    code = start(folder, run, config).wait()
    if code != 0:
        sys.exit(f"{config}: exit code {code}\n{(folder / f'{run}.log').read_text()}")


def kill(folder: Path, run: str, config: str, after: float) -> bool:
    """Begin a run and kill it so many seconds after its first state, or at the latest after its end; whether it ran."""
    process = start(folder, run, config)
    state = RunFolder(folder / run).state
    before = state.stat().st_mtime_ns if state.exists() else None
    while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
        time.sleep(0.005)
    time.sleep(after)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return running


def fingerprint(folder: Path) -> dict[str, str]:
    """What a run ended as: a hash of each array of its model, state and checkpoints, and its history without seconds."""
    found = {}
    run = RunFolder(folder)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in run.read_history()]
    found["history"] = repr(rows)
    with np.load(run.state, allow_pickle=False) as state:
        found |= {f"state/{name}": _hash(state[name].tobytes()) for name in state.files if name != "json"}
    for path in (run.model, *sorted(run.checkpoints.iterdir())):
        found |= {f"{path.name}/{name}": value for name, value in _arrays(path).items()}
    return found


def _arrays(path: Path) -> dict[str, str]:
    import h5py

    found: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, item: (
                found.__setitem__(name, _hash(item[()].tobytes())) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def campaign(folder: Path, kills: int, seed: int, configs: tuple[str, ...] = tuple(CONFIGS)) -> int:
    """Kill so many runs in all, and compare each in the end; returns how many kills met a run that was training.

    Raises:
        AssertionError: a run ended otherwise than the one that was not killed.
    """
    draw = random.Random(seed)
    make_photos(folder / "photos")
    expected = {}
    for number, config in enumerate(configs):
        finish(folder, f"whole{number}", config)
        expected[config] = fingerprint(folder / f"whole{number}")
    met, place = 0, 0
    while place < kills:
        number = place % len(configs)
        run = f"killed{place}"
        for _ in range(draw.choice((1, 1, 2))):
            met += kill(folder, run, configs[number], draw.uniform(0, 1.5))
            place += 1
        finish(folder, run, configs[number])
        found = fingerprint(folder / run)
        differing = [name for name in expected[configs[number]] if found.get(name) != expected[configs[number]][name]]
        assert found.keys() == expected[configs[number]].keys(), (run, set(found) ^ set(expected[configs[number]]))
        assert not differing, (run, configs[number], differing)
        print(f"{place} kills, {met} while training: {configs[number]} the same to the bit", flush=True)
    return met


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met = campaign(Path(folder), options.kills, options.seed)
    print(f"{met} kills met a run while it trained; every one ended like a run that was not killed")


if __name__ == "__main__":
    main()

"""What 10^6, 10^8 and 10^9 images would cost, and where more workers stop helping: rates of this machine, then arithmetic.

    python -m benchmarks.scale                                 measures, in some minutes, then prints four tables
    python -m benchmarks.scale --card-images 3000 --card-trains 1000     for cards that do so many images a second
    python -m benchmarks.scale --bandwidths 1 25 --latency 50

Measured: processor seconds and bytes of an image in ``framework.embed``, seconds of a step's images by
``framework.benchmark``, and what a sum over two workers takes on loopback, by its size. Everything else is a model:
``cost`` and ``step`` say which. Nothing of this was run on more than two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, data_folder, mobilenet, needs, process, report, run, weights_file
from framework.cli.command import check
from framework.parts.facts import facts
from framework.runs.cluster import Cluster, cluster_of

IMAGES = (10**6, 10**8, 10**9)
WORKERS = (1, 2, 4, 8, 16, 32, 64)
BASES = ("mobilenet", "resnet50")
FEW, MORE = 256, 1280  # images of two runs of embed, whose difference is what images cost
SUMS = (1 << 12, 1 << 18, 1 << 22, 1 << 24)  # bytes
SHARD = 1 << 30
FEATURE_SHARD = 64 << 20
REPEATS = 9


@dataclass(frozen=True)
class Image:
    """What one image costs: bytes of its file, of its features and of its row in Parquet; processor seconds."""

    file: float
    features: float
    row: float
    seconds: float


def cost(images: int, one: Image, workers: int, gigabits: float) -> dict[str, float]:
    """What so many images cost a feature pass of workers of one core each, that read tar shards over a network.

    Args:
        images: how many.
        one: what each costs.
        workers: cores; each is at work all the time, for shards are many more than workers.
        gigabits: a second, that all workers share: the store's.

    Returns:
        ``bytes`` read, ``features`` in bytes, ``shards`` read and ``written``, ``core_hours``, and ``hours``: of computing or
        of reading, whichever takes longer, for a worker reads the next images while it computes.
    """
    read = images * one.file
    computing = images * one.seconds / workers
    reading = 8 * read / (gigabits * 1e9)
    return {
        "bytes": read,
        "features": images * one.features,
        "shards": -(-read // SHARD),
        "written": -(-images * one.features // FEATURE_SHARD),
        "core_hours": images * one.seconds / 3600,
        "hours": max(computing, reading) / 3600,
    }


def step(workers: int, batch: int, image: float, gradients: float, gigabits: float, latency: float) -> float:
    """Seconds of a step of so many workers, of a batch that they share: computing, then one ring of sums.

    A ring of n sends 2 (n - 1) / n of the bytes over each connection, in 2 (n - 1) turns (Patarasuk and Yuan, 2009,
    https://doi.org/10.1016/j.jpdc.2008.09.002).

    Args:
        workers: how many.
        batch: images of the batch; an uneven share is as long as the largest.
        image: seconds of an image, forward and back.
        gradients: bytes.
        gigabits: a second of each connection.
        latency: seconds of a turn.
    """
    turns = 2 * (workers - 1)
    return -(-batch // workers) * image + turns * latency + turns / workers * 8 * gradients / (gigabits * 1e9)


def fitted(sums: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Seconds of a turn and gigabits a second, of a ring of two, from pairs of bytes and seconds."""
    sizes, seconds = np.array(sums, float).T
    # weighed by what they measure: else the largest alone would say what a turn takes
    slope, start = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    return max(start, 0.0) / 2, 8 / slope / 1e9


def main() -> None:
    """Measure, compute, print."""
    needs("pyarrow")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--bandwidths", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="gigabits a second")
    parser.add_argument("--latency", type=float, default=100.0, help="microseconds of a turn of a ring over a network")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--card-images", type=float, help="images a second of a card's feature pass, that you have measured"
    )
    parser.add_argument(
        "--card-trains", type=float, help="images a second that a card trains on, in place of this machine"
    )
    parser.add_argument("--sums", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sums:
        return _sums(*options.sums)
    one = _image(data_folder(options.data), weights_file("mobilenet", options.weights))
    _tell_images(one, options.bandwidths, options.card_images)
    turn, speed = fitted(sums := _measured_sums())
    rows = [[f"{size:,}", f"{1000 * seconds:.2f} ms"] for size, seconds in sums]
    note = f"fitted: {1e6 * turn:.0f} µs a turn, {speed:.2f} gigabits a second"
    report("a sum over two workers, processes on loopback, best of nine", ["bytes", "takes"], rows, note)
    _tell_steps(options.batch, options.bandwidths, options.latency / 1e6, options.card_trains)


def _tell_images(one: Image, bandwidths: Sequence[float], card: float | None) -> None:
    rows = []
    for images in IMAGES:
        whole = cost(images, one, 1, bandwidths[-1])
        row = [f"{images:.0e}", _size(whole["bytes"]), f"{whole['shards']:,.0f}", _size(whole["features"])]
        row += [_size(images * one.row), f"{whole['written']:,.0f}", f"{whole['core_hours']:,.0f}"]
        rows.append([*row, f"{images / card / 3600:,.1f}" if card else "–"])
    heads = ["images", "files", "shards = requests", "features", "as Parquet", "feature shards", "core hours"]
    cost_of_one = f"{1000 * one.seconds:.2f} processor ms and {one.file / 1000:.1f} kB an image"
    report(f"MobileNet alpha 0.25, 224 px, features kept: {cost_of_one}", [*heads, "card hours"], rows)
    rows = []
    for images in IMAGES:
        for gigabits in bandwidths:
            hours = [cost(images, one, workers, gigabits)["hours"] for workers in (10, 100, 1000)]
            rows.append([f"{images:.0e}", f"{gigabits:g}", *(f"{one:,.1f}" for one in hours)])
    title = "hours of the feature pass, by workers of one core, and by gigabits a second that they share"
    report(title, ["images", "gigabits/s", "10", "100", "1,000"], rows)


def _tell_steps(batch: int, bandwidths: Sequence[float], latency: float, card: float | None) -> None:
    """How many times faster a step is, everything trained."""
    rows = []
    for name, image, gradients in _steps(card):
        for gigabits in bandwidths:
            alone = step(1, batch, image, gradients, gigabits, latency)
            times = [alone / step(workers, batch, image, gradients, gigabits, latency) for workers in WORKERS]
            rows.append([f"{name}, {_size(gradients)}", f"{gigabits:g}", *(f"{one:.1f}" for one in times)])
    title = f"how many times faster a step of {batch} images is (a model; {1e6 * latency:.0f} µs a turn)"
    report(title, ["network, gradients", "gigabits/s", *map(str, WORKERS)], rows)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB"


def _image(data: Path, weights: str | None) -> Image:
    """What an image costs: of two runs of ``embed``, each with an empty cache, the difference by image."""
    files = [file.stat().st_size for file in data.glob("train/*/*")]
    seconds, rows, kept = [], [], []
    for count in (FEW, MORE):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            words = [*mobilenet(data, weights), f"data.limit={count}", "cache.dtype=float16"]
            timed = run("framework.embed", *words, f"output={folder}/features.parquet", cache=folder / "cache")
            seconds.append(timed.processor)
            rows.append((folder / "features.parquet").stat().st_size)
            kept.append(
                sum(file.stat().st_size for file in folder.glob("cache/**/*") if file.suffix in (".rows", ".json"))
            )
    some = MORE - FEW
    each = ((late - early) / some for early, late in (kept, rows, seconds))
    return Image(float(np.mean(files)), *each)


def _steps(card: float | None) -> list[tuple[str, float, float]]:
    """Of each base its name, seconds of an image forward and back, and bytes of gradients, everything trained."""
    gradients = {name: 4 * (facts(name).parameters or 0) for name in BASES}
    if card:
        return [(name, 1 / card, gradients[name]) for name in BASES]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": f"{folder}/cache"}
        words = [f"model={','.join(BASES)}", "model.weights=null", "data.train=320", "data.validation=10"]
        command = [sys.executable, "-m", "framework.benchmark", *words, "trainer.epochs=1"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        with open(f"{folder}/benchmark/benchmark.csv", newline="") as table:
            found: list[dict[str, Any]] = list(csv.DictReader(table))
    return [(row["model"], float(row["full_epoch"]) / float(row["images"]), gradients[row["model"]]) for row in found]


def _measured_sums() -> list[tuple[float, float]]:
    (settings,) = check(["trainer.workers=2"], lambda _: [])
    addresses = [address for _, address in cluster_of(settings).tasks]
    others = [json.dumps([addresses, place]) for place in range(2)]
    command = [sys.executable, "-m", "benchmarks.scale", "--sums"]
    with subprocess.Popen(
        [*command, others[1]], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as second:
        found = json.loads(process([*command, others[0]]).output.splitlines()[-1])
        second.wait()
    return [tuple(one) for one in found]


def _sums(addresses: Sequence[str], place: int) -> None:
    """One of two workers: prints, by size, the seconds of a sum."""
    from framework.core.backend import load_tensorflow, tf

    load_tensorflow()
    from framework.training.workers import come_together

    os.environ["TF_CONFIG"] = Cluster(tuple(("worker", one) for one in addresses), (place,)).config(place)
    workers = come_together(place, len(addresses), 0)
    found = []
    for size in SUMS:
        summed = tf.function(workers.sum, autograph=False)
        own, best = tf.ones(size // 4), float("inf")
        for _ in range(REPEATS):
            started = time.perf_counter()
            summed(own).numpy()
            best = min(best, time.perf_counter() - started)
        found.append((size, best))
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

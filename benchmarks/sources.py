"""Listing and reading 100,000 images of a ZIP, of tar shards and of Parquet: seconds to list, memory of epochs.

    python -m benchmarks.sources
    python -m benchmarks.sources --images 20000 --kinds zip

The images are JPEGs of noise, 64 pixels wide, of ten classes, each another. Each kind is listed, and read twice, shuffled, by
the input pipeline, in a process of its own; ``--epochs 0`` only lists.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.measure import needs, report

SIDE, CLASSES, SHARD, GROUP = 64, 10, 10_000, 100
KINDS = ("zip", "webdataset", "parquet")


def main() -> None:
    """Make the data, measure each kind, print a table."""
    needs("pyarrow")
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(*options.measure.split("=", 1), options.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        images = _images(options.images)
        rows = []
        for kind in options.kinds:
            place = _make(kind, Path(folder), images)
            command = [sys.executable, "-m", "benchmarks.sources", "--epochs", str(options.epochs)]
            command += ["--measure", f"{kind}={place}"]
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            rows.append([kind, *(f"{value:,.2f}" for value in found.values())])
    header = ["", "seconds to list", "of processor", "GiB"]
    header += [title for epoch in range(options.epochs) for title in (f"seconds of epoch {epoch + 1}", "GiB")]
    report(f"{options.images:,} images", header, rows)


def _images(count: int) -> list[bytes]:
    """JPEGs of noise, a hundred of them, each made another by what follows its end."""
    from PIL import Image

    rng, made = np.random.default_rng(0), []
    for _ in range(100):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return [made[number % 100] + number.to_bytes(4, "big") for number in range(count)]


def _make(kind: str, folder: Path, images: list[bytes]) -> Path:
    """The data set of a kind; returns its file or folder."""
    place = folder / (f"{kind}.zip" if kind == "zip" else kind)
    if kind == "zip":
        with zipfile.ZipFile(place, "w") as made:
            for number, data in enumerate(images):
                made.writestr(f"class{number % CLASSES}/{number:06d}.jpg", data)
        return place
    place.mkdir()
    for start in range(0, len(images), SHARD):
        part = list(enumerate(images))[start : start + SHARD]
        if kind == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            cells = {
                "image": [{"bytes": data, "path": None} for _, data in part],
                "label": [n % CLASSES for n, _ in part],
            }
            pq.write_table(pa.table(cells), place / f"train-{start // SHARD:03d}.parquet", row_group_size=GROUP)
            continue
        with tarfile.open(place / f"train-{start // SHARD:03d}.tar", "w") as made:
            for number, data in part:
                for ending, content in (("jpg", data), ("cls", str(number % CLASSES).encode())):
                    header = tarfile.TarInfo(f"{number:06d}.{ending}")
                    header.size = len(content)
                    made.addfile(header, io.BytesIO(content))
    return place


def _measured(kind: str, place: str, epochs: int) -> dict[str, float]:
    """Seconds to list and of epochs, and the peak of memory after each."""
    from framework.config.documents import read_option
    from framework.config.folders import conf_folder
    from framework.data.sources import read_all

    name = "image_folder" if kind == "zip" else kind
    usual = read_option(conf_folder() / "data" / f"{name}.yaml").content
    del usual["name"]
    started, used = time.perf_counter(), time.process_time()
    images = read_all(name, 1, **{**usual, "dir" if kind == "zip" else "files": place})
    found = {"listed": time.perf_counter() - started, "process": time.process_time() - used, "after": _peak()}
    if not epochs:
        return found
    from framework.core.backend import load_tensorflow
    from framework.core.geometry import Geometry
    from framework.data.containers import ready
    from framework.data.pipeline import steps, training_dataset
    from framework.data.rows import FileImages

    load_tensorflow()
    train = images.splits["train"]
    batches = training_dataset(FileImages(train.paths, Geometry((SIDE, SIDE))), train.labels, batch_size=64, seed=1)
    ready(train.paths, limit=50)
    iterator = iter(batches)
    for epoch in range(epochs):
        started = time.perf_counter()
        for _ in range(steps(len(train), 64)):
            next(iterator)
        found |= {f"seconds {epoch}": time.perf_counter() - started, f"peak {epoch}": _peak()}
    return found


def _peak() -> float:
    """GiB that the process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()

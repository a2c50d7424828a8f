"""Features of 100,000 made images trained from disk: peak memory above that of the same process without them.

    python -m benchmarks.memory
    python -m benchmarks.memory --images 20000

The features (7×7×256 float32, 50 KB an image) are written to a cache of their own and trained on for two epochs.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import report

SHAPE = (7, 7, 256)


def main() -> None:
    """Fill a cache, train on it, print the peaks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()

    from framework.core.backend import keras, load_tensorflow
    from framework.data.pipeline import steps, training_dataset
    from framework.features.rows import FeatureRows
    from framework.features.shards import Layout
    from framework.features.store import Store

    load_tensorflow()
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    model.fit(rng.random((64, *SHAPE), np.float32), rng.integers(0, 10, 64), epochs=1, verbose=0)
    alone = _peak()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), {"made for": "a benchmark"}, Layout((SHAPE,), "float32"))
        store.open({})
        keys = [f"{number:032x}" for number in range(options.images)]
        with store.writing():
            store.add(
                (keys[start : start + 64], _made(rng, min(64, options.images - start)))
                for start in range(0, options.images, 64)
            )
        rows = FeatureRows(store, keys, 0, 0.0)
        labels = rng.integers(0, 10, options.images).astype(np.int32)
        dataset = training_dataset(rows, labels, batch_size=32, seed=1)
        started = time.perf_counter()
        model.fit(dataset, steps_per_epoch=steps(options.images, 32), epochs=2, verbose=0, shuffle=False)
        seconds = time.perf_counter() - started
    size = options.images * np.prod(SHAPE) * 4 / 2**30
    report(
        f"{options.images:,} images' features, {size:.1f} GiB, two epochs in {seconds:.0f} s",
        ["", "peak memory, GiB"],
        [["the model alone", f"{alone:.2f}"], ["trained from disk", f"{_peak():.2f}"]],
        f"above the model's own: {_peak() - alone:.2f} GiB",
    )


def _made(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.random((count, int(np.prod(SHAPE))), np.float32).view(np.uint8)


def _peak() -> float:
    """Largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()

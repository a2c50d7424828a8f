"""The feature pass against its parts: decoding alone and the bare forward pass on arrays in memory.

    python -m benchmarks.feature_pass                     MobileNet alpha 0.25, 224 px
    python -m benchmarks.feature_pass --base xception     Xception 150 px

Each side runs ``--repeat`` times in turn and the best of each counts: a machine is rarely quiet.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np

from benchmarks.measure import data_folder, report, weights_file

SIDES = {"mobilenet": 224, "xception": 150}


def main() -> None:
    """Time the three and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--base", choices=["mobilenet", "xception"], default="mobilenet")
    parser.add_argument("--images", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    from framework.core.backend import keras, load_tensorflow, tf

    load_tensorflow()
    from framework.config.settings import CacheSettings
    from framework.core.geometry import Geometry
    from framework.data import fingerprint
    from framework.data.rows import FileImages, decode_all
    from framework.features.compute import features

    side = SIDES[options.base]
    geometry = Geometry((side, side))
    paths = [str(path) for path in sorted(data_folder(options.data).glob("train/*/*.jpg"))]
    paths = paths[:: max(1, len(paths) // (options.images or {"mobilenet": 3068, "xception": 512}[options.base]))]
    weights = weights_file(options.base, options.weights)
    inputs = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    if options.base == "mobilenet":
        base = keras.applications.MobileNet(input_tensor=x, alpha=0.25, include_top=False, weights=weights)
    else:
        base = keras.applications.Xception(input_tensor=x, include_top=False, weights=weights)
    prefix = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(base.output))
    keys = fingerprint.contents(paths)
    images = decode_all(FileImages(paths, geometry))
    forward = tf.function(lambda batch: prefix(tf.cast(batch, tf.float32), training=False))

    def bare() -> None:
        for start in range(0, len(images), 32):
            forward(tf.constant(images[start : start + 32]))

    def decoding() -> None:
        decode_all(FileImages(paths, geometry))

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = CacheSettings(use="auto", dir=folder, dtype="float32", size_limit=20, compute="local")
            rows = features(prefix, paths, keys, geometry=geometry, cache=cache, precision="float32", about={})
            assert rows.computed == len(set(keys))

    forward(tf.constant(np.zeros((32, side, side, 3), np.uint8)))
    best: dict[str, tuple[float, float]] = {}
    for _ in range(options.repeat):
        for name, work in (("decoding alone", decoding), ("forward alone", bare), ("feature pass", whole)):
            started, processor = time.perf_counter(), time.process_time()
            work()
            taken = time.perf_counter() - started, time.process_time() - processor
            best[name] = min(best.get(name, taken), taken)
    parts = best["decoding alone"][1] + best["forward alone"][1]
    rows = [
        [name, f"{wall:.1f}", f"{processor:.1f}", f"{len(paths) / wall:.0f}"]
        for name, (wall, processor) in best.items()
    ]
    rate = best["forward alone"][0] / best["feature pass"][0]
    note = f"images/s: {rate:.2f} of the bare forward pass; "
    note += f"processor seconds: {best['feature pass'][1] / parts:.2f} of decoding alone + forward alone"
    what = f"{options.base} {side} px, {len(paths)} images, best of {options.repeat}"
    report(what, ["", "seconds", "processor seconds", "images/s"], rows, note)


if __name__ == "__main__":
    main()

"""``framework-predict`` against a bare batched forward pass with decoding: images a second, in one process.

    python -m benchmarks.predict
    python -m benchmarks.predict --one    one image, whole processes: against importing TensorFlow and loading the model

The bare side is what one writes with TensorFlow alone: files read, decoded, resized in parallel, batched, and run through
the loaded model as one graph. Ours loads its model within the time, says what it predicts, and writes a file of it. Each
side runs ``--repeat`` times in turn over the same photos and the best of each counts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Timed, data_folder, mobilenet, process, report, run, weights_file

SIDE, BATCH, ROUNDS = 224, 32, 3
BY_HAND = "import sys, tensorflow, keras; keras.saving.load_model(sys.argv[1])"


def main() -> None:
    """Time both sides and print the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="whole processes, of one image")
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file("mobilenet", options.weights)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        given = ["trainer.epochs=1", f"data.image_size={SIDE}", f"hydra.run.dir={folder}/run"]
        run("framework.train", *mobilenet(data, weights), *given)
        (_measure_one if options.one else _measure)(Path(folder), data, options.repeat)


def _measure_one(folder: Path, data: Path, repeat: int) -> None:
    image, model = next((data / "train").glob("*/*.jpg")), folder / "run" / "model.keras"
    sides = {
        "TensorFlow imported, model loaded": [sys.executable, "-c", BY_HAND, str(model)],
        "framework-predict": [sys.executable, "-m", "framework.predict", str(image), f"run={folder}/run"],
    }
    best: dict[str, Timed] = {}
    for _ in range(repeat):
        for name, command in sides.items():
            taken = process(command, folder)
            best[name] = min(best.get(name, taken), taken, key=lambda one: one.seconds)
    rows = [[name, f"{one.seconds:.2f}", f"{one.processor:.2f}"] for name, one in best.items()]
    first, second = best.values()
    title = f"MobileNet alpha 0.25, {SIDE} px, one image, whole processes, best of {repeat}"
    ratios = f"{second.seconds / first.seconds:.2f} × the seconds, {second.processor / first.processor:.2f} × the processor's"
    report(title, ["", "seconds", "processor seconds"], rows, ratios)


def _measure(folder: Path, data: Path, repeat: int) -> None:
    from framework import predict
    from framework.core.backend import keras, load_tensorflow

    tf = load_tensorflow()
    files = [str(path) for path in sorted((data / "train").glob("*/*.jpg"))] * ROUNDS

    def bare() -> None:
        model = keras.saving.load_model(folder / "run" / "model.keras")

        def read(path):
            image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
            return tf.image.resize(image, (SIDE, SIDE))

        forward = tf.function(lambda images: model(images, training=False))
        dataset = tf.data.Dataset.from_tensor_slices(files).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        for images in dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE):
            forward(images).numpy()

    def ours() -> None:
        places = [str(data / "train")] * ROUNDS
        output = f"output={folder}/classes.csv"
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            assert predict.main([*places, f"run={folder}/run", output, f"batch_size={BATCH}"]) == 0

    best: dict[str, float] = {}
    for _ in range(repeat):
        for name, work in (("bare forward pass with decoding", bare), ("framework-predict", ours)):
            started = time.perf_counter()
            work()
            taken = time.perf_counter() - started
            best[name] = min(best.get(name, taken), taken)
    rows = [[name, f"{seconds:.1f}", f"{len(files) / seconds:.0f}"] for name, seconds in best.items()]
    first, second = best.values()
    title = f"MobileNet alpha 0.25, {SIDE} px, {len(files):,} images, best of {repeat}"
    report(title, ["", "seconds", "images/s"], rows, f"{first / second:.2f} of the bare pass's images/s")


if __name__ == "__main__":
    main()

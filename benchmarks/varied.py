"""A frozen base on images that vary each epoch, where nothing can be kept, against plain Keras on the real photos.

    python -m benchmarks.varied

Both flip, zoom and shear as the course does. The plain side does it with ``ImageDataGenerator`` and with layers of
Keras's behind ``image_dataset_from_directory``; the faster one counts. Seconds of an epoch after the first.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from benchmarks.measure import data_folder, mobilenet, plain, report, run, weights_file

EPOCHS = 3


def main() -> None:
    """Time both sides and print the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file("mobilenet", options.weights)
    given = ["--data", str(data), "--base", "mobilenet", *(["--weights", weights] if weights else [])]
    given += ["--rates", "0.01", "--epochs", str(EPOCHS), "--vary"]
    sides = {}
    for reader, name in (("generator", "ImageDataGenerator"), ("dataset", "layers of Keras's")):
        _, (trained,) = plain(*given, "--reader", reader)
        sides[f"plain Keras, {name}"] = min(trained["seconds"][1:]), trained["best"]
    with tempfile.TemporaryDirectory() as folder:
        run(
            "framework.train",
            *mobilenet(data, weights),
            "augment=light",
            f"trainer.epochs={EPOCHS}",
            "optim.lr=0.01",
            f"hydra.run.dir={folder}/run",
            cache=Path(folder),
        )
        history = list(csv.DictReader(Path(folder, "run", "history.csv").read_text().splitlines()))
    seconds = min(float(row["seconds"]) for row in history[1:])
    fastest = min(taken for taken, _ in sides.values())
    sides["ours"] = seconds, max(float(row["val_accuracy"]) for row in history)
    rows = [[name, f"{taken:.2f}", f"{fastest / taken:.2f}", f"{best:.3f}"] for name, (taken, best) in sides.items()]
    what = f"MobileNet alpha 0.25, 224 px, frozen, images varied, best epoch of {EPOCHS - 1} after the first"
    report(what, ["", "seconds", "times faster", "best val accuracy"], rows)


if __name__ == "__main__":
    main()

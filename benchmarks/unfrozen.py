"""Steps with part or all of the base training, against plain Keras on the real photos.

    python -m benchmarks.unfrozen               MobileNet's last block and the head train: the rest is computed once
    python -m benchmarks.unfrozen --train all   everything trains: no cache can help, and none may hurt

The first compares whole processes of 10 epochs, the second the seconds of an epoch after the first.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from benchmarks.measure import data_folder, mobilenet, plain, report, run, weights_file

LAST_BLOCK = "conv_dw_13"


def main() -> None:
    """Time both sides and print the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--train", choices=["block", "all"], default="block")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file("mobilenet", options.weights)
    block = options.train == "block"
    epochs = options.epochs or (10 if block else 4)
    given = ["--data", str(data), "--base", "mobilenet", *(["--weights", weights] if weights else [])]
    given += ["--rates", "0.0001", "--epochs", str(epochs), "--train", LAST_BLOCK if block else "all"]
    timed, runs = plain(*given)
    with tempfile.TemporaryDirectory() as folder:
        ours = run(
            "framework.train",
            *mobilenet(data, weights),
            f"trainer.epochs={epochs}",
            "optim.lr=0.0001",
            f"stages.main.train={f'from:{LAST_BLOCK}' if block else 'all'}",
            *([] if block else ["stages.main.batch_norm=train"]),
            f"hydra.run.dir={folder}/run",
            cache=Path(folder),
        )
        history = list(csv.DictReader(Path(folder, "run", "history.csv").read_text().splitlines()))
    if block:
        sides = timed.seconds, ours.seconds
        what = f"MobileNet alpha 0.25, 224 px, from {LAST_BLOCK} up, {epochs} epochs, whole processes"
    else:
        sides = min(runs[0]["seconds"][1:]), min(float(row["seconds"]) for row in history[1:])
        what = f"MobileNet alpha 0.25, 224 px, everything trains, best epoch of {epochs - 1} after the first"
    best = runs[0]["best"], max(float(row["val_accuracy"]) for row in history)
    rows = [
        ["plain Keras", f"{sides[0]:.2f}", "1.00", f"{best[0]:.3f}"],
        ["ours", f"{sides[1]:.2f}", f"{sides[0] / sides[1]:.2f}", f"{best[1]:.3f}"],
    ]
    report(what, ["", "seconds", "times faster", "best val accuracy"], rows)


if __name__ == "__main__":
    main()

"""The three-rate sweep on the real photos against plain Keras, whole processes, imports included.

    python -m benchmarks.sweep                       MobileNet alpha 0.25, 224 px
    python -m benchmarks.sweep --base xception       Xception 150 px, random weights: the work is the same
    python -m benchmarks.sweep --base xception --precision bfloat16

The plain side reads with ``image_dataset_from_directory`` and with ``ImageDataGenerator``; the faster one counts. With
``--short`` one plain epoch is timed and multiplied, which the output says.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.measure import Timed, data_folder, plain, report, run, weights_file

RATES = "0.01,0.001,0.0001"
EPOCHS = 10
SIDES = {"mobilenet": 224, "xception": 150}


def main() -> None:
    """Time both sides and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--base", choices=["mobilenet", "xception"], default="mobilenet")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--short", action="store_true", help="time one plain epoch and multiply")
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file(options.base, options.weights)
    short = options.short or options.base == "xception"
    seconds, best = _plain(options.base, str(data), weights, short)
    with tempfile.TemporaryDirectory() as cache:
        ours = [_ours(options, data, weights, Path(cache), Path(cache, name)) for name in ("empty", "filled")]
        reached = _best(Path(cache, "empty"))
    rows = [
        ["plain Keras" + (", 2 epochs of one rate, multiplied" if short else ""), f"{seconds:.1f}", "1.0", _show(best)],
        ["ours, empty cache", f"{ours[0].seconds:.1f}", f"{seconds / ours[0].seconds:.1f}", _show(reached)],
        ["ours, cache filled", f"{ours[1].seconds:.1f}", f"{seconds / ours[1].seconds:.1f}", _show(reached)],
    ]
    what = f"{options.base} {SIDES[options.base]} px, rates {RATES}, {EPOCHS} epochs each, {options.precision}"
    report(what, ["", "seconds", "times faster", "best val accuracy"], rows)


def _plain(base: str, data: str, weights: str | None, short: bool) -> tuple[float, list[float]]:
    """Seconds of the faster plain side, and the best accuracy of each rate where they were trained."""
    given = ["--data", data, "--base", base, *(["--weights", weights] if weights else [])]
    first = {}
    for reader in ("dataset", "generator"):
        timed, runs = plain(*given, "--reader", reader, "--rates", "0.01", "--epochs", "2")
        overhead = timed.seconds - sum(runs[0]["seconds"])
        first[reader] = overhead + 3 * (runs[0]["seconds"][0] + (EPOCHS - 1) * runs[0]["seconds"][1])
    reader = min(first, key=lambda name: first[name])
    if short:
        return first[reader], []
    timed, runs = plain(*given, "--reader", reader, "--rates", RATES, "--epochs", str(EPOCHS))
    return timed.seconds, [run["best"] for run in runs]


def _ours(options: argparse.Namespace, data: Path, weights: str | None, cache: Path, folder: Path) -> Timed:
    model = {"mobilenet": ["model.alpha=0.25"], "xception": []}[options.base]
    return run(
        "framework.train",
        "-m",
        f"model={options.base}",
        *model,
        f"model.weights={weights or 'null'}",
        "data=image_folder",
        f"data.dir={data}",
        f"trainer.epochs={EPOCHS}",
        f"trainer.feature_precision={options.precision}",
        f"optim.lr={RATES}",
        f"hydra.sweep.dir={folder}",
        cache=cache,
    )


def _best(folder: Path) -> list[float]:
    """Best validation accuracy of each run of a sweep, highest rate first."""
    runs = [json.loads(file.read_text()) for file in folder.glob("*/run.json")]
    accuracy = {run["title"]: run["best"]["metrics"]["val_accuracy"] for run in runs}
    return [accuracy[title] for title in sorted(accuracy, key=lambda title: -float(title.split()[-1]))]


def _show(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values) or "-"


if __name__ == "__main__":
    main()

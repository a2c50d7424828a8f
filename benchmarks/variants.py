"""Thirty variants of a head on kept features: MobileNet alpha 0.25, 224 px, real photos, 10 epochs each.

    python -m benchmarks.variants

Seconds of the whole sweep, imports, report and comparison included, divided by its runs; the cache is filled before. Beside
it one such run alone, against a process that does nothing but import TensorFlow, turn about: the median of five each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import data_folder, mobilenet, process, report, run, weights_file

RATES, HIDDEN, DROPOUT = "0.01,0.003,0.001", "[32],[64],[100],[200],[400]", "0.0,0.3"
EPOCHS, TURNS = 10, 5


def main() -> None:
    """Time the sweep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file("mobilenet", options.weights)
    common = [
        *mobilenet(data, weights),
        "head=mlp",
        f"trainer.epochs={EPOCHS}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        run("framework.train", *common, "cache=only", cache=Path(folder))
        varied = [f"optim.lr={RATES}", f"head.hidden={HIDDEN}", f"head.dropout={DROPOUT}"]
        alone, imported = [], []
        for _ in range(TURNS):
            imported.append(process([sys.executable, "-c", "import tensorflow"]).seconds)
            alone.append(run("framework.train", *common, cache=Path(folder)).seconds)
        timed = run("framework.train", "-m", *common, *varied, f"hydra.sweep.dir={folder}/sweep", cache=Path(folder))
        runs = [json.loads(file.read_text()) for file in Path(folder, "sweep").glob("*/run.json")]
    best = max(one["best"]["metrics"]["val_accuracy"] for one in runs)
    one, loading, each = statistics.median(alone), statistics.median(imported), timed.seconds / len(runs)
    row = [f"{len(runs)}", f"{timed.seconds:.1f}", f"{each:.2f}", f"{each / loading:.3f}", f"{best:.3f}"]
    title = f"head variants, rate × hidden × dropout, {EPOCHS} epochs each, filled cache"
    columns = ["runs", "seconds", "seconds a run", "of importing TensorFlow", "best val accuracy"]
    report(title, columns, [row])
    title = "one of them alone, whole process"
    row = [f"{one:.2f}", f"{loading:.2f}", f"{one / loading:.2f}"]
    report(title, ["seconds", "of importing TensorFlow", "ratio"], [row])


if __name__ == "__main__":
    main()

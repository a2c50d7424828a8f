"""What ``framework-plan`` says of a run's time, against what the run then takes: whole processes, real photos.

python -m benchmarks.plan
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from benchmarks.measure import data_folder, mobilenet, report, run, weights_file

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def main() -> None:
    """Plan each run, then time it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    options = parser.parse_args()
    data, weights = data_folder(options.data), weights_file("mobilenet", options.weights)
    photos = ["data=image_folder", f"data.dir={data}"]
    base = mobilenet(data, weights)
    cases = {
        "mobilenet frozen, empty cache": [*base, "trainer.epochs=10"],
        "the same, cache filled": [*base, "trainer.epochs=10"],
        "head, then from conv_pw_13 up": [*base, "stages=finetune", "stages.finetune.train=from:conv_pw_13"],
        "everything, 2 epochs": [*base, "stages.main.train=all", "trainer.epochs=2"],
        "a small network, 5 epochs": [*photos, "model=cnn", "model.image_size=64", "trainer.epochs=5"],
        "xception 150 px, 500 images": [
            *photos, "model=xception", "model.weights=null", "data.limit=500", "trainer.epochs=5", "data.image_size=150"
        ],
    }  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in cases.items():
            planned = run("framework.plan", *arguments, cache=Path(folder))
            estimate = _estimate(planned.output)
            taken = run("framework.train", *arguments, cache=Path(folder)).seconds
            rows.append([name, f"{estimate:.0f}", f"{taken:.1f}", f"{estimate / taken:.2f}", f"{planned.seconds:.1f}"])
    columns = ["run", "planned, s", "taken, s", "planned / taken", "to plan, s"]
    report("What plan says, and what the run takes", columns, rows)


def _estimate(text: str) -> float:
    """Seconds, of the line that says how long the whole run takes."""
    found = re.search(r"^time +about ([\d.]+) (s|min|h) ", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1]) * UNITS[found[2]]


if __name__ == "__main__":
    main()

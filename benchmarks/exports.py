"""A run on the real photos in every format it can be exported to: does each answer as the run does, and how large is it?

    python -m benchmarks.exports --images 150

Every file is called by the ``call.py`` beside it, as where it is used.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import data_folder, needs, report, weights_file
from framework.core.runs import RunFolder

FORMATS = (
    ("keras", "none"),
    ("saved_model", "none"),
    ("litert", "none"),
    ("litert", "dynamic"),
    ("litert", "int8"),
    ("onnx", "none"),
)
# the share of images with the run's own answer that each must reach
LEAST = {"none": 1.0, "dynamic": 0.98, "int8": 0.95}
MAX_DROP = 0.03


def campaign(
    data: Path, weights: str, folder: Path, formats: Sequence[tuple[str, str]], images: int, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Train ``clothing_mobilenet`` for three epochs and export it; for each format what its ``export.json`` tells."""
    from framework.export import main as export
    from framework.train import main as train

    run = RunFolder(folder / "run")
    given = [
        "recipe=clothing_mobilenet",
        f"data.dir={data}",
        f"model.weights={weights}",
        "trainer.epochs=3",
        "optim.lr=0.01",
    ]
    given += [f"data.limit={limit}"] if limit else []
    if train([*given, f"hydra.run.dir={run.path}"]):
        raise SystemExit("the training failed")
    for format, quantize in formats:
        given = [f"run={run.path}", f"format={format}", f"quantize={quantize}"]
        if export([*given, f"max_drop={MAX_DROP}", f"images={images}"]):
            raise SystemExit(f"{format}, quantize={quantize} was not published")
        name = format if quantize == "none" else f"{format}-{quantize}"
        told = json.loads((run.path / "export" / name / "export.json").read_text(encoding="utf-8"))
        yield {"format": format, "quantize": quantize, "bytes": told["bytes"], **told["replay"]}


def main() -> None:
    """Run the campaign over all formats and print what each gave."""
    needs("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--images", type=int, default=150)
    options = parser.parse_args()
    rows = []
    weights = weights_file("mobilenet", options.weights) or "null"
    with tempfile.TemporaryDirectory() as folder:
        for row in campaign(data_folder(options.data), weights, Path(folder), FORMATS, options.images):
            name = row["format"] if row["quantize"] == "none" else f"{row['format']} {row['quantize']}"
            accuracy = f"{row['accuracy']['after'] - row['accuracy']['before']:+.3f}"
            difference = f"{row['largest_difference']:.2g}"
            rows.append([name, f"{row['bytes']:,}", f"{row['agreement']:.1%}", accuracy, difference])
    columns = ["", "bytes", "same answer", "accuracy", "largest difference of a probability"]
    report(f"exports of MobileNet 0.25 against the run, {options.images} photos", columns, rows)


if __name__ == "__main__":
    main()

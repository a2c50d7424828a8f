"""Benchmark: how fast bases are on this machine, and what that means for a training on one's own data."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check, looking
from framework.cli.compose import normalise, variants
from framework.core.backend import load_tensorflow
from framework.core.console import clock, passing, say, warn
from framework.core.errors import DONE, FAILED
from framework.core.files import write_whole
from framework.parts.facts import facts
from framework.runs.preflight import Data, missing_weights, preflight
from framework.sweeps.speeds import speeds

if TYPE_CHECKING:
    from framework.config.settings import Settings

USAGE = """
python -m framework.benchmark [overrides]

Measures networks on this machine, each in a process of its own: images a second of the frozen pass, an epoch of the head
on kept features, an epoch of everything, memory; and what that makes for the data that are named: seconds of the first
run of the head, and of each later one, whose features are kept. Downloads nothing and trains nothing that is kept:
steps are on noise, weights may be random. Prints a table; benchmark.csv and benchmark.png go to benchmark/ here.

  python -m framework.benchmark model=mobilenet,efficientnetv2b0,xception
  python -m framework.benchmark model=mobilenet,resnet50 data=image_folder data.dir=PHOTOS
  python -m framework.benchmark model=mobilenet data.image_size=128,224 trainer.epochs=20

A published accuracy stands beside the times where it is known (python -m framework.show model says from where).

Exit code 0: done; 1: a network could not be measured; 2: the command line or the data are wrong.
"""
FOLDER = Path("benchmark")
HEADS = ("", "top1", "images/s", "head epoch", "full epoch", "memory", "first run", "later run")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names; returns the exit code."""
    return looking(USAGE, arguments, work)


def work(overrides: list[str]) -> int:
    """Measure each variant, print the table, write the files."""
    data = Data()
    settings = [measurable(one) for one in check(overrides, lambda one: preflight(measurable(one), data))]
    lines = list(variants(normalise(overrides)))
    labels = _labels(lines, settings)
    with passing("loading TensorFlow …"):
        load_tensorflow()
    rows = []
    for place, found, took in speeds(settings):
        label = labels[place]
        if found is None:
            warn(f"{label} could not be measured")
            continue
        known = facts(settings[place].model.name, _option(lines[place]))
        rows.append({"model": label, "top1": known.top1, "top1_by": known.top1_by, **found})
        say(f"[{len(rows)}/{len(settings)}]  {label}  {found['rate']:,.0f} images/s  {took:.0f} s")
    if rows:
        print("\n".join(_table(rows)))
        say(f"written: {', '.join(map(str, _write(rows)))}")
    return DONE if len(rows) == len(settings) else FAILED


def measurable(settings: Settings) -> Settings:
    """The same with random weights where those that are asked for can't be had: they take as long."""
    if missing_weights(settings) is None:
        return settings
    return replace(settings, model=replace(settings.model, weights=None))


def _labels(tried: Sequence[Sequence[str]], settings: Sequence[Settings]) -> list[str]:
    """What tells the variants apart: what varies, a model by its name alone."""
    common = set.intersection(*map(set, tried))
    labels = [" ".join(line.removeprefix("model=") for line in variant if line not in common) for variant in tried]
    return [label or one.model.name for label, one in zip(labels, settings, strict=True)]


def _option(line: Sequence[str]) -> str:
    """The option of ``conf/model`` that a variant chooses: one base may have several, of different accuracy."""
    return next((one.partition("=")[2] for one in reversed(line) if one.startswith("model=")), "")


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The numbers as a person reads them."""
    cells = [
        [
            row["model"],
            "–" if row["top1"] is None else f"{row['top1']:.1%}" + (f" {row['top1_by'][0]}" if row["top1_by"] else ""),
            f"{row['rate']:,.0f}",
            _seconds(row["head_epoch"]),
            _seconds(row["full_epoch"]),
            "–" if row["memory"] is None else f"{row['memory']:,.0f} MB",
            _seconds(row["first"]),
            _seconds(row["later"]),
        ]
        for row in rows
    ]
    widths = [max(len(line[place]) for line in [HEADS, *cells]) for place in range(len(HEADS))]
    lines = [
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [HEADS, *cells]
    ]
    first = rows[0]
    lines.append(f"a run: the head on {first['images']:,} images for {first['epochs']} epochs")
    reached = {row["top1_by"] for row in rows} - {None}
    if reached:
        told = {
            "fine-tuning": "after fine-tuning",
            "probe": "by one layer on frozen features",
            "texts": "by texts alone",
        }
        meant = ", ".join(f"{how[0]}: {told[how]}" for how in sorted(reached))
        lines.append(
            f"top1 was reached otherwise than by training on ImageNet: {meant}; it can't be compared with the others"
        )
    return lines


def _seconds(value: float) -> str:
    if value >= 100:
        return clock(value)
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _write(rows: Sequence[dict[str, Any]]) -> list[Path]:
    """``benchmark.csv``, and the figure where an accuracy is known."""
    from framework.reports.speeds import draw

    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    files = [FOLDER / "benchmark.csv"]
    write_whole(files[0], text.getvalue())
    known = [(row["model"], row["top1"], row["first"], row["later"]) for row in rows if row["top1"] is not None]
    if known:
        below = (
            f"the head on {rows[0]['images']:,} images for {rows[0]['epochs']} epochs; later runs find features kept"
        )
        files.append(draw(FOLDER / "benchmark.png", known, "Accuracy against time on this machine", below))
    return files


if __name__ == "__main__":
    sys.exit(main())

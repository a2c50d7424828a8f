"""The score of the best of many on test images, by which nothing was chosen: measured once, and kept."""

from __future__ import annotations

from pathlib import Path

from framework.core.errors import BadInput
from framework.reports.entries import HeldOut


def held_out(folder: Path) -> HeldOut | None:
    """How good a run is on the test images of its data; None where it has none, or no accuracy.

    Raises:
        BadInput: an image can't be read, or the model can't be loaded.
        RunFailed: its answers are no numbers.
    """
    from framework.core.backend import load_tensorflow
    from framework.evaluation.asking import answer, measured
    from framework.evaluation.labelled import DataOptions, labelled
    from framework.model.saved import open_run

    trained = open_run(str(folder))
    try:
        images = labelled(trained, DataOptions(), "test")
    except BadInput:
        return None
    load_tensorflow()
    answers, unreadable = answer(trained, trained.load(), images, 32)
    found = measured(trained, images, answers, unreadable, [])
    if "accuracy" not in found:
        return None
    low, high = found["accuracy_interval"]
    return HeldOut(folder.name, found["accuracy"], low, high, found["images"])


def advice(variants: int, takes_a_share: bool) -> str:
    """What to say before so many variants are compared where there are no test images."""
    right = "data.test=0.2 keeps test images back" if takes_a_share else "data with a test split would say"
    return f"the best of {variants:,} variants is flattered by the choice, and nothing will say by how much: {right}"

"""The pictures of evaluate and visualize, at the edges of what they are given."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from framework.reports import (
    attention,
    classes,
    confusion,
    contact_sheet,
    diagram,
    feature_maps,
    filters,
    layer_table,
    reliability,
    thresholds,
)

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (30, 40, 3), np.uint8)


def looked_at(path) -> np.ndarray:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.std() > 3
    return pixels


@pytest.mark.parametrize("count", [2, 10, 40, 120])
def test_a_confusion_matrix_of_any_number_of_classes(tmp_path, count):
    matrix = RNG.integers(0, 9, (count, count))
    matrix[0] = 0
    path = confusion.draw(tmp_path / "c.png", matrix, [f"class {n}" for n in range(count)], "Title", "below")
    assert max(looked_at(path).shape) < 4000


def test_right_answers_are_blue_and_mistakes_orange(tmp_path):
    for name, matrix in (("right", np.diag([9, 9, 9])), ("wrong", np.roll(np.diag([9, 9, 9]), 1, axis=1))):
        pixels = looked_at(confusion.draw(tmp_path / f"{name}.png", matrix, ["a", "b", "c"], "T", "below"))
        red, blue = (pixels[..., 0] - pixels[..., 2]), (pixels[..., 2] - pixels[..., 0])
        assert ((red > 90).sum() > 1000) == (name == "wrong")
        assert ((blue > 90).sum() > 1000) == (name == "right")


def test_reliability_with_empty_bins(tmp_path):
    counts = np.array([0, 3, 0, 7])
    values = np.array([np.nan, 0.4, np.nan, 0.9])
    looked_at(reliability.draw(tmp_path / "r.png", counts, values, values, 0.0, "T", "below"))


def test_thresholds_where_a_mark_lies_before_the_curve(tmp_path):
    curve = {key: np.array([0.5, 1.0]) for key in ("recall", "false_alarm_rate", "precision")}
    marks = {"threshold": (0.5, -1), "best F1 at": (0.2, 1)}
    numbers = {"roc_area": None, "average_precision": 0.5}
    yes, labels = np.array([0.2, 0.4]), np.array([0, 1])
    looked_at(thresholds.draw(tmp_path / "t.png", yes, labels, curve, marks, numbers, ("no", "yes"), "T", "below"))


def test_classes_and_sheets(tmp_path):
    rows = [{"class": "a", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}]
    looked_at(classes.draw(tmp_path / "a.png", rows, "T", "below"))
    frames = [contact_sheet.Frame(PICTURE, "hat 90%", "is shoes", "a very long name of a file " * 4)] * 7
    assert looked_at(contact_sheet.draw(tmp_path / "s.png", frames, "T", "below")).shape[1] > 1500
    looked_at(contact_sheet.draw(tmp_path / "one.png", frames[:1], "T", "below"))


def test_heat_colours_what_is_hot_and_leaves_what_is_cold_in_grey(tmp_path):
    picture = np.full((20, 20, 3), (200, 40, 40), np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[0, 0] = 1
    over = attention.overlay(picture, heat).astype(int)
    assert np.ptp(over[-1, -1]) < np.ptp(picture[0, 0].astype(int)) / 3
    assert over[0, 0].mean() > over[-1, -1].mean() + 40
    looked_at(attention.draw(tmp_path / "a.png", PICTURE, [("hat", "90%", heat)] * 2, "T", "below"))


def test_filters_maps_tables_and_diagrams(tmp_path):
    looked_at(filters.draw(tmp_path / "f.png", RNG.normal(size=(3, 3, 3, 100)), "T", "below"))
    looked_at(filters.draw(tmp_path / "g.png", RNG.normal(size=(3, 3, 1, 5)), "T", "below"))
    looked_at(feature_maps.draw(tmp_path / "m.png", PICTURE, [("conv", RNG.normal(size=(5, 7, 3)))], "T", "below"))
    rows = [
        layer_table.Row("conv", "Conv2D", "8×8×4", 10, 1000, True),
        layer_table.Row("pool", "Pool", "4", 0, 0, None),
    ]
    looked_at(layer_table.draw(tmp_path / "l.png", rows, "T", "below"))
    boxes = [diagram.Box("image", (None, None, 3), 1, 0, 0), diagram.Box("logits", (30,), 1, 9, 9)]
    looked_at(diagram.draw(tmp_path / "d.png", boxes, [f"class {n}" for n in range(30)], "T", "below"))


def test_amounts_are_short():
    assert [layer_table.amount(value) for value in (0, 950, 12_345, 4_600_000, 1_200_000_000)] == [
        "–",
        "950",
        "12.3k",
        "4.6M",
        "1.2G",
    ]

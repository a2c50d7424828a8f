"""The images of evaluate and visualize, at the edges of what they are given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from benchmarks.hostile.names import HOSTILE, is_plain
from framework.core.names import short
from framework.reports import (
    attention,
    classes,
    confusion,
    contact_sheet,
    diagram,
    feature_maps,
    filters,
    layer_table,
    lr_range,
    reliability,
    style,
    thresholds,
)

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (30, 40, 3), np.uint8)


def looked_at(path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.std() > 3
    return pixels


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are saved, by the name of the file."""
    figures = {}
    save = style.save

    def kept(figure, path):
        figures[path.name] = figure
        return save(figure, path)

    for module in (attention, classes, confusion, contact_sheet, diagram, feature_maps, filters, layer_table):
        monkeypatch.setattr(module, "save", kept)
    for module in (lr_range, reliability, thresholds):
        monkeypatch.setattr(module, "save", kept)
    return figures


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("count", [2, 10, 40, 100, 120, 1200])
def test_a_confusion_matrix_of_any_number_of_classes(tmp_path, drawn, count):
    matrix = RNG.integers(0, 9, (count, count))
    matrix[0] = 0
    path = confusion.draw(tmp_path / "c.png", matrix, [f"class {n}" for n in range(count)], "Title", "below")
    assert max(looked_at(path).shape) < 4000
    of_many = f"Title; 30 of {count:,} classes, the most confused"
    assert ("Title" if count <= 100 else of_many) in texts(drawn["c.png"])


def test_of_many_classes_the_most_confused_are_shown(tmp_path, drawn):
    matrix = np.diag(np.full(300, 5))
    matrix[7, 250], matrix[250, 7], matrix[120, 99] = 9, 8, 7
    confusion.draw(tmp_path / "c.png", matrix, [f"class {n}" for n in range(300)], "T", "below")
    said = texts(drawn["c.png"])
    assert {"class 7", "class 250", "class 120", "class 99", "class 7  14"} <= set(said)


def test_of_many_classes_the_worst_are_shown(tmp_path, drawn):
    rows = [
        {"class": f"class {n}", "precision": n / 300, "recall": n / 300, "f1": n / 300, "support": int(n != 3)}
        for n in range(300)
    ]
    assert max(looked_at(classes.draw(tmp_path / "a.png", rows, "Title", "below")).shape) < 4000
    said = set(texts(drawn["a.png"]))
    assert {"Title: the 40 worst of 300", "class 0  1", "class 40  1"} <= said
    assert not {"class 3  0", "class 41  1"} & said


def test_many_layers_and_boxes_make_no_larger_image(tmp_path, drawn):
    boxes = [diagram.Box(f"dense_{n}", (30,), 1, 9, 9) for n in range(200)]
    wide = looked_at(diagram.draw(tmp_path / "d.png", boxes, ["a", "b"], "T", "below")).shape
    assert max(wide) < 6000
    assert "181 layers\n1.6k weights" in texts(drawn["d.png"])


def thresholds_of(path, names):
    curve = {key: np.array([0.5, 1.0]) for key in ("recall", "false_alarm_rate", "precision")}
    marks = {"threshold": (0.5, 0), "best F1 at": (0.2, 1)}
    yes, labels = np.array([0.2, 0.4]), np.array([0, 1])
    return thresholds.draw(path, yes, labels, curve, marks, {"roc_area": 0.5, "average_precision": 0.5}, names, *names)


@pytest.mark.slow
@pytest.mark.parametrize("names", [HOSTILE, ("$0_$9", "_background_")], ids=["many", "two"])
def test_every_image_takes_any_name_for_text(tmp_path, drawn, names):
    count, (first, last) = len(names), (names[0], names[-1])
    heads = (f"{first} {last}", " ".join(names))
    heat = np.ones((2, 2), np.float32)
    rows = [{"class": name, "precision": 0.4, "recall": 0.2, "f1": 0.3, "support": 9} for name in names]
    frames = [contact_sheet.Frame(IMAGE, name, f"is {name}", f"{name}.jpg") for name in names]
    layers = [(name, RNG.normal(size=(5, 7, 3))) for name in names]
    boxes = [diagram.Box(name, (8, 8, 4), 1, 0, 0) for name in names]
    table = [layer_table.Row(name, name, name, 10, 1000, True) for name in names]
    ones = np.ones(4)
    confusion.draw(tmp_path / "confusion.png", RNG.integers(0, 9, (count, count)), names, *heads)
    classes.draw(tmp_path / "classes.png", rows, *heads)
    thresholds_of(tmp_path / "thresholds.png", (first, last))
    attention.draw(tmp_path / "attention.png", IMAGE, [(name, "1%", heat) for name in (first, last)], *heads)
    contact_sheet.draw(tmp_path / "sheet.png", frames, *heads)
    feature_maps.draw(tmp_path / "maps.png", IMAGE, layers[:4], *heads)
    diagram.draw(tmp_path / "diagram.png", boxes, names, *heads)
    layer_table.draw(tmp_path / "layers.png", table, *heads)
    reliability.draw(tmp_path / "reliability.png", ones, ones / 2, ones / 2, 0.1, *heads)
    filters.draw(tmp_path / "filters.png", RNG.normal(size=(3, 3, 3, 4)), *heads)
    lr_range.draw(tmp_path / "lr.png", heads[1], [1e-3, 1e-2, 0.1], [3, 2, 4], [3, 2, 4], 0.01)
    assert len(drawn) == 11
    for name, figure in drawn.items():
        assert all(map(is_plain, "".join(texts(figure)).split("\n"))), name
        assert not any(text.get_parse_math() and "$" in text.get_text() for text in figure.findobj(Text)), name
        looked_at(tmp_path / name)
    legend = [text.get_text() for text in drawn["thresholds.png"].axes[2].get_legend().get_texts()]
    assert legend == [f"1 {short(first)}", f"1 {short(last)}"]


def test_ticks_of_a_log_axis_are_numbers(tmp_path, drawn):
    lr_range.draw(tmp_path / "lr.png", "T", [1e-5, 1e-3, 0.1], [3, 2, 4], [3, 2, 4], 0.01)
    said = texts(drawn["lr.png"])
    assert "0.001" in said
    assert not any("$" in text for text in said)


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
    frames = [contact_sheet.Frame(IMAGE, "hat 90%", "is shoes", "a very long name of a file " * 4)] * 7
    assert looked_at(contact_sheet.draw(tmp_path / "s.png", frames, "T", "below")).shape[1] > 1500
    looked_at(contact_sheet.draw(tmp_path / "one.png", frames[:1], "T", "below"))


def test_heat_colours_what_is_hot_and_leaves_what_is_cold_in_grey(tmp_path):
    image = np.full((20, 20, 3), (200, 40, 40), np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[0, 0] = 1
    over = attention.overlay(image, heat).astype(int)
    assert np.ptp(over[-1, -1]) < np.ptp(image[0, 0].astype(int)) / 3
    assert over[0, 0].mean() > over[-1, -1].mean() + 40
    looked_at(attention.draw(tmp_path / "a.png", IMAGE, [("hat", "90%", heat)] * 2, "T", "below"))


def test_filters_maps_tables_and_diagrams(tmp_path):
    looked_at(filters.draw(tmp_path / "f.png", RNG.normal(size=(3, 3, 3, 100)), "T", "below"))
    looked_at(filters.draw(tmp_path / "g.png", RNG.normal(size=(3, 3, 1, 5)), "T", "below"))
    looked_at(feature_maps.draw(tmp_path / "m.png", IMAGE, [("conv", RNG.normal(size=(5, 7, 3)))], "T", "below"))
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

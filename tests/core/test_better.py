import math

import pytest

from framework.core import better
from framework.core.better import Yardstick


@pytest.mark.parametrize(
    ("column", "mode", "higher"),
    [
        ("val_accuracy", "auto", True),
        ("val_loss", "auto", False),
        ("loss", "auto", False),
        ("val_error", "auto", True),
        ("val_mae", "auto", False),
        ("rmse", "auto", False),
        ("val_r2", "auto", True),
        ("val_error", "min", False),
        ("val_loss", "max", True),
    ],
)
def test_which_way_is_better(column, mode, higher):
    assert Yardstick.of(column, mode) == Yardstick(column, higher)
    assert Yardstick.of(column, mode).mode == ("max" if higher else "min")


@pytest.mark.parametrize(("higher", "best"), [(True, 3), (False, 2)])
def test_the_best_epoch_is_the_first_of_equals(higher, best):
    rows = [{"epoch": epoch, "x": value} for epoch, value in enumerate((0.5, 0.1, 0.9, 0.9, 0.1), start=1)]
    assert Yardstick("x", higher).best(rows)["epoch"] == best


def test_what_is_no_number_is_never_best():
    ruler = Yardstick("x", higher=False)
    rows = [
        {"x": math.nan},
        {"x": None},
        {},
        {"x": 3.0},
        {"x": 0.1, "loss": math.inf},
        {"x": 0.2, "val_loss": math.nan},
    ]
    assert ruler.best(rows) == {"x": 3.0}
    assert ruler.best(rows[:3]) is None
    assert ruler.beats(5.0, None)
    assert ruler.beats(5.0, math.nan)
    assert not ruler.beats(math.nan, 5.0)
    assert not ruler.beats(5.0, 5.0)


def test_a_run_is_judged_by_its_checkpoint_else_its_first_metric_else_the_loss():
    checkpoint = {"monitor": "val_error", "mode": "min"}
    assert better.of_run([checkpoint], ["accuracy"], True) == Yardstick("val_error", higher=False)
    assert better.of_run([], ["f1", "accuracy"], True) == Yardstick("val_f1", higher=True)
    assert better.of_run([], ["f1"], False) == Yardstick("f1", higher=True)
    assert better.of_run([], [], True) == Yardstick("val_loss", higher=False)


@pytest.mark.parametrize(
    ("metric", "direction", "expected"),
    [
        (None, "auto", Yardstick("val_error", higher=False)),
        ("val_error", "auto", Yardstick("val_error", higher=False)),
        (None, "maximize", Yardstick("val_error", higher=True)),
        ("val_f1", "auto", Yardstick("val_f1", higher=True)),
        ("val_loss", "auto", Yardstick("val_loss", higher=False)),
        ("val_f1", "minimize", Yardstick("val_f1", higher=False)),
    ],
)
def test_a_sweep_judges_as_its_runs_do_unless_it_is_told(metric, direction, expected):
    assert better.of_sweep(Yardstick("val_error", higher=False), metric, direction) == expected

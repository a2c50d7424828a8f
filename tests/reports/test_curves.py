import math
import subprocess
import sys

import pytest
from PIL import Image

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.reports import curves
from framework.reports.curves import draw


def history(epochs, stages=("head",), validated=True, metric="accuracy"):
    rows = []
    for epoch in range(1, epochs + 1):
        row = {
            "stage": stages[(epoch - 1) * len(stages) // epochs],
            "epoch": epoch,
            "learning_rate": 0.001,
            "loss": 1.5 / epoch,
            metric: 1 - 0.5 / epoch,
        }
        if validated:
            row |= {"val_loss": 1.6 / epoch + 0.02 * epoch, f"val_{metric}": 0.9 - 0.4 / epoch}
        rows.append({**row, "seconds": 0.5})
    return rows


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def drawn(monkeypatch):
    """The figures drawn, to look at what is on them."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *given, **named: (figures.append(figure), save(figure, *given, **named))
    )
    return figures


def texts(figure):
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


@pytest.mark.parametrize(
    "rows",
    [
        history(1),
        history(2, ("head", "all")),
        history(40, ("head", "block", "all")),
        history(300),
        history(5, validated=False),
        history(5, metric="f1"),
        [{key: value for key, value in row.items() if "accuracy" not in key} for row in history(5)],
    ],
)
def test_any_history_makes_an_image(folder, rows):
    folder.write_history(rows)
    assert draw(folder) == folder.curves
    with Image.open(folder.curves) as image:
        assert image.format == "PNG"
        assert image.width >= 900
        assert len(set(image.convert("L").getdata())) > 50
    assert {path.name for path in folder.path.iterdir()} == {"history.csv", "curves.png"}


def test_two_panels_validation_solid_training_dashed(folder, drawn):
    folder.write_history(history(10))
    draw(folder)
    accuracy, loss = drawn[0].axes
    for axes, column in ((accuracy, "accuracy"), (loss, "loss")):
        shown = lines(axes)
        assert list(shown["training"].get_ydata()) == pytest.approx([row[column] for row in history(10)])
        assert list(shown["validation"].get_ydata()) == pytest.approx([row[f"val_{column}"] for row in history(10)])
        assert shown["training"].is_dashed()
        assert not shown["validation"].is_dashed()
        assert shown["training"].get_color() == shown["validation"].get_color()


def test_best_epoch_of_the_first_metric_is_marked_in_both(folder, drawn):
    rows = history(10)
    rows[6]["val_accuracy"] = 0.95
    folder.write_history(rows)
    draw(folder)
    assert {"0.950 in epoch 7", f"{rows[6]['val_loss']:.3f} in epoch 7"} <= texts(drawn[0])


def test_run_json_gives_title_and_best_epoch(folder, drawn):
    folder.write_history(history(10))
    folder.write_run({"title": "xception on garments", "best": {"epoch": 3, "metrics": {}}})
    draw(folder)
    assert {"xception on garments", "0.767 in epoch 3"} <= texts(drawn[0])


def test_the_metric_that_chose_the_best_epoch_is_shown(folder, drawn):
    folder.write_history([{"auc": 0.5, "val_auc": 0.5} | row for row in history(10, metric="f1")])
    folder.write_run({"best": {"epoch": 3, "monitor": "val_f1"}})
    draw(folder)
    assert {"F1", "0.767 in epoch 3"} <= texts(drawn[0])


def test_an_exploded_loss_is_short(folder, drawn):
    folder.write_history([row | {"val_loss": 466330528.0} for row in history(3)])
    draw(folder)
    assert "4.66e+08 in epoch 3" in texts(drawn[0])


def test_stages_are_named_where_they_begin(folder, drawn):
    folder.write_history(history(10, ("head", "everything")))
    draw(folder)
    assert {"head", "everything"} <= texts(drawn[0])
    assert 5.5 in [line.get_xdata()[0] for line in drawn[0].axes[0].get_lines()]


def test_one_stage_needs_no_name(folder, drawn):
    folder.write_history(history(10))
    draw(folder)
    assert "head" not in texts(drawn[0])


@pytest.mark.parametrize("epochs", [1, 2, 12, 13, 99, 300])
def test_ticks_are_whole_epochs(folder, drawn, epochs):
    folder.write_history(history(epochs))
    draw(folder)
    ticks = drawn[0].axes[0].get_xticks()
    assert 1 <= len(ticks) <= 12
    assert all(float(tick).is_integer() and 1 <= tick <= epochs for tick in ticks)


def test_numbers_gone_bad_leave_a_gap(folder, drawn):
    rows = history(6)
    rows[2] |= {"loss": math.inf, "val_loss": math.nan, "val_accuracy": math.nan}
    rows[5] |= {"val_accuracy": None}
    folder.write_history(rows)
    draw(folder)
    assert math.isnan(lines(drawn[0].axes[1])["training"].get_ydata()[2])
    assert "0.820 in epoch 5" in texts(drawn[0])


def test_nothing_but_bad_numbers(folder):
    folder.write_history(
        [row | dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), math.nan) for row in history(2)]
    )
    assert draw(folder).exists()


def test_no_epoch_yet(folder):
    folder.history.write_text("stage,epoch,loss\n")
    with pytest.raises(BadInput, match="no epoch yet"):
        draw(folder)


def test_is_light():
    code = (
        f"import sys, {curves.__name__}; assert 'matplotlib' not in sys.modules and 'numpy' not in sys.modules;"
        "import matplotlib.figure; assert 'matplotlib.pyplot' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

import math

import pytest
from PIL import Image

from framework.reports.comparison import compare
from framework.reports.overlay import COLOURS, draw, is_logarithmic, mean_curve, numeric_keys
from tests.reports.made import make_run, make_sweep


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


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_validation_solid_training_dashed_labelled_by_what_varies(tmp_path, drawn):
    comparison = compare(make_sweep(tmp_path))
    path = draw(comparison, tmp_path / "comparison.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 1500
    (figure,) = drawn
    assert labels(figure)[:2] == ["optim.lr=0.01 head=dense100", "optim.lr=0.01 head=dense10"]
    lines = figure.axes[0].get_lines()
    assert len([line for line in lines if line.is_dashed()]) == 6
    assert len([line for line in lines if not line.is_dashed()]) == 6
    best = next(line for line in lines if line.get_color() == COLOURS[0] and not line.is_dashed())
    assert list(best.get_ydata()) == pytest.approx(mean_curve(comparison.variants[0], "val_accuracy")[1])


def test_a_run_of_one_epoch_is_a_point_over_a_whole_number(tmp_path, drawn):
    make_run(tmp_path / "0", ["optim.lr=0.1"], score=0.8, epochs=1)
    make_run(tmp_path / "1", ["optim.lr=0.01"], score=0.7, epochs=1)
    draw(compare(tmp_path), tmp_path / "comparison.png")
    axes = drawn[0].axes[0]
    assert {line.get_marker() for line in axes.get_lines()} == {"o"}
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_the_metric_against_a_number_on_a_log_axis(tmp_path, drawn):
    draw(compare(make_sweep(tmp_path)), tmp_path / "comparison.png")
    axes = drawn[0].axes[1]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "optim.lr"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["head=dense100", "head=dense10"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]


def test_without_a_number_the_loss_stands_beside(tmp_path, drawn):
    draw(compare(make_sweep(tmp_path, rates=(0.1,))), tmp_path / "comparison.png")
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["Accuracy", "Loss"]


def test_with_many_the_best_have_a_colour_each(tmp_path, drawn):
    draw(compare(make_sweep(tmp_path, rates=[0.001 * n for n in range(1, 21)])), tmp_path / "comparison.png")
    assert len(labels(drawn[0])) == len(COLOURS) + 3
    assert "32 others" in labels(drawn[0])


def test_names_are_never_read_as_formulas(tmp_path, drawn):
    for number in range(2):
        make_run(tmp_path / str(number), [f"optim.name=$x^{{{number}$ _ <b>"])
    draw(compare(tmp_path), tmp_path / "comparison.png")
    assert labels(drawn[0])[0].startswith("optim.name='$x^")


def test_names_that_are_commands_to_a_terminal_are_written_out(tmp_path, drawn, recwarn):
    for number in range(2):
        make_run(tmp_path / str(number), [f"optim.name=\x1b[31m\a衣{number}"])
    draw(compare(tmp_path), tmp_path / "comparison.png")
    assert labels(drawn[0])[0].startswith("optim.name=\\x1b[31m\\x07衣")
    assert not [str(one.message) for one in recwarn if "Glyph" in str(one.message)]


def test_repeats_are_drawn_as_their_mean(tmp_path):
    comparison = compare(make_sweep(tmp_path, rates=(0.1,), heads=("dense10",), seeds=(1, 3)))
    epochs, values = mean_curve(comparison.variants[0], "val_accuracy")
    assert epochs == list(range(1, 9))
    assert values[-1] == pytest.approx(0.85 - 0.09 + 0.004 * 2)


def test_numbers_gone_bad_leave_a_gap(tmp_path):
    run = make_run(tmp_path / "0", ["optim.lr=0.1"])
    rows = run.read_history()
    rows[1]["val_accuracy"], rows[2]["val_accuracy"] = math.inf, None
    run.write_history(rows)
    comparison = compare(tmp_path)
    assert [math.isnan(value) for value in mean_curve(comparison.variants[0], "val_accuracy")[1]] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert draw(comparison, tmp_path / "comparison.png") is not None


def test_nothing_to_draw(tmp_path):
    make_run(tmp_path / "0", epochs=0, status="failed", reason="no memory")
    assert draw(compare(tmp_path), tmp_path / "comparison.png") is None
    assert not (tmp_path / "comparison.png").exists()


def test_what_is_a_number(tmp_path):
    assert numeric_keys(compare(make_sweep(tmp_path))) == ["optim.lr"]
    assert is_logarithmic([0.001, 0.01])
    assert not is_logarithmic([0.1, 0.5])
    assert not is_logarithmic([0.0, 10])

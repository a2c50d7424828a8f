"""The range test as its user sees it."""

import itertools

import numpy as np
import pytest

from framework.cli.command import check
from framework.core.errors import RunFailed
from framework.lr_find import main
from framework.runs.prepare import trainer
from framework.training.lr_range import _batches, smoothed, suggest
from framework.training.stages import freeze
from tests.conftest import bash

RATES = [10 ** (-6 + step / 10) for step in range(60)]


def test_the_suggestion_is_a_tenth_of_the_rate_of_lowest_loss():
    losses = [abs(step - 40) / 10 for step in range(60)]
    assert suggest(RATES, losses, False) == pytest.approx(1e-3)
    with pytest.raises(RunFailed, match="falls at no learning rate"):
        suggest(RATES, sorted(losses), False)


def test_no_rate_is_suggested_where_the_loss_never_rose_or_only_trembled():
    falling = [3 - step / 20 for step in range(60)]
    with pytest.raises(RunFailed, match="rises at no learning rate up to 0\\.79"):
        suggest(RATES, falling, False)
    assert suggest(RATES, falling, True) == pytest.approx(RATES[-1] / 10)
    flat = list(2 + np.random.default_rng(0).normal(0, 0.1, 60))
    with pytest.raises(RunFailed, match="no learning rate"):
        suggest(RATES, flat, False)


def test_a_last_smaller_batch_is_left_out(photos):
    """Of 24 images in batches of 7 the fourth batch has 3."""
    arguments = ["data=image_folder", f"data.dir={photos}", "data.image_size=16", "model.filters=[4]"]
    (settings,) = check([*arguments, "trainer.batch_size=7"], lambda _: [])
    made = trainer(settings)
    freeze(made.network, made.stages[0])
    batches = itertools.islice(_batches(made, made.inputs.build(made.stages[0])), 10)
    assert [len(batch[1]) for batch in batches] == [7] * 10


def test_too_few_images_are_told_with_what_would_do(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["data=image_folder", f"data.dir={photos}", "trainer.batch_size=32"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "24 training images are 0 whole batches of 32: too few for a suggestion" in said
    assert "try:    trainer.batch_size=8" in said
    assert not list(tmp_path.glob("*.png"))


def test_smoothing_neither_lags_nor_bends_the_ends():
    losses = [float(step) for step in range(40)]
    assert smoothed(losses)[10:30] == pytest.approx(losses[10:30])
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)


def test_bad_input_is_said_without_a_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["optim.lr=0.1,0.2"]) == 2
    assert main(["optim.lrr=0.1"]) == 2
    said = capsys.readouterr().err
    assert "several values for one key" in said
    assert "no parameter 'lrr'" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_prints_an_override_and_leaves_a_plot_and_nothing_else(photos, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    line = f"data=image_folder data.dir={photos} model.image_size=32 trainer.batch_size=4 plot=range.png"
    done = bash(f"python -m framework.lr_find {line}", here)
    assert done.returncode == 0, done.stderr
    key, rate = done.stdout.strip().split("=")
    assert key == "optim.lr"
    assert 1e-6 < float(rate) < 1
    assert [path.name for path in here.iterdir()] == ["range.png"]

"""The range test as its user sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from framework.core.errors import RunFailed
from framework.lr_find import main
from framework.training.lr_range import smoothed, suggest


def test_the_suggestion_is_a_tenth_of_the_rate_of_lowest_loss():
    rates = [10 ** (-6 + step / 10) for step in range(60)]
    losses = [abs(step - 40) / 10 for step in range(60)]
    assert suggest(rates, losses) == pytest.approx(1e-3)
    with pytest.raises(RunFailed, match="falls at no learning rate"):
        suggest(rates, sorted(losses))


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
    arguments = ["data=image_folder", f"data.dir={photos}", "model.image_size=32", "trainer.batch_size=4"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "framework.lr_find", *arguments, "plot=range.png"],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    key, rate = done.stdout.strip().split("=")
    assert key == "optim.lr"
    assert 1e-6 < float(rate) < 1
    assert [path.name for path in here.iterdir()] == ["range.png"]

"""Training from Python: the same history as the command's, however often the process has trained before."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import yaml

import framework
from framework.cli.command import single
from framework.core.runs import RunFolder
from framework.training.trainer import Trainer
from tests.api.conftest import SMALL
from tests.conftest import bash


def numbers(folder):
    """The history without what a clock says."""
    rows = RunFolder(folder).read_history()
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.slow
def test_twice_in_a_process_is_the_history_of_two_processes(fitted, colours, here):
    line = [*SMALL, "data=image_folder", f"data.dir={colours}"]
    again = framework.fit(*line)
    typed = bash(f"python -m framework.train hydra.run.dir=typed {' '.join(line)}", here)
    assert typed.returncode == 0, typed.stderr
    assert numbers(fitted.folder) == numbers(again.folder) == numbers(here / "typed")
    for name in ("config.yaml", "checkpoints"):
        assert (again.folder / name).exists()
    assert yaml.safe_load((again.folder / "config.yaml").read_text()) == yaml.safe_load(
        (here / "typed" / "config.yaml").read_text()
    )
    said, told = RunFolder(again.folder).read_run(), RunFolder(here / "typed").read_run()
    for key in ("overrides", "classes", "task", "title", "data", "best", "parameters", "status"):
        assert said[key] == told[key], key
    weights = zip(again.model.get_weights(), fitted.model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in weights)
    assert framework.load("latest").folder in (again.folder, here / "typed")


def test_two_runs_of_one_second_have_folders_of_their_own(here, colours, monkeypatch):
    monkeypatch.setattr("framework.cli.command.run_folder", lambda overrides: here / "runs" / "now")
    (here / "runs" / "now").mkdir(parents=True)
    assert single(SMALL, lambda settings: []).folder == here / "runs" / "now_2"


@pytest.mark.slow
def test_what_was_stopped_is_gone_on_with(fitted, here, colours, monkeypatch):
    line = [*SMALL, "data=image_folder", f"data.dir={colours}"]
    write = Trainer._write

    def stop(self, row):
        write(self, row)
        if row["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            framework.fit(*line)
    run = framework.fit(*line)
    assert len(list((here / "runs").iterdir())) == 1
    assert numbers(run.folder) == numbers(fitted.folder)


@pytest.mark.slow
def test_the_network_alone(here):
    one, other = (framework.build("model.filters=[4]", "data.image_size=32", classes=["a", "b", "c"]) for _ in "12")
    assert one.output_shape == (None, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    small = ("model.filters=[4]", "data.image_size=32")
    assert framework.build(*small, "head=binary", classes=2).output_shape == (None, 1)
    assert framework.build(*small, "data.positive=b", "head=binary", classes=["a", "b", "c"]).output_shape == (None, 1)
    assert framework.build(*small, "head=multilabel", classes=4).output_shape == (None, 4)
    assert framework.build(*small, "task=regression", classes=["age", "height"]).output_shape == (None, 2)
    assert framework.build(*small).output_shape == (None, 10)  # as many as the data that are named have
    with pytest.raises(framework.Error, match="no class 'd'"):
        framework.build(*small, "data.positive=d", classes=["a", "b"])
    with pytest.raises(framework.Error, match="names none, or one twice"):
        framework.build(*small, classes=["a", "a"])


@pytest.mark.slow
def test_a_sweep_and_what_it_shows(here, colours):
    line = [*SMALL, "data=image_folder", f"data.dir={colours}", "optim.lr=0.01,0.0001", "sweep.name=rates"]
    found = framework.sweep(*line)
    assert found.monitor == "val_accuracy"
    assert {row["optim.lr"] for row in found.rows} == {0.01, 0.0001}
    assert [row["status"] for row in found.rows] == ["finished", "finished"]
    assert found.rows[0]["val_accuracy"] >= found.rows[1]["val_accuracy"]
    assert found.best.folder == found.rows[0]["runs"][0] == found.best_run
    assert framework.load("sweeps/rates").folder == framework.load("latest").folder == found.best_run
    html = found._repr_html_()
    assert "data:image/png;base64," in html
    assert html.count("<tr>") == 3
    assert "http" not in html
    with pytest.raises(framework.Error, match="no parameter 'lrr'"):
        framework.sweep(*line, "optim.lrr=1,2")

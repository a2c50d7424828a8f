"""The steps without TensorFlow: runs are folders that say what they took; the clock is the test's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from framework.budget import steps as module
from framework.budget.asked import Asked, Base
from framework.budget.journal import Journal
from framework.budget.steps import Steps
from framework.core.better import Yardstick
from framework.core.errors import BadInput
from framework.core.runs import RunFolder

MOBILENET = Base("mobilenet", ("model=mobilenet",), True)  # 1.15 GFLOP an image
EFFICIENT = Base("efficientnetv2s", ("model=efficientnetv2s",), True)
IMAGES = 1000


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Runs:
    """In place of a sweep: a run takes as long as ``takes`` says, or until its deadline, and is as good as its base."""

    def __init__(self, clock, takes, scores, computed):
        self.clock, self.takes, self.scores, self.computed, self.batches = clock, takes, scores, computed, []

    def begin(self):
        pass

    def run(self, jobs, start, at_once=None, deadline=None):
        self.batches.append([job.folder.name for job in jobs])
        begun = self.clock.now
        for job in jobs:
            base = next(line.partition("=")[2] for line in job.lines if line.startswith("model="))
            limit = next((float(line.partition("=")[2]) for line in job.lines if "time_limit.seconds" in line), None)
            wanted = self.takes(job.folder.name) / (3 if at_once is None else 1)
            wanted = min(wanted, limit or wanted)
            left = deadline - self.clock.now
            self.clock.now += min(wanted, max(left, 0))
            if wanted <= left and not RunFolder(job.folder).run_json.exists():
                best = {"epoch": 1, "monitor": "val_accuracy", "metrics": {"val_accuracy": self.scores[base]}}
                told = {
                    "parameters": 880_000,
                    "seconds": {"features": wanted / 2, "training": wanted / 2},
                    "features": {"computed": self.computed},
                }
                RunFolder(job.folder).write_run({"status": "finished", "best": best, **told})
        assert self.clock.now <= max(deadline, begun) + 1e-6


def carried_out(
    folder, monkeypatch, takes, budget=600.0, bases=(MOBILENET,), epoch=10.0, scores=None, clock=None, computed=IMAGES
):
    """The steps, and the runs that they had done, which computed the features of so many images."""
    clock = clock or Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    measured = []

    def speeds(settings, deadline):
        measured.append(deadline)
        clock.now += 12
        yield 0, epoch and {"full_epoch": epoch}, 12.0

    monkeypatch.setattr(module, "speeds", speeds)
    runs = Runs(clock, takes, scores or {"mobilenet": 0.8, "efficientnetv2s": 0.9}, computed)
    asked = Asked(("data.dir=photos",), bases, budget, folder, ("auto",), IMAGES, 1)
    make = lambda lines, folder: SimpleNamespace(lines=lines, folder=folder, settings=None)  # noqa: E731
    made = Steps(asked, make, Journal(folder, asked.given, clock), Yardstick.of("val_accuracy"))
    made.run(runs)
    return made, runs


def usual(name):
    return {"heads": 20.0, "last": 40.0}.get(name.partition("-")[0], 300.0)


def test_heads_then_the_last_layers_then_everything_then_more_of_them(tmp_path, monkeypatch):
    done, runs = carried_out(tmp_path, monkeypatch, usual)
    assert runs.batches[0] == [f"heads-mobilenet-{number}" for number in (1, 2, 3)]
    assert runs.batches[1:] == [["last-1"], ["all-1"], ["more-1"]]
    # 600 s without 60 for the end: 20 for heads, 40 for the last layers, 12 to measure leave 468, of which 0.6 are for all
    steps = json.loads((tmp_path / "auto.json").read_text())["steps"]
    assert "stages.all.epochs=20" in steps["all"][0]
    assert "stages.all.lr=0.0025" in steps["all"][0]  # four times as many parameters, half the rate
    assert "callbacks.time_limit.seconds=253" in steps["all"][0]
    assert "trainer.seed=2" in steps["more-1"][0]
    assert done.why == "0:21 are too short for one more run"


@pytest.mark.parametrize("slow", [1, 5, 30, 200])
@pytest.mark.parametrize("budget", [60.0, 179.0, 180.0, 600.0])
def test_the_budget_is_kept_whatever_the_machine(tmp_path, monkeypatch, budget, slow):
    steps, _ = carried_out(tmp_path, monkeypatch, lambda name: slow * usual(name), budget, epoch=10.0 * slow)
    assert steps.journal.spent <= budget - steps.ending + 12  # the measurement has a deadline of its own
    assert RunFolder(tmp_path / "heads-mobilenet-1").read_run()["status"] == "finished"  # ended in time by itself


def test_with_little_time_nothing_is_measured(tmp_path, monkeypatch):
    _, runs = carried_out(tmp_path, monkeypatch, usual, budget=80.0)
    # 10 s left are too short for one more, which takes 20 without the pass of the first
    assert [names[0] for names in runs.batches] == ["heads-mobilenet-1", "last-1"]


def test_a_base_whose_pass_does_not_fit_is_left_out(tmp_path, monkeypatch, capsys):
    _, runs = carried_out(tmp_path, monkeypatch, lambda name: 60.0, bases=(MOBILENET, EFFICIENT))
    assert [names[0] for names in runs.batches][:2] == ["heads-mobilenet-1", "last-1"]
    assert "efficientnetv2s is left out: its pass would take" in capsys.readouterr().err
    _, runs = carried_out(tmp_path / "quick", monkeypatch, lambda name: 3.0, bases=(MOBILENET, EFFICIENT))
    assert [names[0] for names in runs.batches][:3] == ["heads-mobilenet-1", "heads-efficientnetv2s-1", "last-1"]
    steps = json.loads((tmp_path / "quick" / "auto.json").read_text())["steps"]
    assert "model=efficientnetv2s" in steps["all"][0]  # the better one


def test_where_everything_would_be_too_short_the_last_layers_are_trained_again_and_again(tmp_path, monkeypatch, capsys):
    _, runs = carried_out(tmp_path, monkeypatch, lambda name: 40.0, epoch=200.0)
    assert [names[0] for names in runs.batches] == [
        "heads-mobilenet-1",
        "last-1",
        *(f"more-{number}" for number in range(1, 7)),
    ]
    assert "200.0 s an epoch of everything (measured), 4:29 for it: fewer than 8 epochs fit" in capsys.readouterr().err


def test_where_deeper_ones_do_not_fit_more_of_the_first_depth_are_trained(tmp_path, monkeypatch):
    takes = {"heads": 20.0, "more-2": 380.0}
    done, runs = carried_out(
        tmp_path, monkeypatch, lambda name: takes.get(name, takes.get(name.partition("-")[0], 40.0)), epoch=200.0
    )
    # 48 s left are enough for one of 20 without its pass, but not for a deeper one with its pass
    assert [names[0] for names in runs.batches][2:] == ["more-1", "more-2", "more-3"]
    steps = json.loads((tmp_path / "auto.json").read_text())["steps"]
    assert "stages.finetune.train=last:8" in steps["more-3"][0]
    assert "trainer.seed=4" in steps["more-3"][0]
    assert done.why == "0:08 are too short for one more run"


def test_a_few_epochs_of_everything_come_after_the_last_layers_and_many_before(tmp_path, monkeypatch, capsys):
    _, runs = carried_out(tmp_path, monkeypatch, lambda name: 40.0, epoch=25.0)
    first = ["heads-mobilenet-1", "last-1"]
    assert [names[0] for names in runs.batches] == [*first, *(f"more-{number}" for number in range(1, 7)), "all-1"]
    # 0.6 of 448 s are enough for 7 epochs; of the 208 that six more runs leave, as many as fit
    assert "4:29 for it: fewer than 8 epochs fit" in (said := capsys.readouterr().err)
    assert "3:28 for it: 1 run of 5 epochs" in said
    _, runs = carried_out(tmp_path / "quick", monkeypatch, lambda name: 40.0, epoch=14.0)
    assert [names[0] for names in runs.batches][:3] == [*first, "all-1"]


def test_a_speed_that_could_not_be_measured_is_taken_from_the_pass(tmp_path, monkeypatch, capsys):
    _, runs = carried_out(tmp_path, monkeypatch, lambda name: 10.0 if "heads" in name else usual(name), epoch=None)
    assert ["all-1"] in runs.batches
    # three heads at once took 10 s, each 3.3, half of it a pass
    assert "13.3 s an epoch of everything (not measured in time, but taken for 8 passes" in capsys.readouterr().err


def test_where_no_speed_is_known_all_of_it_is_left_out(tmp_path, monkeypatch, capsys):
    _, runs = carried_out(tmp_path, monkeypatch, usual, epoch=None, computed=0)  # all features were kept already
    assert ["all-1"] not in runs.batches
    assert ["more-1"] in runs.batches
    assert "could not be measured in time: not all of mobilenet is trained" in capsys.readouterr().err


def test_the_same_command_goes_on_with_what_was_decided(tmp_path, monkeypatch):
    first, _ = carried_out(tmp_path, monkeypatch, usual)
    before = json.loads((tmp_path / "auto.json").read_text())
    later, _ = carried_out(tmp_path, monkeypatch, lambda name: 0.0, budget=2000.0, epoch=1.0)
    after = json.loads((tmp_path / "auto.json").read_text())
    assert {name: after["steps"][name] for name in before["steps"]} == before["steps"]
    assert later.journal.before == pytest.approx(first.journal.spent, abs=0.1)
    with pytest.raises(BadInput, match="is of another command"):
        Journal(tmp_path, ["data.dir=others"])
    Path(tmp_path / "auto.json").write_text("{")
    with pytest.raises(BadInput, match="can't be read"):
        Journal(tmp_path, ["data.dir=photos"])


def test_without_weights_a_small_network_is_trained_from_scratch(tmp_path, monkeypatch):
    _, runs = carried_out(
        tmp_path, monkeypatch, usual, bases=(Base("cnn", ("model=cnn",), False),), scores={"cnn": 0.5}, budget=100.0
    )
    assert runs.batches == [["scratch-1", "scratch-2"]]


@pytest.mark.parametrize("text", ["[1]", "{", '{"format": 1, "given": []}'])
def test_what_is_no_journal_is_told(tmp_path, text):
    (tmp_path / "auto.json").write_text(text)
    with pytest.raises(BadInput, match=r"auto\.json (can't be read|is not as this version writes it)"):
        Journal(tmp_path, [])

"""What a sweep shows while it runs: a live view on a terminal, plain lines elsewhere."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from framework.core.better import Yardstick
from framework.core.runs import RunFolder
from framework.sweeps import view as views
from framework.sweeps.folder import Outcome
from framework.sweeps.log import LOG
from framework.sweeps.view import View

LONG = "data.classes=[dress,hat,longsleeve,outwear]"


def job(folder, name, epochs=10):
    (folder / name).mkdir(exist_ok=True)
    return SimpleNamespace(folder=folder / name, overrides=(f"optim.lr={name}",), epochs=epochs)


def epochs(one, count, seconds=2.0):
    rows = [
        {"epoch": number + 1, "loss": 1 / (number + 1), "val_accuracy": number / 10, "seconds": seconds}
        for number in range(count)
    ]
    RunFolder(one.folder).write_history(rows)


def made(monkeypatch, width, terminal=True, total=0, label=" ".join):
    """A view, and what it writes: all of it, and only what it has drawn since last asked."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=30, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(views, "lasting", lambda: console)
    monkeypatch.setattr(views, "DRAWN_EVERY", 0)

    def drawn():
        text = file.getvalue()
        file.seek(0)
        file.truncate()
        return text

    return View(label, Yardstick.of("val_accuracy"), total), drawn


def finished(value):
    return Outcome("finished", None, "val_accuracy", value, 3)


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_the_runs_under_way_and_what_is_left(monkeypatch, tmp_path, width):
    view, drawn = made(monkeypatch, width, label=lambda overrides: f"{LONG} {' '.join(overrides)}")
    jobs = [job(tmp_path, name) for name in ("0.1", "0.2", "0.3", "0.4")]
    with view:
        view.skip(["optim.lr=0.5"], finished(0.7))
        for one in jobs:
            view.expect(one, 0)
        view.begin(jobs[0])
        view.begin(jobs[1])
        epochs(jobs[0], 3)
        (tmp_path / "0.2" / LOG).write_text("data  garments\nComputing features: 400 of 1,000 images\n")
        drawn()
        view.look()
        said = drawn()
        assert "3/10  0.3333    0.2000" in said
        assert "Computing features: 400 of 1,000" in said
        assert "2 under way, 2 waiting, 1 skipped; 0:" in said
        assert "best so far: val_accuracy 0.7000 (epoch 3)" in said
        view.end(jobs[0], finished(0.9))
        view.begin(jobs[2])
        view.end(jobs[2], Outcome("failed", "the loss is not finite\nmore"))
        said = drawn()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", said).split("\n")
    assert all(len(line) <= width for line in lines)
    assert "val_accuracy 0.9000 (epoch 3)" in said
    assert "FAILED: the loss is not finite  0.0 s" in said
    assert "1 under way, 1 waiting, 1 skipped, 1 finished, 1 failed; 0:" in said


def test_a_log_has_plain_lines(monkeypatch, tmp_path):
    # no time passes after an epoch is written, however slow the machine: what is left is exact
    monkeypatch.setattr(views, "time", SimpleNamespace(monotonic=time.monotonic, time=lambda: 0.0))
    view, drawn = made(monkeypatch, 80, terminal=False, total=3)
    first, second = job(tmp_path, "0.1"), job(tmp_path, "0.2")
    with view:
        view.expect(first, 0)
        view.expect(second, 0)
        view.begin(first)
        view.look()
        assert drawn() == "begun  optim.lr=0.1\n"
        epochs(first, 5)
        monkeypatch.setattr(views, "WORD_EVERY", 0)
        view.look()
        assert drawn().startswith("1 under way, 2 waiting: optim.lr=0.1 epoch 5/10  0:50")
        epochs(first, 10)
        view.end(first, finished(0.5))
        said = drawn()
        assert said.startswith("[1/3]  optim.lr=0.1  val_accuracy 0.5000 (epoch 3)  0.0 s  0:4")
        assert said.endswith(" left\n")
    assert drawn() == ""


def test_a_run_that_is_resumed_has_what_is_left_of_its_epochs_before_it(monkeypatch, tmp_path):
    view, drawn = made(monkeypatch, 80, terminal=False)
    one = job(tmp_path, "0.1", 12)
    epochs(one, 8)
    monkeypatch.setattr(views, "WORD_EVERY", 0)
    with view:
        view.expect(one, 8)
        view.begin(one)
        epochs(one, 10, seconds=7.0)
        view.look()
        assert "optim.lr=0.1 epoch 10/12  0:14 left" in drawn()


def test_a_view_costs_less_than_a_hundredth_of_a_core(monkeypatch, tmp_path):
    every = views.DRAWN_EVERY
    view, drawn = made(monkeypatch, 120)
    jobs = [job(tmp_path, str(number)) for number in range(1000)]
    with view:
        for one in jobs:
            view.expect(one, 0)
        for one in jobs[:3]:
            epochs(one, 5)
            view.begin(one)
        began = time.thread_time()
        for _ in range(5):
            view.look()
        each = (time.thread_time() - began) / 5
    assert drawn()
    assert each < 0.01 * every


def test_what_changes_no_speed_leaves_a_run_of_the_same_kind():
    def kind(*overrides):
        return views._kind(SimpleNamespace(overrides=overrides))

    assert kind("optim.lr=0.1", "model=cnn") == kind("model=cnn", "optim/schedule=cosine", "trainer.seed=2")
    assert kind("model=cnn") != kind("model=xception")

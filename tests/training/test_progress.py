"""What a person reads while a run trains, on a terminal of some width."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from framework.core import console
from framework.core.better import Yardstick
from framework.core.runs import RunFolder
from framework.runs.banner import summarise
from framework.training.progress import Progress

METRICS = ("accuracy", "auc", "f1", "precision", "recall", "top_k")
NUMBERS = {f"{split}{name}": 0.5 for split in ("", "val_") for name in ("loss", *METRICS)}
ROW = {"stage": "main", "epoch": 3, "learning_rate": 0.001, **NUMBERS, "seconds": 2.0}


def shown(monkeypatch, width, show):
    """What is left on a terminal of this width, line by line."""
    file = io.StringIO()
    made = Console(file=file, width=width, force_terminal=True, color_system=None, soft_wrap=True)
    monkeypatch.setattr(console, "messages", lambda: made)
    show()
    return file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [80, 120])
def test_an_epoch_with_many_metrics_fits_and_stays_under_its_first(monkeypatch, width):
    lines = shown(monkeypatch, width, lambda: Progress(10, 4, Yardstick("val_loss", False)).epoch(ROW))
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("epoch  3/10  loss 0.5000  accuracy 0.5000")
    assert all(line[:13].isspace() and line[13] != " " for line in lines[1:])
    told = [pair.split(" ")[0] for line in lines for pair in line[13:].split("  ")]
    assert told == [*NUMBERS, "2.0", "*"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_fits_and_is_aligned(monkeypatch, width, tmp_path):
    monkeypatch.chdir(tmp_path)
    phases = dict.fromkeys(("data", "building", "features", "reading", "training", "finishing"), 100.0)
    run = {"epochs": 10, "best": {"epoch": 3, "metrics": NUMBERS}, "seconds": phases}
    lines = shown(monkeypatch, width, lambda: summarise(RunFolder(Path.cwd() / "runs" / "one"), run))
    assert all(len(line) <= width for line in lines)
    assert [line[:11].strip() for line in lines if line[:11].strip()] == ["best", "time", "files", "in", "next: pytho"]
    assert all(line[11:12] not in ("", " ") for line in lines if line and line[:5] != "files")
    assert lines[-2] == "in         runs/one"

import json

import pytest

from framework.core.better import Yardstick
from framework.core.errors import BadInput
from framework.reports.entries import plain, read_confusion, read_entries, read_entry, read_sweep
from tests.reports.made import CLASSES, make_confusion, make_run, make_sweep


def test_a_whole_run(tmp_path):
    make_run(tmp_path, ["optim.lr=0.01", "head=dense100"], score=0.8)
    entry = read_entry(tmp_path, "a")
    assert (entry.status, entry.missing, entry.failed) == ("finished", (), False)
    assert entry.overrides == {"optim.lr": 0.01, "head": "dense100"}
    assert entry.config["optim.lr"] == 0.01
    assert entry.config["head.hidden"] == [100]
    assert entry.best["val_accuracy"] == pytest.approx(0.8)
    assert entry.yardstick == Yardstick("val_accuracy", higher=True)
    assert (entry.images, entry.parameters) == (341, 221_114)
    assert entry.seconds == pytest.approx(3.0)


def test_the_best_epoch_is_the_one_that_the_run_names(tmp_path):
    run = make_run(tmp_path, epochs=5)
    told = json.loads(run.run_json.read_text())
    told["best"] = {"epoch": 2, "monitor": "val_accuracy", "metrics": {"val_accuracy": 0.123}}
    run.run_json.write_text(json.dumps(told))
    best = read_entry(tmp_path, "a").best
    assert (best["epoch"], best["val_accuracy"]) == (2, 0.123)


def test_a_running_one_has_the_best_so_far(tmp_path):
    make_run(tmp_path, epochs=4, status="running")
    entry = read_entry(tmp_path, "a")
    assert entry.best["epoch"] == 4
    assert entry.seconds == pytest.approx(2.0)


def test_numbers_gone_bad_are_never_best(tmp_path):
    run = make_run(tmp_path, epochs=3, status="running")
    rows = run.read_history()
    rows[2]["val_accuracy"] = float("nan")
    run.write_history(rows)
    assert read_entry(tmp_path, "a").best["epoch"] == 2


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "history.csv"])
def test_a_missing_file_is_named_and_the_rest_is_read(tmp_path, name):
    make_run(tmp_path)
    (tmp_path / name).unlink()
    entry = read_entry(tmp_path, "a")
    assert entry.missing == (f"{name} is missing",)
    assert [bool(entry.run), bool(entry.config), bool(entry.history)].count(False) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "can't be read"),
        ("run.json", "[]", "format None"),
        ("config.yaml", "a: [", "config.yaml can't be read"),
        ("history.csv", "stage,epoch,loss\n", "history.csv has no epoch yet"),
        ("history.csv", "stage,epoch,loss\nmain,one,2", "history.csv can't be read"),
        ("history.csv", "stage,epoch,loss\nmain,1", "history.csv can't be read"),
        ("history.csv", b"\xff\xfe\x00", "history.csv can't be read"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, message):
    make_run(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (problem,) = read_entry(tmp_path, "a").missing
    assert message in problem


def test_a_sweep_without_its_file_is_every_run_folder_inside(tmp_path):
    make_sweep(tmp_path, rates=(0.1, 0.01), seeds=(1, 2, 3))
    (tmp_path / "0" / ".hydra").mkdir()
    (tmp_path / "0" / ".hydra" / "config.yaml").write_text("a: 1\n")
    (tmp_path / "12").mkdir()
    sweep = read_sweep(tmp_path)
    assert [entry.name for entry in sweep.entries] == [str(number) for number in range(13)]
    assert sweep.entries[12].missing == ("run.json is missing", "config.yaml is missing", "history.csv is missing")


def test_a_sweep_file_names_runs_that_left_nothing(tmp_path):
    make_run(tmp_path / "lr=0.1", ["optim.lr=0.1"])
    make_run(tmp_path / "lr=0.2", ["optim.lr=0.2"], status="running", epochs=2)
    told = {
        "name": "rates",
        "command": ["framework-train", "-m", "optim.lr=0.1,0.2,0.3"],
        "varied": ["optim.lr"],
        "runs": [
            {"folder": "lr=0.1", "overrides": ["optim.lr=0.1"], "status": "finished"},
            {"folder": "lr=0.2", "overrides": ["optim.lr=0.2"], "status": "failed", "reason": "killed by signal 9"},
            {"folder": "lr=0.3", "overrides": ["optim.lr=0.3"], "status": "failed", "reason": "no memory"},
        ],
    }
    (tmp_path / "sweep.json").write_text(json.dumps(told))
    sweep = read_sweep(tmp_path)
    assert (sweep.name, sweep.command) == ("rates", "framework-train -m optim.lr=0.1,0.2,0.3")
    assert [(entry.status, entry.reason) for entry in sweep.entries] == [
        ("finished", ""),
        ("failed", "killed by signal 9"),
        ("failed", "no memory"),
    ]
    assert sweep.entries[2].overrides == {"optim.lr": 0.3}


def test_what_is_of_another_type_in_a_sweep_file_counts_as_missing(tmp_path):
    make_run(tmp_path / "a")
    told = {"name": 3, "command": 3, "varied": 3, "metric": 3, "direction": 3, "test": 3, "runs": [{"folder": "a"}]}
    (tmp_path / "sweep.json").write_text(json.dumps(told))
    sweep = read_sweep(tmp_path)
    assert (sweep.name, sweep.command, sweep.varied, sweep.metric, sweep.direction) == ("3", "", (), None, "auto")


def test_folders_that_do_not_exist_are_all_named_with_the_nearest(tmp_path):
    (tmp_path / "rates").mkdir()
    with pytest.raises(BadInput) as caught:
        read_entries([tmp_path / "rtes", tmp_path / "other"])
    assert [problem.right for problem in caught.value.problems] == ["rates (one of: rates)", "one of: rates"]
    with pytest.raises(BadInput, match="there is no folder"):
        read_sweep(tmp_path / "rtes")


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(BadInput, match="holds no run folder"):
        read_sweep(tmp_path)


def test_an_unreadable_sweep_file(tmp_path):
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(BadInput, match=r"sweep\.json can't be read"):
        read_sweep(tmp_path)


def test_confusion(tmp_path):
    make_confusion(tmp_path, hits=7)
    confusion = read_confusion(tmp_path, "confusion.csv")
    assert confusion.classes == CLASSES
    assert confusion.counts[1][1] == 7
    (tmp_path / "run" / "evaluation" / "validation").mkdir(parents=True)
    make_confusion(tmp_path / "run" / "evaluation" / "validation", hits=7)
    assert read_entry(tmp_path / "run", "a").confusion == confusion
    (tmp_path / "confusion.csv").write_text("true,a,b\na,1,2\n")
    assert read_confusion(tmp_path, "confusion.csv") is None
    assert read_confusion(tmp_path, "nothing.csv") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("10", 10), ("true", True), ("null", None), ("'a b'", "a b"), ("[1,2]", "[1,2]"), ("", "")],
)
def test_overrides_are_read_as_the_values_they_are(text, value):
    assert plain(text) == value

"""The run folder's small files, read back as written, and what is said where they can't be."""

import pytest

from framework.core.errors import BadInput
from framework.core.runs import RunFolder


def test_history_comes_back_as_written(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [
        {"stage": "head", "epoch": 1, "loss": 0.5, "seconds": 1.25},
        {"stage": "all", "epoch": 2, "loss": 0.25, "val_loss": 0.125, "seconds": 2.0},
    ]
    folder.write_history(rows)
    assert folder.read_history() == [{**rows[0], "val_loss": None}, rows[1]]


def test_run_json_comes_back_as_written(tmp_path):
    RunFolder(tmp_path).write_run({"status": "running", "classes": ["ä", "b"]})
    assert RunFolder(tmp_path).read_run()["classes"] == ["ä", "b"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "run.json is missing"),
        ("{", "can't be read"),
        ('{"format": 99}', "has format 99"),
        ("[]", "has format None"),
    ],
)
def test_a_folder_that_is_no_run_is_told(tmp_path, content, what):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(BadInput, match=what):
        RunFolder(tmp_path).read_run()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a: &x [*x]\n", "an alias"),
        ("a: &x 1\nb: *x\n", "an alias"),
        ("a: [\n", "while parsing"),
        ("a: " + "[" * 5000, None),
        ("a: \udcff", "codec"),
    ],
)
def test_a_config_that_no_run_has_written(tmp_path, content, why):
    folder = RunFolder(tmp_path)
    folder.config.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=why):
        folder.read_config()


def test_a_config_comes_back_as_plain_values(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text("optim: {lr: 0.1}\nname: 'a * b'\n")
    assert folder.read_config() == {"optim": {"lr": 0.1}, "name": "a * b"}
    folder.config.write_text("- 1\n")
    assert folder.read_config() == {}

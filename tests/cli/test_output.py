"""A folder that can't be written is told before TensorFlow is loaded, and with the reason."""

import subprocess
import sys

import pytest

from framework.config.folders import unwritable


def test_a_folder_that_is_there_or_can_be_made_is_fine(tmp_path):
    assert unwritable(tmp_path) == ""
    assert unwritable(tmp_path / "a" / "b") == ""
    assert list(tmp_path.iterdir()) == []


def test_reasons(tmp_path):
    (tmp_path / "file").touch()
    assert unwritable(tmp_path / "file" / "run").endswith("file is no folder")
    assert unwritable(tmp_path / ("x" * 300)) == "a folder's name is too long"


@pytest.mark.parametrize(
    "arguments", [["hydra.run.dir={}/run"], ["-m", "optim.lr=0.1,0.2", "hydra.sweep.dir={}/sweep"]]
)
def test_a_read_only_disk_is_told_before_training(mounted, arguments, tmp_path):
    read_only = mounted("ro")
    given = [argument.format(read_only) for argument in arguments]
    code = (
        "import sys; from framework import train; code = train.main(sys.argv[1:]);"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *given], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "is on a read-only disk" in done.stderr
    assert "1 problem, nothing was started" in done.stderr
    assert list(tmp_path.iterdir()) == [read_only]

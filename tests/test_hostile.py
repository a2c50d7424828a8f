"""The campaign of hostile input, short (``python -m benchmarks.hostile`` is the long one); no network where none is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.hostile.system import OFFLINE
from tests.conftest import CLONE, bash, make_images


@pytest.mark.slow
def test_every_hostile_input_is_answered_well():
    command = [sys.executable, "-m", "benchmarks.hostile", "--short", "--only", "cache,models"]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (tried,) = re.findall(r"^([\d,]+) hostile inputs", done.stdout, re.MULTILINE)
    assert int(tried.replace(",", "")) > 400
    moments = sum(map(int, re.findall(r"cache: (\d+) moments to die at", done.stdout)))
    assert moments >= 70


def test_a_case_that_is_not_answered_well_fails_the_campaign(capsys):
    from benchmarks.hostile.tally import Tally

    tally = Tally("made up")
    tally.case("right", lambda: "")
    tally.case("wrong", lambda: "the secret was shown")
    tally.case("a fault", lambda: 1 / 0)
    assert tally.tried == 3
    assert tally.failed == ["wrong: the secret was shown", "a fault: ZeroDivisionError: division by zero"]
    assert "FAILED made up: wrong" in capsys.readouterr().out


@pytest.mark.slow
def test_import_check_and_train_ask_the_network_for_nothing(tmp_path):
    """Nor can they where there is none, if the system lets a process have a network of its own."""
    make_images(tmp_path / "photos", count=4)
    (tmp_path / "offline.py").write_text(OFFLINE)
    alone = "unshare -rn " if shutil.which("unshare") and bash("unshare -rn true").returncode == 0 else ""
    done = bash(f"{alone}python offline.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.keras").is_file()

"""Files are whole or not there, whenever a kill comes: the short campaign."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_file_that_a_kill_leaves_is_whole():
    """``python -m benchmarks.whole_files --kills 200`` is the long one."""
    command = [sys.executable, "-m", "benchmarks.whole_files", "--kills", "4", "--seed", "2"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.match(r"(\d+) kills; .* every file was whole or not there", done.stdout.splitlines()[-1])
    assert int(kills[1]) >= 4

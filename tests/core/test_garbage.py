"""When garbage is looked for: by a command seldom, by a program that calls this one as before."""

from __future__ import annotations

import gc
import subprocess
import sys

from framework import check
from framework.core.garbage import SELDOM, collecting_nothing

AS_COMMAND = """
import atexit, gc, sys
from framework import check
sys.argv = ["check", "--version"]
atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))
check.main()
"""


def test_a_command_looks_seldom_and_not_at_its_end():
    said = subprocess.run([sys.executable, "-c", AS_COMMAND], capture_output=True, text=True, check=True).stdout
    assert said.split()[-2:] == [str(SELDOM), "True"]


def test_who_calls_a_command_in_a_program_keeps_its_own_ways(capsys):
    before = gc.get_threshold()
    assert check.main(["--version"]) == 0
    assert gc.get_threshold() == before


def test_collecting_is_as_it_was_behind():
    with collecting_nothing():
        assert not gc.isenabled()
        with collecting_nothing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()

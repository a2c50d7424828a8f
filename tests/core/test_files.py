"""Files are whole or not there; a lock is freed by its holder's death."""

import os
import signal
import subprocess
import sys
import time

import pytest

from framework.core.files import locked, whole, write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "run.json"
    write_whole(file, "old")

    def fail():
        with whole(file) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_file_keeps_its_ending_while_it_is_written(tmp_path):
    with whole(tmp_path / "a" / "model.keras") as beside:
        assert beside.suffix == ".keras"
        assert beside.parent == tmp_path / "a"
        beside.write_bytes(b"x")
    assert (tmp_path / "a" / "model.keras").read_bytes() == b"x"


def test_a_killed_holder_frees_the_lock_and_the_waiter_is_told(tmp_path):
    lock = tmp_path / "lock"
    code = "import sys,time,pathlib\nfrom framework.core.files import locked\n"
    code += "with locked(pathlib.Path(sys.argv[1])):\n  print('held', flush=True)\n  time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline().strip() == "held"
    told = []

    def waiting():
        told.append(time.monotonic())
        holder.send_signal(signal.SIGKILL)

    with locked(lock, waiting):
        assert holder.wait() == -signal.SIGKILL
    assert len(told) == 1

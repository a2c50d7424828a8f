"""The command: it says where it listens, answers, ends well on a signal, and refuses in one message."""

from __future__ import annotations

import os
import platform
import re
import signal
import socket
import subprocess
import sys

import pytest

from framework import serve
from tests.evaluation.common import make_run
from tests.serving.made import client, files, jpeg


@pytest.fixture
def run(tmp_path, photos):
    return make_run(tmp_path / "run", photos)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(run, number):
    command = [sys.executable, "-m", "framework.serve", f"run={run}", "port=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = next(
                found[0] for line in process.stderr if (found := re.findall(r"http://127\.0\.0\.1:\d+", line))
            )
            with client(address) as http:
                assert http.get("/health").status_code == 200
                assert http.post("/predict", **files(jpeg())).json()["predictions"][0]["class"] == "red"
            process.send_signal(number)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()  # else a failure would wait for the server for ever
    assert process.returncode == 0
    assert rest.strip() == "stopped"


def test_a_port_that_is_taken_is_told_before_anything_loads(run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert serve.main([f"run={run}", f"port={taken.getsockname()[1]}"]) == 2
    assert "can't be listened on" in capsys.readouterr().err


def test_a_host_that_is_none(run, capsys):
    assert serve.main([f"run={run}", "host=999.1.1.1"]) == 2
    assert "there is no address 999.1.1.1:8000" in capsys.readouterr().err


def test_a_missing_extra_is_told(run, capsys, monkeypatch):
    monkeypatch.setattr(serve, "PACKAGES", ("fastapi", "not_installed_at_all"))
    assert serve.main([f"run={run}"]) == 2
    assert "framework[serve]" in capsys.readouterr().err


MEMORY = """
import ctypes, threading
from framework.serve import give_back_memory
if {given_back}:
    give_back_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(8)
def work():
    barrier.wait()
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.free(ctypes.c_void_p(libc.malloc(8 * 2**20)))
libc.malloc(7 * 2**20)  # a block of the system's own, or of a heap that now holds blocks of such a size
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"memory.xml", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux" or not platform.libc_ver()[0], reason="glibc alone has several heaps")
def test_it_gives_memory_back_unless_the_environment_says_otherwise(tmp_path):
    named = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_")

    def taken(given_back, **more):
        environment = {key: value for key, value in os.environ.items() if key not in named} | more
        command = [sys.executable, "-c", MEMORY.format(given_back=given_back)]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        told = (tmp_path / "memory.xml").read_text()
        return told.count("<heap nr="), int(re.search(r'type="mmap" count="\d+" size="(\d+)"', told)[1]) >= 7 * 2**20

    heaps, large = taken(False)
    assert heaps > 2
    assert not large
    heaps, large = taken(True)
    assert heaps <= 2
    assert large
    heaps, large = taken(True, MALLOC_ARENA_MAX="4")
    assert 2 < heaps <= 4
    assert large
    heaps, large = taken(True, MALLOC_MMAP_THRESHOLD_=str(32 * 2**20))
    assert heaps <= 2
    assert not large

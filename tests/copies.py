"""Typed lines run in copies of a process that has loaded TensorFlow once: loading takes most of a short command's time.

A ``python`` that stands first on the path of a test's line hands ``-m framework…`` to that process, which forks; whatever
else it is given, or with other variables that are read while loading, it begins the real one.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from framework.__main__ import COMMANDS
from framework.sweeps.ready import ready

CLONE = Path(__file__).parents[1]
# read once, by Python or by a library, while they load
READ_WHILE_LOADING = ("PYTHON", "TF_", "KERAS_", "OMP_", "CUDA_", "LD_", "XLA_")
SHORT = """#!{python} -IS
import json, os, socket, sys
given = sys.argv[1:]
loaded = {{name: value for name, value in os.environ.items() if name.startswith({names!r})}}
if given[:1] == ["-m"] and given[1:] and given[1].partition(".")[0] == "framework" and loaded == {loaded!r}:
    with socket.socket(socket.AF_UNIX) as to:
        to.connect({address!r})
        socket.send_fds(to, [b"."], [0, 1, 2])
        with to.makefile("rw") as said:
            said.write(json.dumps([os.getcwd(), dict(os.environ), given[1:]]) + "\\n")
            said.flush()
            sys.exit(int(said.readline()))
os.execv({python!r}, [{python!r}, *given])
"""


@functools.cache
def folder() -> str:
    """Where that ``python`` is; the process to copy is begun with it, and ends with this one."""
    made = tempfile.mkdtemp(prefix="copies-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    address = f"{made}/socket"
    environment = {**os.environ, "PYTHONPATH": str(CLONE)}
    loaded = {name: value for name, value in environment.items() if name.startswith(READ_WHILE_LOADING)}
    short = Path(made) / "python"
    short.write_text(SHORT.format(python=sys.executable, names=READ_WHILE_LOADING, loaded=loaded, address=address))
    short.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.copies", address], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline()  # it has loaded
    atexit.register(process.communicate)
    return made


def serve(address: str) -> None:
    """Load, then fork for each who calls, until standard input ends."""
    ready()
    for command in COMMANDS:
        import_module(f"framework.{command}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            heard, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in heard:
                return  # whoever began this process has ended
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(connection)
            connection.close()


def _attend(connection: socket.socket) -> None:
    """Run what is asked for in a copy, with the caller's own input and outputs, and answer its exit code.

    Raises:
        SystemExit: in the copy, when it is done.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    descriptors = socket.recv_fds(connection, 1, 3)[1]
    said = connection.makefile("rw")
    where, environment, (module, *arguments) = json.loads(said.readline())
    copy = os.fork()
    if copy == 0:
        connection.close()
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
            os.close(descriptor)
        os.chdir(where)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, sys.path[0] = [module, *arguments], where
        sys.modules.pop(module, None)  # else runpy warns that it is there
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()  # through all who called, as a process ends: what is to be done at exit is done
    for descriptor in descriptors:
        os.close(descriptor)  # who reads the other end waits until nobody holds it
    code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    said.write(f"{code}\n")
    said.flush()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])

"""At the machine where a call is made: its process, from its start to its end.

This module goes to machines of a cluster by value, by Ray's task or Slurm's job, so it imports the standard library alone;
the process that it starts is one of ours (``worker``), with an interpreter and an environment of its own.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOK_EVERY = 0.2
PATIENCE = 90.0  # seconds in which a run saves its state
UNFIT = 2  # exit code: nothing was started
# set by Ray or another launcher, and no good for a process of ours: Keras of before 3, a place among several processes
LEFT_OUT = ("TF_USE_LEGACY_KERAS", "TF_CONFIG")


@dataclass(frozen=True)
class Order:
    """What is to be done at the other machine.

    Attributes:
        python: the interpreter; where there is none of that name, the one that is at work there.
        arguments: for it.
        given: what the process reads from standard input.
        folder: that must be there: the run's, on a disk that all machines share.
        home: in which the command was given; where it is not there, ``folder`` serves.
        log: file for what the process says, in ``folder``.
        environment: variables that travel.
        stop: signal by which the process ends in good order.
    """

    python: str
    arguments: tuple[str, ...]
    given: bytes
    folder: str
    home: str
    log: str
    environment: Mapping[str, str]
    stop: int


class Attending:
    """Carries an order out.

    Called, it waits for the process and gives back its exit code, and why it came to nothing where the code does not say.

    Raises:
        ChildProcessError: the process was killed; its number is the argument.
    """

    def __init__(self, order: Order):
        self.order = order
        self.process: subprocess.Popen[bytes] | None = None
        self.told = False

    def __call__(self) -> tuple[int, str]:
        """Start the process, and wait for it."""
        if not os.path.isdir(self.order.folder):
            where = f"{self.order.folder} is not there on {platform.node()}"
            return UNFIT, f"{where}: runs of a cluster lie on a disk that all its machines share"
        try:
            process = self.start()
            while process.poll() is None:
                time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            self.end()
        assert self.process is not None
        code = self.process.returncode
        # ended by SIGTERM it was told to, by Slurm or a person
        if code < 0 and code != -signal.SIGTERM and not self.told:
            raise ChildProcessError(-code)
        return code, ""

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        order = self.order
        inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        with open(os.path.join(order.folder, order.log), "ab") as log:
            self.process = subprocess.Popen(
                [order.python if os.path.exists(order.python) else sys.executable, *order.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=order.home if os.path.isdir(order.home) else order.folder,
                env={**inherited, **order.environment},
            )
        assert self.process.stdin is not None
        try:
            with self.process.stdin as pipe:
                pipe.write(order.given)
        except BrokenPipeError:
            pass  # it has ended already; its exit code and its log say why
        return self.process

    def end(self) -> None:
        """Have the process end with its state saved, and wait for that."""
        self.told = True
        if self.process is None:
            sys.exit(128 + signal.SIGTERM)
        if self.process.poll() is None:
            self.process.send_signal(self.order.stop)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def checkpoint(self) -> Any:
        """Of a job of Slurm's whose time is over: end the process; another job is to carry the order out again."""
        from submitit.helpers import DelayedSubmission

        self.end()
        return DelayedSubmission(Attending(self.order))


def free_port() -> int:
    """A port of this machine that nobody has now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def attend(order: Order) -> tuple[int, str]:
    """Carry an order out."""
    return Attending(order)()


class Keeping:
    """An actor of Ray's that keeps an order's process at work, and goes with it; it must be named and detached."""

    def __init__(self, order: Order):
        import ray

        self._attending, self._kill = Attending(order), ray.kill
        self._self = ray.get_runtime_context().current_actor
        self._process = self._attending.start()
        threading.Thread(target=self._go_with_it, daemon=True).start()

    def _go_with_it(self) -> None:
        self._process.wait()
        self._kill(self._self, no_restart=True)

    def who(self) -> tuple[int, str]:
        """Number of the process, and the machine that it is on."""
        return self._process.pid, platform.node()

    def end(self) -> None:
        """Have the process end with its state saved, and wait for that."""
        self._attending.end()

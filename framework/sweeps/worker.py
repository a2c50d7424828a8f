"""The process of a call on another machine: it reads the call from standard input and makes it.

python -m framework.sweeps.worker VERSION < CALL
"""

from __future__ import annotations

import os
import pickle
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import framework
from framework.core.console import say
from framework.core.errors import BAD_INPUT
from framework.core.travelling import found, threads, travelling
from framework.sweeps.attending import Order
from framework.sweeps.cards import NONE, VARIABLE
from framework.sweeps.engines import Call
from framework.sweeps.log import LOG
from framework.sweeps.processes import alone

DRIVER_LOG = "driver.txt"


def ordered(
    call: Call, cpus: int | None = None, gpus: float | None = None, log: str = LOG, stop: int = signal.SIGTERM
) -> Order:
    """A call as an order to another machine.

    Args:
        call: that pickles.
        cpus: cores of it, and as many threads; None for as many as it likes.
        gpus: cards of it; of none it is to see none. Else those that it is given there.
        log: name of the file in the call's folder that takes what it says.
        stop: signal by which it ends in good order.
    """
    call.folder.mkdir(parents=True, exist_ok=True)
    unseen = {} if gpus else {VARIABLE: NONE}
    return Order(
        python=sys.executable,
        arguments=("-m", __name__, framework.__version__),
        given=pickle.dumps(call.function),
        folder=str(call.folder),
        home=os.getcwd(),
        log=log,
        environment={**travelling(), "PYTHONPATH": os.pathsep.join(found()), **threads(cpus), **unseen},
        stop=stop,
    )


def driver(words: Sequence[str], folder: Path) -> Call:
    """A sweep's own command as a call, for an engine to hand it over to."""
    return Call(partial(_typed, "framework.train", tuple(words)), folder)


def _typed(module: str, words: tuple[str, ...]) -> int:
    """A command as it was typed; returns its exit code."""
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Make the call; returns its exit code."""
    if list(arguments) != [framework.__version__]:
        say(
            f"the command is of framework {' '.join(arguments)}, and here is {framework.__version__}: {framework.__file__}"
        )
        return BAD_INPUT
    function: Callable[[], int] = pickle.load(sys.stdin.buffer)
    return alone(function)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""SIGTERM and the first Ctrl-C, kept until the run can be left with its state saved: a second, or the step under way."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from framework.core.console import say
from framework.core.errors import RunStopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While entered, remembers a signal in place of obeying it at once; a second Ctrl-C is obeyed at once.

    Args:
        agreed: whether several workers must agree first: what is heard is then obeyed once somebody sets ``signal``.

    Attributes:
        signal: what is to be obeyed; None if nothing is.
        heard: what this process was sent.
    """

    def __init__(self, agreed: bool = False) -> None:
        self.agreed = agreed
        self.signal: int | None = None
        self.heard: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def obey(self) -> None:
        """End the run as the signal wants.

        Raises:
            RunStopped: after SIGTERM.
            KeyboardInterrupt: after Ctrl-C.
        """
        if self.signal == signal.SIGTERM:
            raise RunStopped("stopped by SIGTERM; the same command goes on from here")
        raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.heard is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.heard = number
        if not self.agreed:
            self.signal = number
        say("stopping after this step; the state of the run will be saved")

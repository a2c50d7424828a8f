"""Inside a notebook: whether we are, and a bar that is drawn in place, by IPython alone."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

from framework.core.names import lines

FIRST_AFTER, DRAWN_EVERY = 0.5, 0.2


def in_notebook() -> bool:
    """Whether a kernel of Jupyter's runs this process, so that its output is a page and no terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """A bar below the cell, gone when it is closed.

    Args:
        total: what there is to do; None if that is not known.
    """

    def __init__(self, total: int | None):
        self.total, self.done = total, 0
        self._begun = time.monotonic()
        self._drawn = self._begun + FIRST_AFTER - DRAWN_EVERY
        self._place: Any = None  # work that is done before a bar could be read leaves nothing

    def advance(self, count: int, text: str) -> None:
        """``count`` more is done; ``text`` says of what."""
        self.done += count
        if time.monotonic() - self._drawn >= DRAWN_EVERY:
            self._drawn = time.monotonic()
            self._draw(text)

    def close(self) -> None:
        """Take it away."""
        if self._place is not None:
            self._place.update({"text/plain": ""}, raw=True)

    def _draw(self, text: str) -> None:
        from IPython.display import display

        value = f' value="{self.done}" max="{self.total}"' if self.total else ""
        left = (self._drawn - self._begun) / self.done * (self.total - self.done) if self.total and self.done else None
        said = lines(text) + (f", {left:.0f} s left" if left is not None else "")
        html = f"<progress{value}></progress> {escape(said)}"
        drawn = {"text/html": html, "text/plain": said}
        if self._place is None:
            self._place = display(drawn, raw=True, display_id=True)
        else:
            self._place.update(drawn, raw=True)

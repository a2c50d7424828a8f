"""A console to which text is text: no markup, no emoji by name, no commands to the terminal in somebody's file name."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from framework.core.names import lines


class PlainConsole(Console):
    """Rich's console; what is printed as ``str`` is made safe to look at. Imported late, as Rich is."""

    def __init__(self, **options: Any):
        super().__init__(highlight=False, emoji=False, markup=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; arguments as for Rich."""
        super().print(*(lines(one) if isinstance(one, str) else one for one in objects), **options)

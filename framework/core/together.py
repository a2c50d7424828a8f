"""What one of several processes that do one work has of the others; here a process alone, which is all of them."""

from __future__ import annotations

from typing import Any


class Alone:
    """A process by itself: what others would exchange it has.

    Attributes:
        place: of this process, from 0.
        count: how many there are.
    """

    place, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.place == 0

    def said(self, own: Any) -> list[Any]:
        """What each says, as JSON can hold it."""
        return [own]

    def of_first(self, own: bytes) -> bytes:
        """The first one's bytes; those of others are not looked at."""
        return own

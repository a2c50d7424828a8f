"""Who a training tells what: what is known of it, and what it would take to go on; by default nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from framework.training.state import State


class Recorder(Protocol):
    """Is told what becomes known of a training, and what its seconds go to."""

    def note(self, **values: Any) -> None:
        """These are known now."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """The seconds of what is done while this is entered belong to this phase."""
        ...


class Store(Protocol):
    """Keeps the history of a training, and what it takes to go on with it."""

    def read(self) -> State | None:
        """Where the training stands; None if it is to begin."""

    def write(self, state: State) -> None:
        """It stands here now."""

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """All epochs so far."""


class Unrecorded:
    """A recorder for who wants none."""

    def note(self, **values: Any) -> None:
        """Nobody is told."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Nobody counts."""
        return contextlib.nullcontext()


class Unstored:
    """A store for a training that nobody will go on with."""

    def read(self) -> State | None:
        """It always begins."""
        return None

    def write(self, state: State) -> None:
        """Nothing is kept."""

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is kept."""

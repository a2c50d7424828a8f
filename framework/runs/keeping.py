"""What a run's folder keeps of its training: history, state, and what callbacks write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.runs import RunFolder
from framework.training.state import State


class FolderStore:
    """The store of a training that a run folder keeps."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def read(self) -> State | None:
        """Where the run stands; None if it is to begin.

        Raises:
            BadInput: the file is damaged.
        """
        return State.read(self.folder.state)

    def write(self, state: State) -> None:
        """Write the state whole; the one before stays until then."""
        state.write(self.folder.state)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all epochs so far, whole."""
        self.folder.write_history(rows)


def make_callbacks(settings: Settings, folder: RunFolder, writing: bool = True) -> dict[str, keras.callbacks.Callback]:
    """The callbacks that the settings name; their files go to the run's folder.

    Args:
        settings: of the run.
        folder: of the run.
        writing: whether those are wanted too that only leave files or records.
    """
    chosen = {name: (registry.get("callback", one.name), one.parameters) for name, one in settings.callbacks.items()}
    return {
        name: part(folder, **parameters)
        for name, (part, parameters) in chosen.items()
        if writing or not part.details["writes"]
    }

"""Reading a saved model back."""

from __future__ import annotations

from pathlib import Path

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem


def load_model(path: Path) -> keras.Model:
    """A whole model of this project or another, for reading and predicting: not compiled, and in Keras's safe mode.

    Raises:
        BadInput: it is missing, damaged, or has layers that are neither Keras's nor this project's.
    """
    from framework.parts import layers  # noqa: F401 - registers this project's layers with Keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(Problem(f"model file {path} can't be loaded: {error}", str(path))) from error

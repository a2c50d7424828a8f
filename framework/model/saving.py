"""Reading a saved model back."""

from __future__ import annotations

import zipfile
from pathlib import Path

from framework.core import keras_hub_private
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem


def load_model(path: Path) -> keras.Model:
    """A whole model of this project or another, for reading and predicting: not compiled, and in Keras's safe mode.

    Raises:
        BadInput: it is missing, damaged, or has layers that are neither Keras's, Keras Hub's nor this project's.
    """
    from framework.parts import layers  # noqa: F401 - registers this project's layers with Keras

    if _has_backbone(path):
        if not keras_hub_private.installed():
            what = f"model file {path} needs the package keras-hub, which is not installed"
            raise BadInput(Problem(what, str(path), "pip install 'framework[hub]'"))
        keras_hub_private.load_hub()

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(Problem(f"model file {path} can't be loaded: {error}", str(path))) from error


def _has_backbone(path: Path) -> bool:
    """Whether a ``.keras`` file names a class of Keras Hub."""
    try:
        with zipfile.ZipFile(path) as archive:
            return b"keras_hub>" in archive.read("config.json")
    except (OSError, KeyError, zipfile.BadZipFile):
        return False

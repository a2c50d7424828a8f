"""The one place where TensorFlow and Keras are imported: late, and without their start-up noise.

Part modules write ``from framework.core.backend import keras`` and stay importable in milliseconds: the real module is
loaded when an attribute is first read.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from framework.core.console import passing
from framework.core.garbage import collecting_nothing, spare_end


def load_tensorflow() -> ModuleType:
    """Import TensorFlow and Keras quietly; what they print is shown only if the import fails.

    The start-up log comes from C++ before any logging is set up: no variable silences all of it.
    """
    if _loaded():
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from framework.core.keras_private import remember_attributes, sparing

    with passing("loading TensorFlow …"), hushed(), sparing(), collecting_nothing():
        tensorflow = import_module("tensorflow")
        keras = import_module("keras")
    remember_attributes()
    spare_end()
    # whatever the user's keras.json says: images are (height, width, channels) throughout
    keras.config.set_image_data_format("channels_last")
    return tensorflow


def _loaded() -> bool:
    return "tensorflow" in sys.modules and "keras" in sys.modules


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """What the block writes to standard error, from C++ too, is kept back, and shown only if it fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            buffer.seek(0)
            os.write(2, buffer.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


class Lazy(ModuleType):
    """Stands for a module until something is read from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        load_tensorflow()
        return getattr(import_module(self.__name__), name)


if TYPE_CHECKING:
    import keras
    import tensorflow as tf
else:
    keras = Lazy("keras")
    tf = Lazy("tensorflow")

__all__ = ["keras", "load_tensorflow", "tf"]

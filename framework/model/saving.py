"""Reading a saved model back."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from framework.core import keras_hub_private
from framework.core.backend import keras, tf
from framework.core.errors import BadInput, Problem
from framework.core.names import short

SPARE = 4 << 30  # bytes of memory that a model may take while it is built beside what its file holds
MOST_NUMBERS = 2**31  # that a layer may give of one image
_HELD = 8  # how often what a file holds is in memory while it is read


def load_model(path: Path) -> keras.Model:
    """A whole model of this project or another, for reading and predicting: not compiled, and in Keras's safe mode.

    It is looked at before, as ``model.description`` does.

    Raises:
        BadInput: it is missing, damaged, too large for what its file holds, has weights that are no numbers, or layers
            that are neither Keras's, Keras Hub's nor this project's.
    """
    from framework.parts import layers  # noqa: F401 - registers this project's layers with Keras

    if _has_backbone(path):
        if not keras_hub_private.installed():
            what = f"model file {path} needs the package keras-hub, which is not installed"
            raise BadInput(Problem(what, str(path), "pip install 'framework[hub]'"))
        keras_hub_private.load_hub()

    try:
        with _bounded(SPARE + _HELD * path.stat().st_size):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a file from anywhere makes Keras and TensorFlow raise whatever there is
        first = short(str(error).strip().partition("\n")[0] or type(error).__name__, 400)
        raise BadInput(Problem(f"model file {path} can't be loaded: {first}", str(path))) from error
    refuse_not_numbers(model, path, str(path))
    for layer in model.layers:
        for tensor in keras.tree.flatten(getattr(layer, "output", None)):
            if (numbers := math.prod(side or 1 for side in getattr(tensor, "shape", ()))) > MOST_NUMBERS:
                what = f"model file {path} makes {numbers:,} numbers of an image, in layer '{layer.name}'"
                raise BadInput(Problem(what, str(path)))
    return model


def refuse_not_numbers(model: keras.Model, path: Path, where: str) -> None:
    """Let only weights pass that are numbers.

    Raises:
        BadInput: some are NaN or infinite: all answers would be.
    """
    for weight in model.weights:
        value = np.asarray(weight)
        value = value.astype(np.float32) if value.dtype.kind == "V" else value  # bfloat16
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            what = f"the weights in {path} are no numbers (NaN or infinite), first in '{weight.path}'"
            raise BadInput(Problem(what, where, "the file of an epoch before they became so"))


@contextlib.contextmanager
def _bounded(more: int) -> Iterator[None]:
    """While entered, the process can take so many bytes of memory more: what would take all that there is fails.

    Only where the system can be told so, as Linux can: elsewhere it may end the process. And only where there is no graphics
    card, whose driver takes memory as it likes.
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    try:
        # not on Windows
        resource = import_module("resource")
        taken = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[5]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [taken + more, *(limit for limit in before if limit != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), before[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _has_backbone(path: Path) -> bool:
    """Whether a ``.keras`` file names a class of Keras Hub."""
    try:
        with zipfile.ZipFile(path) as archive:
            return b"keras_hub>" in archive.read("config.json")
    except (OSError, KeyError, zipfile.BadZipFile):
        return False

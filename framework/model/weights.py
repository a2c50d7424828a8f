"""Weights of a base: whether they can be had, found out without TensorFlow, and reading them into a built base.

A file is either one of the base alone, as Keras publishes them (HDF5: ``.h5`` or ``.weights.h5``), or a whole saved
model (``.keras``), of which the base is taken. It must have the base's layers and, if it is of the base alone, no
more: a file of another network, of another width or with a top is refused by name of the first layer that differs.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from framework.config.folders import shown
from framework.core import console
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem, listing
from framework.core.files import locked, refuse_bomb
from framework.core.keras_private import is_random_state, saved_kind
from framework.core.registry import Part
from framework.core.schema import show
from framework.model import hub_weights
from framework.model.foreign import UNREADABLE, check_arrays
from framework.model.saving import refuse_not_numbers
from framework.parts import hub_presets, presets
from framework.parts.bases import Size, application
from framework.parts.presets import Remote

if TYPE_CHECKING:
    import h5py

IMAGENET = "imagenet"
PRESET = "preset"
# Those that are to be had from a host, and stand for nothing on the demonstration data.
PUBLISHED = (IMAGENET, PRESET)
HOST = "https://storage.googleapis.com"
WHERE = "model.weights"
# Widths that Keras publishes weights of.
ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_OF_THIS_BASE = "the file of this base, or null for random weights"


def keras_models() -> Path:
    """The folder where Keras keeps what it downloads: in ``KERAS_HOME``, else in ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras"), "models").expanduser()


def find(part: Part, weights: str | None, size: Size, parameters: Mapping[str, Any]) -> Path | Remote | Problem | None:
    """The file to load, or the folder of a preset, either of which may be still to download; None for random weights.

    Takes at most three seconds, and those only where a download is needed and the network is silent. Loads no
    TensorFlow.

    Args:
        part: the base.
        weights: ``imagenet``, ``preset``, a file, or None.
        size: height and width of the images in pixels.
        parameters: the base's own.

    Returns:
        A problem where the weights can't be had: there are none for these parameters, the file is missing, or
        there is no way to download it.
    """
    if weights is None:
        return None
    problem = unpublished(part, weights)
    if problem is not None:
        return problem
    if weights == PRESET:
        return _preset(part, parameters)
    if weights != IMAGENET:
        path = Path(weights).expanduser()
        if os.path.isfile(path):  # whatever its name
            return path
        return Problem(
            f"weights file {shown(path)} does not exist", WHERE, "a file, imagenet, or null for random weights"
        )
    try:
        path = keras_models() / part.details["imagenet"](size, parameters)
    except BadInput as error:
        return error.problems[0]
    return path if path.is_file() or _reachable() else _missing(part, path, f"{HOST} does not answer")


def unpublished(part: Part, weights: str) -> Problem | None:
    """That a base has no published weights of this kind, None where it has or where a file is named."""
    if weights == IMAGENET and part.details["imagenet"] is None:
        others = f"{WHERE}={PRESET}" if part.details["backbone"] else f"{WHERE}=<file>"
        return Problem(f"base '{part.name}' has no ImageNet weights", WHERE, f"{others} or {WHERE}=null")
    if weights == PRESET and part.details["backbone"] is None:
        others = f"{WHERE}={IMAGENET}" if part.details["imagenet"] else f"{WHERE}=<file>"
        return Problem(f"base '{part.name}' has no presets", WHERE, f"{others} or {WHERE}=null")
    return None


def _preset(part: Part, parameters: Mapping[str, Any]) -> Path | Remote | Problem:
    """The folder of a preset, which may be still to download, or why it can't be had."""
    backbone, preset = part.details["backbone"], parameters["preset"]
    if preset is None:
        right = f"{presets.WHERE}=NAME, a folder, kaggle://… or hf://…; or {WHERE}=null for random weights"
        return Problem(f"{WHERE}={PRESET}, and no preset is named", presets.WHERE, right)
    try:
        found = presets.find(preset, part.name, backbone)
    except BadInput as error:
        return error.problems[0]
    if isinstance(found, Remote) and not _reachable(found.host):
        return hub_presets.missing(preset, found, f"{found.host} does not answer", backbone.described)
    return found


def unfit(part: Part, path: Path, parameters: Mapping[str, Any]) -> Problem | None:
    """What can be seen to be wrong with a file of weights for a base without building it, None for nothing.

    Loads no TensorFlow. A file that passes may still be refused when it is loaded, by the first layer that differs.
    """
    try:
        state = path.stat()
        shapes = _shapes_in(path, state.st_size, state.st_mtime_ns)
    except UNREADABLE as error:
        return _unreadable(path, error)
    outline = part.details["outline"]
    if outline is None:
        return None
    expected = outline(parameters)
    missing = [shape for shape in expected.shapes if shape not in shapes]
    numbers = sum(map(math.prod, shapes))
    if missing:
        what = f"it has no weights of shape {missing[0]}"
    elif expected.numbers and (numbers < expected.numbers or (numbers > expected.numbers and not _is_whole(path))):
        what = f"expected {expected.numbers:,} numbers, found {numbers:,}"
    else:
        return None
    return _misfit(part, path, parameters, what, _width(part, parameters, shapes) or _OF_THIS_BASE)


@functools.lru_cache(8)
def _shapes_in(path: Path, size: int, changed: int) -> list[tuple[int, ...]]:
    """The same of a file's path: it is looked at once as long as it has this size, and was last changed then."""
    with _hdf5(path) as (file, _):
        return _shapes(file)


def _shapes(file: h5py.File) -> list[tuple[int, ...]]:
    """Shapes of all weights in a file of either format, without an optimizer's."""
    return [array.shape for array in _arrays(file.get("model_weights") or file.get("layers") or file)]


def _is_whole(path: Path) -> bool:
    """Whether a file is a whole model's, which has a head beside the base."""
    return zipfile.is_zipfile(path)


def _width(part: Part, parameters: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> str:
    """The override that makes a base of a width as wide as a file's; empty if none of the usual ones does."""
    outline = part.details["outline"]
    if outline is None or "alpha" not in parameters:
        return ""
    fitting = (alpha for alpha in ALPHAS if set(outline({**parameters, "alpha": alpha}).shapes) <= set(shapes))
    alpha = next(fitting, None)
    return "" if alpha in (None, parameters["alpha"]) else f"model.alpha={alpha}"


def _misfit(part: Part, path: Path, parameters: Mapping[str, Any], what: str, right: str) -> Problem:
    values = ", ".join(f"{key}={show(value)}" for key, value in parameters.items())
    owner = f"'{part.name}'" + (f" with {values}" if values else "")
    return Problem(f"weights file {shown(path)} does not fit {owner}: {what}", WHERE, right)


def _unreadable(path: Path, error: Exception) -> Problem:
    return Problem(
        f"weights file {shown(path)} can't be read: it is truncated, or no weights file of Keras ({error})",
        WHERE,
        "a whole .h5, .weights.h5 or .keras file; what Keras downloaded comes anew once it is deleted",
    )


def load(base: keras.Model, part: Part, weights: str | None, size: Size, parameters: Mapping[str, Any]) -> None:
    """Read weights into ``base``, a model from images to what the base gives; the rest is as for ``find``.

    Raises:
        BadInput: the weights can't be had, the file can't be read, or it is not one of this base.
    """
    path = find(part, weights, size, parameters)
    if isinstance(path, Problem):
        raise BadInput(path)
    if path is None:
        return
    if weights == PRESET:
        hub_weights.load(base.get_layer(presets.LAYER), part, parameters)
        return
    assert isinstance(path, Path)
    if weights == IMAGENET:
        _download(part, path, size, parameters)
    layers = [layer for layer in base.layers if layer.weights]
    try:
        with _hdf5(path) as (file, readable):
            older = _listed(file)
            found = older or _keyed(file, base.layers, whole_model=_is_whole(path))
            problem = _difference([_Stored(layer.name, _weights(layer)) for layer in layers], found)
            if problem:
                what, right = problem
                raise BadInput(_misfit(part, path, parameters, what, _width(part, parameters, _shapes(file)) or right))
            if older:
                for layer, stored in zip(layers, older, strict=True):
                    for variable, value in zip(_weights(layer), stored.weights, strict=True):
                        variable.assign(value[()])
                    if isinstance(layer, keras.layers.Normalization):
                        layer.finalize_state()
            else:
                base.load_weights(readable)
    except UNREADABLE as error:
        raise BadInput(_unreadable(path, error)) from error
    refuse_not_numbers(base, path, WHERE)


@functools.cache
def _reachable(host: str | None = None) -> bool:
    """Whether a host, or the one that Keras downloads from, answers within three seconds, through a proxy if one is set."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            # an answer that refuses this address is one too
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(host or HOST, method="HEAD"), timeout=3).close()
            answered.set()

    # in a thread, since urlopen's timeout does not cover looking up the host's name
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(3)
    return answered.is_set()


def _missing(part: Part, path: Path, why: str) -> Problem:
    return Problem(
        f"the ImageNet weights of '{part.name}' are not on this machine and can't be downloaded: {why}",
        WHERE,
        f"put {path.name} into {path.parent}, or {WHERE}=<file>, or {WHERE}=null to train from scratch",
    )


def _download(part: Part, path: Path, size: Size, parameters: Mapping[str, Any]) -> None:
    """Have Keras download the file to its cache and check its hash, unless it is there; one process at a time."""
    lock = path.with_name(f".{path.name}.lock")
    # where there is a lock file, another process may still be writing the weights
    if path.is_file() and not lock.exists():
        return
    try:
        with locked(lock, lambda: console.say(f"Waiting for another process to download {path.name}")):
            if not path.is_file():
                # Keras reports progress on standard output, which is for results
                with contextlib.redirect_stdout(sys.stderr):
                    application(part.name)(include_top=False, weights=IMAGENET, input_shape=(*size, 3), **parameters)
    # Keras raises a bare Exception where the network fails
    except Exception as error:
        raise BadInput(_missing(part, path, str(error))) from error


class _Stored(NamedTuple):
    """A layer's name and its weights, each an array of known shape."""

    name: str
    weights: Sequence[Any]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return sorted(tuple(weight.shape) for weight in self.weights)

    def __str__(self) -> str:
        return f"{self.name} {listing([str(shape) for shape in self.shapes], 4) or 'without weights'}"


@contextlib.contextmanager
def _hdf5(path: Path) -> Iterator[tuple[h5py.File, Path]]:
    """The open HDF5 file, for a ``.keras`` file the one inside it, and its path under a name that Keras loads."""
    import h5py

    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")  # a pipe might never have another end
    with tempfile.TemporaryDirectory() as folder:
        readable = Path(folder, "model.weights.h5")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                refuse_bomb(archive, [readable.name])
                archive.extract(readable.name, folder)
        else:
            try:
                readable.symlink_to(path.resolve())
            except OSError:  # Windows allows links to few
                shutil.copyfile(path, readable)
        with h5py.File(readable) as file:
            check_arrays(file)
            yield file, readable


def _weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """A layer's weights in the order of the older format."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _listed(file: h5py.File) -> list[_Stored]:
    """Layers with weights in the older format, which lists them in the order of the model; none in the newer one."""
    group = file.get("model_weights", file)
    layers = [
        _Stored(name, [group[name][weight] for weight in _attribute(group[name], "weight_names")])
        for name in _attribute(group, "layer_names")
    ]
    return [layer for layer in layers if layer.weights]


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of texts, which is in parts ``name0``, ``name1``, … where it is too long for one attribute."""
    parts = [name] if name in group.attrs else [f"{name}{index}" for index in range(len(group.attrs))]
    return [
        text.decode() if isinstance(text, bytes) else text
        for part in parts
        if part in group.attrs
        for text in group.attrs[part]
    ]


def _keyed(file: h5py.File, layers: Sequence[keras.layers.Layer], whole_model: bool) -> list[_Stored]:
    """The same in the newer format, which keys layers by their class and its count: ``conv2d``, ``conv2d_1``, …

    Layers that are in the file alone come last; those of a whole model are its head and are left out.
    """
    stored = dict(file["layers"])
    found = []
    counts: dict[str, int] = {}
    for layer in layers:
        kind = saved_kind(layer)
        count = counts[kind] = counts.get(kind, -1) + 1
        key = f"{kind}_{count}" if count else kind
        weights = _arrays(stored.pop(key)) if key in stored else []
        if layer.weights:
            found.append(_Stored(key, weights))
    rest = [] if whole_model else [_Stored(key, _arrays(group)) for key, group in stored.items()]
    return found + [layer for layer in rest if layer.weights]


def _arrays(group: h5py.Group) -> list[h5py.Dataset]:
    """Every weight of a layer and of the layers in it, but not the state of random generators."""
    import h5py

    arrays: list[h5py.Dataset] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not is_random_state(name):
            arrays.append(item)

    group.visititems(visit)
    return arrays


def _difference(expected: Sequence[_Stored], found: Sequence[_Stored]) -> tuple[str, str] | None:
    """What differs in the first layer that does, and what would be right; None where all fit."""
    for wanted, given in zip_longest(expected, found):
        if wanted is None:
            return (
                f"expected {len(expected)} layers with weights, found more, first {given}",
                "a file without top, as Keras publishes with 'notop' in its name, or a whole model as .keras",
            )
        if given is None or wanted.shapes != given.shapes:
            return (
                f"expected {wanted}, found {given or 'nothing more'}",
                _OF_THIS_BASE,
            )
    return None

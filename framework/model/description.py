"""What a model's file says of itself, read as data: nothing in it is run, and a file that would run code is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.core.errors import BadInput, Problem, nearest
from framework.core.geometry import Channels
from framework.model.foreign import (
    CONFIG,
    UNREADABLE,
    check_arrays,
    more_than_data,
    nodes_of,
    open_archive,
    read_config,
    weights_in,
)

ENDINGS = {".keras": b"PK\x03\x04", ".h5": b"\x89HDF", ".hdf5": b"\x89HDF"}
MOST_PIXELS = 2**27  # of an image
_FORMATS = "a whole model in a .keras or .h5 file"


@dataclass(frozen=True)
class Description:
    """What a model's file says, each None where it does not.

    Attributes:
        size: height and width in pixels of the images it takes.
        channels: of those images, 3 or 1.
        name: of the model.
        units: how many numbers it gives an image.
        activation: of its last layer.
    """

    size: tuple[int, int] | None
    channels: Channels
    name: str | None
    units: int | None
    activation: str | None


def describe(file: Path) -> Description:
    """What a model's file says of it; nothing in it is run.

    Raises:
        BadInput: it is no model file of Keras, or one that runs code when it is opened.
    """
    if not file.is_file():
        near = nearest(file.name, [entry.name for entry in file.parent.iterdir()]) if file.parent.is_dir() else None
        raise BadInput(
            Problem(f"there is no file {file}", "command line", str(file.parent / near) if near else "a model")
        )
    with open(file, "rb") as opened:
        start = opened.read(4)
    if start[:1] == b"\x80":
        raise BadInput(Problem(f"{file} is a pickle: opening it would run what it holds", str(file), _FORMATS))
    if not start.startswith(ENDINGS.get(file.suffix.lower(), b"none")):
        raise BadInput(Problem(f"{file} is not a model file of Keras", str(file), _FORMATS))
    try:
        config = _read_zip(file) if file.suffix.lower() == ".keras" else _read_hdf5(file)
    except UNREADABLE as error:
        raise BadInput(Problem(f"{file} can't be read as a whole model: {error}", str(file), _FORMATS)) from None
    if why := more_than_data(config):
        raise BadInput(
            Problem(f"{file} {why}: it is not opened", str(file), "a model of layers of Keras, or of a recipe")
        )
    size, _ = images = _images(list(nodes_of(config)))
    if size is not None and not 0 < size[0] * size[1] <= MOST_PIXELS:
        what = f"{file} takes images of {size[0]:,}×{size[1]:,} pixels, which no photo has"
        raise BadInput(Problem(what, str(file), _FORMATS))
    return Description(*images, _name(config), *_last_layer(config))


def _read_zip(file: Path) -> Any:
    with open_archive(file) as archive:
        config = read_config(archive.read(CONFIG))
        with weights_in(archive, file):  # which are looked at
            return config


def _read_hdf5(file: Path) -> Any:
    import h5py

    with h5py.File(file, "r") as opened:
        if "model_config" not in opened.attrs:
            raise ValueError("it holds weights only")
        check_arrays(opened)
        return read_config(opened.attrs["model_config"])


def _images(nodes: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, int] | None, Channels]:
    """Sides, None where they are free, and channels from the first shape (batch, height, width, 3 or 1) that an input
    layer states."""
    for node in reversed(nodes):  # the walk is depth first from the end
        config = node.get("config")
        shape = config.get("batch_shape", config.get("batch_input_shape")) if isinstance(config, dict) else None
        if isinstance(shape, list) and len(shape) == 4 and shape[3] in (1, 3):
            sides = (shape[1], shape[2]) if isinstance(shape[1], int) and isinstance(shape[2], int) else None
            return sides, shape[3]
    return None, 3


def _name(config: Any) -> str | None:
    inner = config.get("config") if isinstance(config, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def _last_layer(config: Any) -> tuple[int | None, str | None]:
    """Units and activation of a model's last layer, each None where it does not say."""
    inner = config.get("config") if isinstance(config, dict) else None
    last: Any = config
    while isinstance(inner, dict) and isinstance(layers := inner.get("layers"), list):
        last = layers[-1] if layers and isinstance(layers[-1], dict) else {}
        inner = last.get("config")
    if not isinstance(inner, dict) or last is config:
        return None, None
    activation = "softmax" if last.get("class_name") == "Softmax" else inner.get("activation")
    units = inner.get("units")
    return (units if isinstance(units, int) else None), (activation if isinstance(activation, str) else None)

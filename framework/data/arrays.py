"""Images that a program has in memory, laid down as files by their contents: from there on they are images as any other.

So all that holds for files holds for them: features are kept by contents, a run can be gone on with and evaluated by
another process, each image can be looked at. PNG loses nothing. Floating-point pixels are rounded to whole ones, as
files have them.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.console import progress, say
from framework.core.errors import BadInput, Problem, listing
from framework.core.files import cache_folder, locked, whole, write_whole
from framework.core.task import Labels
from framework.data.fingerprint import digest

WHERE = "data"
SEPARATOR = "|"
_RANGE = "pixels of 0 to 255"


@dataclass(frozen=True)
class LaidDown:
    """A CSV file of images that were laid down, and how it is to be read: keys of the source ``csv``.

    ``classes`` is the order of the classes, None where that of their names is the right one.
    """

    file: Path
    columns: Mapping[str, Any]
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Kept:
    """Images that were laid down as one set of data.

    Attributes:
        key: name of their list, without its ending.
        images: how many.
        bytes: of their files; some may belong to another set too.
        last_used: when they were given last, in seconds since the epoch.
    """

    key: str
    images: int
    bytes: int
    last_used: float


def arrays_folder() -> Path:
    """Where such images are kept: in the user's cache folder, each once, whichever data set it belongs to."""
    return cache_folder() / "arrays"


def lay_down(splits: Mapping[str, Any], labels: Labels = "classes", names: Sequence[str] | None = None) -> LaidDown:
    """Write what is not there yet, and the list of all.

    Args:
        splits: by name, ``train`` alone or with ``validation``: each ``(images, labels)``, or a ``tf.data.Dataset`` of
            such pairs, single or in batches, that ends. Images are uint8, or numbers of 0 to 255 that are rounded:
            (images, height, width, 3), (images, height, width) or (images, height, width, 1) for grey, or a list of
            images of any sizes. Labels are whole numbers or texts (images,); a row of 0 and 1 for each image, of several
            labels if not each has just one; or numbers (images,) or (images, columns).
        labels: what the task asks for: ``classes`` or ``numbers``.
        names: of the classes, in the order of their numbers, or of the columns of numbers; None calls classes by their
            numbers, and columns ``value``, or ``value_0`` and so on.

    Raises:
        BadInput: images or labels are not of these forms.
    """
    with _alone(arrays_folder()):
        return _laid_down(splits, labels, names)


def listing_of_kept() -> list[Kept]:
    """Every set of data that was laid down, the last used first."""
    found = []
    for file in arrays_folder().glob("*.csv"):
        images = _named(file)
        size = sum(path.stat().st_size for path in images if path.exists())
        found.append(Kept(file.stem, len(images), size, file.stat().st_mtime))
    return sorted(found, key=lambda one: one.last_used, reverse=True)


def clear(keys: Sequence[str] | None = None) -> int:
    """Remove sets of data, all or those of these keys, and the images that no other set has; returns bytes freed."""
    folder = arrays_folder()
    if not folder.is_dir():
        return 0
    with _alone(folder):
        for file in folder.glob("*.csv"):
            if keys is None or file.stem in keys:
                file.unlink()
        needed = {path for file in folder.glob("*.csv") for path in _named(file)}
        freed = 0
        for path in set(folder.glob("*/*.png")) - needed:
            freed += path.stat().st_size
            path.unlink()
    return freed


def _named(file: Path) -> set[Path]:
    """The images in a list of laid down ones."""
    with open(file, encoding="utf-8", newline="") as lines:
        return {file.parent / row["path"] for row in csv.DictReader(lines)}


def _alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """While entered, no other process lays down or clears images."""
    return locked(folder / "arrays.lock", lambda: say("Another process lays down images: waiting."))


def _laid_down(splits: Mapping[str, Any], labels: Labels, names: Sequence[str] | None) -> LaidDown:
    paths: list[str] = []
    given: list[Any] = []
    in_split: list[str] = []
    folder = arrays_folder()
    for split, data in splits.items():
        pairs, count = _pairs(data)
        with progress("Laying down images", count, "images") as advance:
            for image, label in pairs:
                paths.append(str(_lay_down(_pixels(image, len(paths)), folder).relative_to(folder)))
                given.append(label)
                in_split.append(split)
                advance(1)
        if split not in in_split:
            raise BadInput(Problem(f"{split} has no images", WHERE, "images with their labels"))
    columns, texts, order = (_numbers if labels == "numbers" else _classes)(given, names)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", *columns["header"], "split"])
    rows.writerows([path, *cells, split] for path, cells, split in zip(paths, texts, in_split, strict=True))
    file = folder / f"{digest(text.getvalue().encode())}.csv"
    if not file.exists():
        if hasattr(os, "sync"):
            os.sync()  # a list is there once its images are; to wait for each by itself takes far longer
        write_whole(file, text.getvalue())
    os.utime(file)
    several = len(splits) > 1
    return LaidDown(file, {**columns["read"], "split_column": "split" if several else None}, order)


def lay_down_images(images: Iterable[np.ndarray], folder: Path) -> list[str]:
    """Files of these images, in their order, in a folder; images as for ``lay_down``.

    Raises:
        BadInput: one is no image.
    """
    return [str(_lay_down(_pixels(image, number), folder)) for number, image in enumerate(images)]


def _pairs(data: Any) -> tuple[Iterator[tuple[np.ndarray, Any]], int | None]:
    """Images with their labels one by one, and how many there are if that is known."""
    if hasattr(data, "element_spec"):
        return _of_dataset(data), None
    if not isinstance(data, tuple | list) or len(data) != 2:
        what = f"{type(data).__name__} is no data: (images, labels), or a tf.data.Dataset of such pairs"
        raise BadInput(Problem(what, WHERE, "data=(images, labels)"))
    images, labels = data
    if not isinstance(images, Sized) or not isinstance(labels, Sized):
        raise BadInput(Problem("images and labels must have a length", WHERE, "arrays, lists, or a tf.data.Dataset"))
    if len(images) != len(labels):
        what = f"there are {len(images):,} images and {len(labels):,} labels"
        raise BadInput(Problem(what, WHERE, "a label for each image"))
    return zip(images, np.asarray(labels), strict=True), len(images)  # type: ignore[call-overload]


def _of_dataset(dataset: Any) -> Iterator[tuple[np.ndarray, Any]]:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        right = "dataset.map(lambda ...: (image, label))"
        raise BadInput(Problem("the dataset's elements are no pairs of image and label", WHERE, right))
    if int(dataset.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise BadInput(Problem("the dataset has no end", WHERE, "without repeat(): epochs are the training's own"))
    if spec[0].shape.rank not in (3, 4):
        what = f"the dataset's images have shape {spec[0].shape}"
        raise BadInput(Problem(what, WHERE, "(height, width, 3), or batches (batch, height, width, 3)"))
    batched = spec[0].shape.rank == 4
    for images, labels in dataset.as_numpy_iterator():
        yield from zip(images, labels, strict=True) if batched else [(images, labels)]


def _pixels(image: Any, number: int) -> np.ndarray:
    """An image as uint8 (height, width) or (height, width, 3).

    Raises:
        BadInput: it is none.
    """
    found = np.asarray(image)
    if found.ndim == 3 and found.shape[-1] == 1:
        found = found[..., 0]
    if not (found.ndim == 2 or (found.ndim == 3 and found.shape[-1] == 3)) or not found.size:
        what = f"image {number} has shape {np.shape(image)}"
        raise BadInput(Problem(what, WHERE, "(height, width, 3) of RGB, or (height, width) of grey"))
    if found.dtype == np.uint8:
        return found
    if found.dtype.kind not in "uif":
        raise BadInput(Problem(f"image {number} is of {found.dtype}", WHERE, f"uint8, or {_RANGE}"))
    low, high = float(found.min()), float(found.max())
    if not (low >= 0 and high <= 255):
        raise BadInput(Problem(f"image {number} has pixels of {low:g} to {high:g}", WHERE, _RANGE))
    if found.dtype.kind == "f" and 0 < high <= 1:
        raise BadInput(Problem(f"image {number} has pixels of 0 to 1", WHERE, "255 times that: what is raw goes in"))
    return np.rint(found).astype(np.uint8)


def _lay_down(pixels: np.ndarray, folder: Path) -> Path:
    """The file of an image, written if it is not there."""
    from PIL import Image

    name = digest(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
    file = folder / name[:2] / f"{name}.png"
    if not file.exists():
        with whole(file, durable=False) as beside:
            Image.fromarray(pixels).save(beside, "PNG", compress_level=1)
    return file


_Read = tuple[dict[str, Any], list[list[str]], tuple[str, ...] | None]


def _numbers(labels: Sequence[Any], names: Sequence[str] | None) -> _Read:
    """Columns, and the cells of each image."""
    found = np.asarray(labels)
    if found.dtype.kind not in "uifb" or found.ndim > 2:
        raise BadInput(Problem("the labels are no numbers, and the task asks for numbers", WHERE, "a number an image"))
    table = found.reshape(len(found), -1).astype(np.float32)
    usual = ["value"] if table.shape[1] == 1 else [f"value_{place}" for place in range(table.shape[1])]
    columns = list(names or usual)
    if len(columns) != table.shape[1]:
        what = f"there are {len(columns)} names for {table.shape[1]} numbers an image"
        raise BadInput(Problem(what, "names", "a name for each"))
    read = {"label_column": columns[0] if len(columns) == 1 else columns}
    return {"header": columns, "read": read}, [list(map(repr, row)) for row in table.tolist()], None


def _classes(labels: Sequence[Any], names: Sequence[str] | None) -> _Read:
    """The column, the cell of each image, and the order of the classes."""
    found = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    plain: dict[str, Any] = {"header": ["label"], "read": {"label_column": "label"}}
    if found.ndim == 2 and found.dtype.kind in "uifb" and np.isin(found, (0, 1)).all():
        called = _called(found.shape[1], names)
        if not (found.sum(axis=1) == 1).all():
            if joined := [name for name in called if SEPARATOR in name]:
                raise BadInput(
                    Problem(f"a name has the sign '{SEPARATOR}': {listing(joined)}", "names", "another sign")
                )
            cells = [SEPARATOR.join(called[place] for place in np.flatnonzero(row)) for row in found]
            return {**plain, "read": {**plain["read"], "separator": SEPARATOR}}, [[cell] for cell in cells], None
        found = found.argmax(axis=1)
    if found.ndim == 1 and found.dtype.kind in "US":
        return plain, [[os.fsdecode(text)] for text in found.tolist()], None if names is None else tuple(names)
    if found.ndim == 1 and found.dtype.kind == "O" and all(isinstance(text, str | bytes) for text in found):
        return plain, [[os.fsdecode(text)] for text in found], None if names is None else tuple(names)
    if found.ndim != 1 or not (
        found.dtype.kind in "uib" or (found.dtype.kind == "f" and (found == np.rint(found)).all())
    ):
        what = f"the labels are {found.dtype} of shape {found.shape}"
        right = "whole numbers or texts, one an image, or a row of 0 and 1; numbers to learn: task=regression"
        raise BadInput(Problem(what, WHERE, right))
    numbers = found.astype(np.int64)
    if numbers.min() < 0:
        raise BadInput(Problem(f"a label is {numbers.min()}", WHERE, "numbers of classes, from 0 on"))
    called = _called(int(numbers.max()) + 1, names)
    there = tuple(name for place, name in enumerate(called) if (numbers == place).any())
    order = None if names is None and list(there) == sorted(there) else (there if names is None else tuple(called))
    return plain, [[called[number]] for number in numbers], order


def _called(count: int, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return [str(number) for number in range(count)]
    if len(names) < count:
        raise BadInput(Problem(f"there are {len(names)} names for {count} classes", "names", "a name for each"))
    return list(map(str, names))

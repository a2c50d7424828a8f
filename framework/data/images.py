"""Labelled images as a source lists them: paths, labels and class names, without TensorFlow and without decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from framework.core.errors import Problem, listing
from framework.data import containers, folders
from framework.data.columns import counted
from framework.data.folders import Unused

if TYPE_CHECKING:
    from framework.data.embedded import Embedded


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        paths: of each image its file, or its reference in a container (``data.containers``); of very many in shards they are
            ``columns.ShardPaths``.
        labels: int32 of shape (images,), index into the classes, of very many images in shards as few bytes as hold it; or
            float32 of shape (images, classes), one where the label applies, for several labels an image; or float32 of that
            shape, numbers, a column each.
    """

    paths: Sequence[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Draw:
    """Splits that the data do not have, and that are to be taken out of ``train``.

    Attributes:
        shares: of the training images, by split.
        folder: who is taken depends on the images' paths from here on.
    """

    shares: Mapping[str, float]
    folder: str


@dataclass(frozen=True)
class Images:
    """All splits of a data set, by name: ``train``, ``validation``, and ``test`` where there is one.

    Attributes:
        classes: class names in the order of the labels, in Unicode's composed form; of numbers their columns' names.
        splits: images by split.
        multilabel: whether an image may have any number of labels.
        origin: what the banner calls the data, for instance its folder.
        unused: what lies beside the images and is not used, by kind.
        notes: what else there is to say of the data, a clause each.
        faults: what is wrong with the data where these classes are used (None: all), asked once that is known; a
            class that is left out is no fault of the others.
        numbers: whether labels are numbers and no classes.
        draw: splits that are still to be drawn; None where there are none, or a source draws them itself.
        column: of a source whose images stand in a table: the cells of a column by the images' paths, None of one that
            is not there.
        columns: their names.
        prepare: called once before the first image is read, for sources that make their files; None for others.
        features: that the data bring of each image in place of the images themselves, which need not be there; None for others.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    multilabel: bool
    origin: str
    unused: tuple[Unused, ...] = ()
    notes: tuple[str, ...] = ()
    faults: Callable[[Sequence[str] | None], list[Problem]] | None = None
    prepare: Callable[[], None] | None = None
    numbers: bool = False
    draw: Draw | None = None
    column: Callable[[str], Mapping[str, str] | None] | None = None
    columns: tuple[str, ...] = ()
    features: Embedded | None = None

    @property
    def root(self) -> str:
        """The folder that paths are told from: the data's, or that of the table that lists them."""
        return self.origin if containers.is_folder(self.origin) else os.path.dirname(self.origin)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split; one with several labels counts for each, one with numbers for none."""
        if self.numbers:
            return {name: {} for name in self.splits}
        counts = {}
        for name, split in self.splits.items():
            several = split.labels.ndim == 2
            found = split.labels.sum(axis=0) if several else counted(split.labels, len(self.classes))
            counts[name] = dict(zip(self.classes, map(int, found), strict=True))
        return counts

    def told(self) -> list[tuple[str, str]]:
        """What people should know of the data before it is used: a heading and a text each, nothing if all is plain."""
        absent = {split: [name for name, count in found.items() if not count] for split, found in self.counts().items()}
        missing = [f"there are no {split} images of {listing(names)}" for split, names in absent.items() if names]
        return folders.told(self.unused) + [("note", note) for note in (*self.notes, *missing)]


def to_draw(images: Images, folder: str, validation: float, test: float) -> Images:
    """The images with the splits to be drawn that are asked for and that they do not have; ``folder`` as in ``Draw``."""
    wanted = {"validation": validation, "test": test}
    shares = {split: share for split, share in wanted.items() if split not in images.splits}
    return replace(images, draw=Draw(shares, folder) if shares else None)

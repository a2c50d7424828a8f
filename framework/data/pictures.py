"""Labelled pictures as a source lists them: paths, labels and class names, without TensorFlow and without decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """The pictures of one split.

    Attributes:
        paths: one file a picture.
        labels: int32 of shape (pictures,), index into the classes; or float32 of shape (pictures, classes), one where
            the label applies, for several labels a picture.
    """

    paths: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Pictures:
    """All splits of a data set, by name: ``train``, ``validation``, and ``test`` where there is one.

    Attributes:
        classes: class names in the order of the labels.
        splits: pictures by split.
        multilabel: whether a picture may have any number of labels.
        origin: what the banner calls the data, for instance its folder.
        ignored: files found beside the pictures that are none, for whoever wants to name them.
        prepare: called once before the first picture is read, for sources that make their files; None for others.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    multilabel: bool
    origin: str
    ignored: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None

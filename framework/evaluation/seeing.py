"""Test-time augmentation: an image is seen several times, and the probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from framework.core.backend import tf
from framework.core.errors import BadInput, Problem
from framework.core.task import Classification, Task

Tta = Literal["none", "flip", "crops"]
CUT = 0.125  # share of each side that a crop leaves out


@dataclass(frozen=True)
class Views:
    """How an image is seen.

    ``flip`` is as it is and mirrored. ``crops`` are its four corners and its middle, each of 7/8 of both sides brought
    back to full size, as they are and mirrored: the ten of Krizhevsky et al., 2012,
    https://papers.nips.cc/paper/4824.
    """

    task: Classification
    kind: Tta

    @property
    def key(self) -> str:
        """All that decides what comes of it: another text if that changes."""
        return f"{self.kind} 1, {self.task.kind}"

    @property
    def count(self) -> int:
        """Views of an image."""
        return {"none": 1, "flip": 2, "crops": 10}[self.kind]

    def through(self, network: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        """Logits of the mean probabilities that a network gives for all views of images; arguments as for ``of``."""
        return self.mean(network(tf.concat(self.of(images), axis=0)), self.count)

    def of(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Views of a batch, float32 (batch, height, width, channels), each of that shape."""
        seen = [images]
        if self.kind == "crops":
            height, width = images.shape[1], images.shape[2]
            down, right = round(CUT * height), round(CUT * width)
            places = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
            parts = [images[:, top : top + height - down, left : left + width - right] for top, left in places]
            seen = [tf.image.resize(part, (height, width)) for part in parts]
        return [*seen, *(tf.reverse(one, [2]) for one in seen)]

    def mean(self, logits: tf.Tensor, count: int) -> tf.Tensor:
        """Logits of the mean probabilities, from those of all views, one view behind the other."""
        return self.task.mean(tf.split(logits, count), [1 / count] * count)


def views(task: Task, kind: Tta) -> Views | None:
    """The views that are asked for; None for the image as it is.

    Raises:
        BadInput: the answers are no probabilities.
    """
    if kind == "none":
        return None
    if not isinstance(task, Classification):
        what = "tta averages probabilities, and this model gives numbers"
        raise BadInput(Problem(what, f"command line: tta={kind}", "tta=none"))
    return Views(task, kind)

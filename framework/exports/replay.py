"""The gate: labelled images' files through the classifier and through ``call.py`` beside the exported file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.console import progress
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.task import Classification
from framework.evaluation.forward import batches, inference
from framework.evaluation.labelled import Labelled
from framework.exports.answering import Answer

TIMED, WARM = 20, 3


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        images: how many were replayed.
        before: share that the classifier answers right.
        after: share that the file answers right.
        agreement: share of images for which both give the same answer.
        difference: the largest absolute difference between two numbers of their answers.
        levels: the largest difference, of 255, between two pixels that the run and the script read of a file.
        before_ms: median milliseconds of one image through the classifier.
        after_ms: median milliseconds of one image through the file.
    """

    images: int
    before: float
    after: float
    agreement: float
    difference: float
    levels: int
    before_ms: float
    after_ms: float

    @property
    def drop(self) -> float:
        """Accuracy that is lost."""
        return self.before - self.after

    def record(self) -> dict[str, Any]:
        """For ``export.json``."""
        return {
            "images": self.images,
            "accuracy": {"before": self.before, "after": self.after},
            "agreement": self.agreement,
            "largest_difference": self.difference,
            "largest_difference_of_pixels": self.levels,
            "milliseconds_an_image": {"before": self.before_ms, "after": self.after_ms},
        }


def replay(
    model: keras.Model,
    script: Mapping[str, Any],
    task: Classification,
    answer: Answer,
    images: Labelled,
    most: int | None,
    size: tuple[int, int],
) -> Replay:
    """Hold a file against the classifier that it was made from.

    Args:
        model: from raw images to logits.
        script: what ``call.py`` defines: ``pixels`` reads a file, ``answer`` answers to that.
        task: what is asked.
        answer: what the file gives.
        images: labelled ones.
        most: replay so many at most, spread over all of them; None for all.
        size: height and width in pixels.

    Raises:
        BadInput: some images can't be read, and they are not to be skipped, or none can be.
        RunFailed: the script can't read what the classifier reads.
    """
    count = len(images.split)
    chosen = np.unique(np.linspace(0, count - 1, min(most or count, count)).astype(int))
    paths = [images.split.paths[place] for place in chosen]
    bad: list[tuple[str, str]] = []
    network = inference(model)
    logits: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    sample, levels = None, 0
    with progress("Replaying", len(paths), "images") as advance, ThreadPoolExecutor() as pool:
        for names, batch in batches(paths, size, 32, bad):
            logits.append(network(batch).numpy())
            read = _read(script, names, pool)
            theirs.append(np.stack([script["answer"](image) for image in read]))
            levels = max(levels, int(np.abs(np.stack(read) - batch.numpy().astype(int)).max()))
            sample = batch[:1].numpy()
            advance(len(names))
    if sample is None or (bad and not images.skip):
        lines = "".join(f"\n    {path}: {reason}" for path, reason in bad)
        what = f"{len(bad)} of {len(paths)} images can't be read:{lines}"
        raise BadInput(Problem(what, images.origin, "data.on_error=skip leaves them out"))
    unread = {path for path, _ in bad}
    labels = images.split.labels[[place for place in chosen if images.split.paths[place] not in unread]]
    ours, told = np.concatenate(logits), np.concatenate(theirs)
    shares = task.probabilities(ours)
    same_kind = ours if answer == "logits" else shares
    first = task.decided(shares)
    second = task.decided(task.probabilities(told) if answer == "logits" else told)
    return Replay(
        images=len(labels),
        before=float(np.mean(first == labels)),
        after=float(np.mean(second == labels)),
        agreement=float(np.mean(first == second)),
        difference=float(np.abs(same_kind - told).max()),
        levels=levels,
        before_ms=_median(lambda: network(sample).numpy()),
        after_ms=_median(lambda: script["answer"](sample[0])),
    )


def _read(script: Mapping[str, Any], names: Sequence[str], pool: ThreadPoolExecutor) -> list[np.ndarray]:
    try:
        return list(pool.map(script["pixels"], names))
    except Exception as error:
        raise RunFailed(f"call.py can't read an image that the run reads: {error}") from error


def _median(call: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    seconds = []
    for _ in range(WARM + TIMED):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[WARM:]))

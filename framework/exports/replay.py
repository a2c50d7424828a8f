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
from framework.core.geometry import Geometry
from framework.core.task import Classification, Regression, Task
from framework.data.containers import openable
from framework.evaluation.forward import batches, inference
from framework.evaluation.labelled import Labelled
from framework.exports.answering import Answer

TIMED, WARM = 20, 3
SAME = 1e-3


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        images: how many were replayed.
        score: what ``before`` and ``after`` are: accuracy, or mean absolute error.
        before: of the classifier's answers.
        after: of the file's.
        lost: what ``drop`` says, a clause.
        drop: accuracy that is lost, or how far numbers move on average, in deviations of the training images' own.
        agreement: share of images for which both give the same answer; of numbers the same but for rounding, that is
            less than ``SAME`` deviations apart.
        difference: the largest absolute difference between two numbers of their answers.
        levels: the largest difference, of 255, between two pixels that the run and the script read of a file.
        before_ms: median milliseconds of one image through the classifier.
        after_ms: median milliseconds of one image through the file.
    """

    images: int
    score: str
    before: float
    after: float
    lost: str
    drop: float
    agreement: float
    difference: float
    levels: int
    before_ms: float
    after_ms: float

    def record(self) -> dict[str, Any]:
        """For ``export.json``."""
        return {
            "images": self.images,
            self.score: {"before": self.before, "after": self.after},
            "agreement": self.agreement,
            "largest_difference": self.difference,
            "largest_difference_of_pixels": self.levels,
            "milliseconds_an_image": {"before": self.before_ms, "after": self.after_ms},
        }


def replay(
    model: keras.Model,
    script: Mapping[str, Any],
    task: Task,
    answer: Answer,
    images: Labelled,
    most: int | None,
    geometry: Geometry,
) -> Replay:
    """Hold a file against the classifier that it was made from.

    Args:
        model: from raw images to logits.
        script: what ``call.py`` defines: ``pixels`` reads a file, ``answer`` answers to that.
        task: what is asked.
        answer: what the file gives.
        images: labelled ones.
        most: replay so many at most, spread over all of them; None for all.
        geometry: of the images.

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
        for names, batch in batches(paths, geometry, 32, bad):
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
    if isinstance(task, Regression):
        compared = _numbers(task, labels, ours, told)
    else:
        assert isinstance(task, Classification)
        compared = _classes(task, labels, ours, told, answer)
    return Replay(
        images=len(labels),
        **compared,
        levels=levels,
        before_ms=_median(lambda: network(sample).numpy()),
        after_ms=_median(lambda: script["answer"](sample[0])),
    )


def _classes(task: Classification, labels: np.ndarray, ours: np.ndarray, told: np.ndarray, answer: Answer) -> Any:
    shares = task.probabilities(ours)
    same_kind = ours if answer == "logits" else shares
    first = task.decided(shares)
    second = task.decided(task.probabilities(told) if answer == "logits" else told)
    before, after = float(np.mean(first == labels)), float(np.mean(second == labels))
    return {
        "score": "accuracy",
        "before": before,
        "after": after,
        "lost": "accuracy falls",
        "drop": before - after,
        "agreement": float(np.mean(first == second)),
        "difference": float(np.abs(same_kind - told).max()),
    }


def _numbers(task: Regression, labels: np.ndarray, ours: np.ndarray, told: np.ndarray) -> Any:
    moved = np.abs(told.astype(np.float64) - ours) / task.deviation
    return {
        "score": "mean absolute error",
        "before": float(np.abs(ours - labels).mean()),
        "after": float(np.abs(told - labels).mean()),
        "lost": "numbers move on average",
        "drop": float(moved.mean()),
        "agreement": float((moved < SAME).all(axis=1).mean()),
        "difference": float(np.abs(told - ours).max()),
    }


def _read(script: Mapping[str, Any], names: Sequence[str], pool: ThreadPoolExecutor) -> list[np.ndarray]:
    try:
        return list(pool.map(lambda name: script["pixels"](openable(name)), names))
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

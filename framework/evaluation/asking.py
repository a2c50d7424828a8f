"""A trained classifier asked about labelled images: its answers, and the record of what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.console import progress, say, warn
from framework.core.errors import BadInput, Problem, RunFailed, listing, many
from framework.data.decode import told_depth
from framework.data.selection import left_out
from framework.evaluation import inputs
from framework.evaluation.familiar import Familiar
from framework.evaluation.forward import apart, forward
from framework.evaluation.given import Given, mean_loss
from framework.evaluation.kinds import EVALUATIONS
from framework.evaluation.labelled import Labelled
from framework.evaluation.measures import Answers, Unknown
from framework.evaluation.seeing import Views
from framework.model.saved import Trained


def answer(
    trained: Trained,
    model: keras.Model,
    images: Labelled,
    batch_size: int,
    seen: Views | None = None,
    far: Familiar | None = None,
) -> tuple[Given, dict[str, str]]:
    """The classifier's answers with progress, and the files that can't be read, each with the reason.

    Args:
        trained: the classifier.
        model: its network.
        images: what it is asked about.
        batch_size: images at once.
        seen: how each image is seen; None for once, as it is.
        far: what distances are to, of a classifier whose images have one answer each; None for no distance.

    Raises:
        BadInput: some can't be read and are not to be skipped, or none can be.
        RunFailed: the answers are no numbers.
    """
    bad: list[tuple[str, str]] = []
    paths, rows = _ask(trained, model, images.split.paths, batch_size, bad, seen, far)
    if bad and (not images.skip or not paths):
        lines = "".join(f"\n    {path}: {reason}" for path, reason in bad)
        what = f"{len(bad):,} of {many(len(images.split), 'image')} can't be read:{lines}"
        raise BadInput(Problem(what, images.origin, "data.on_error=skip leaves them out"))
    if bad:
        warn(f"{left_out(len(bad))}: {listing([path for path, _ in bad], 3)}")
    unread = dict(bad)
    kept = [place for place, path in enumerate(images.split.paths) if path not in unread]
    logits, distances = apart(rows, trained.task.units)
    made = EVALUATIONS[trained.task.asks].answers(trained.task, paths, images.split.labels[kept], logits)
    if far is not None:
        assert isinstance(made, Answers)
        made = replace(made, distances=distances)
    return made, unread


def of_unknown(
    trained: Trained,
    model: keras.Model,
    folder: str,
    batch_size: int,
    seen: Views | None = None,
    far: Familiar | None = None,
) -> Unknown:
    """What the classifier gives for images that show none of the classes: all in a folder and below.

    Raises:
        BadInput: none of them can be read.
        RunFailed: the answers are no numbers.
    """
    bad: list[tuple[str, str]] = []
    _, rows = _ask(trained, model, list(inputs.files([folder])), batch_size, bad, seen, far)
    if not len(rows):
        raise BadInput(Problem(f"no image in {folder} can be read", "command line: data.unknown"))
    if bad:
        warn(f"{left_out(len(bad))}: {listing([path for path, _ in bad], 3)}")
    return Unknown(*apart(rows, trained.task.units))


def _ask(
    trained: Trained,
    model: keras.Model,
    files: Sequence[str],
    batch_size: int,
    bad: list[tuple[str, str]],
    seen: Views | None,
    far: Familiar | None,
) -> tuple[list[str], np.ndarray]:
    """The files that can be read, and the row of each as ``forward`` gives it; the others are added to ``bad``."""
    deep: list[str] = []
    paths: list[str] = []
    rows = [np.zeros((0, trained.task.units + (far is not None)), np.float32)]
    with progress("Evaluating", len(files), "images") as advance:
        for names, batch in forward(model, files, trained.geometry, batch_size, bad, seen, deep, far):
            paths += names
            rows.append(batch)
            advance(len(names))
    if deep:
        say(f"note: {told_depth(len(deep))}")
    found = np.concatenate(rows)
    if strange := int((~np.isfinite(found)).any(axis=1).sum()):
        raise RunFailed(f"for {strange:,} of {many(len(paths), 'image')} the model's answer is no finite number")
    return paths, found


def measured(
    trained: Trained, images: Labelled, answers: Given, unreadable: Mapping[str, str], top: Sequence[int]
) -> dict[str, Any]:
    """The record of an evaluation, in plain values: which model, which images, every score; as ``metrics.json`` has it."""
    return {
        "model": trained.name,
        "data": images.origin,
        "name": images.name,
        **({"temperature": trained.temperature} if trained.temperature is not None else {}),
        **EVALUATIONS[trained.task.asks].measure(answers, mean_loss(trained, answers), top),
        "unreadable": unreadable,
    }

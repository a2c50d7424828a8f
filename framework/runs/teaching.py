"""Whether the run that ``distill.from`` names can teach; known without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from framework.config.documents import shipped
from framework.config.settings import Settings
from framework.core.errors import BadInput, Problem, listing
from framework.core.schema import show
from framework.core.task import Classification, Task
from framework.model.saved import Trained, open_run

WHERE = "distill.from"


def teacher(settings: Settings, task: Task | None) -> tuple[Trained | None, list[Problem]]:
    """The classifier that a run learns from, None without one, and what is wrong with it.

    Args:
        settings: of the run.
        task: that it asks; None where that is not known.
    """
    named = settings.distill.from_
    if named is None:
        return None, list(_idle(settings))
    if task is None:
        return None, []
    try:
        # in full, so that it is no word for the latest run, which this one will be
        found = open_run(os.path.abspath(named))
    except BadInput as error:
        return None, [replace(one, where=WHERE, right=_right(one.right)) for one in error.problems]
    return found, list(_faults(settings, task, found))


def _idle(settings: Settings) -> Iterator[Problem]:
    for key in ("temperature", "weight"):
        value = getattr(settings.distill, key)
        if value != shipped("distill")[key]:
            what = f"distill.{key}={show(value)} changes nothing: none teaches"
            yield Problem(what, f"distill.{key}", f"{WHERE}=RUN")


def _right(text: str) -> str:
    """Advice for a command's ``run=`` as advice for this key."""
    return text.replace("run=latest", "the folder of a finished run").replace("run=", f"{WHERE}=")


def _faults(settings: Settings, task: Task, found: Trained) -> Iterator[Problem]:
    if not isinstance(task, Classification):
        yield Problem(f"{WHERE}: a teacher softens classes, and the labels are numbers", WHERE, "null")
    elif found.task.kind != task.kind:
        what = f"the teacher {found.name} answers a {found.task.kind} question, and the data ask a {task.kind} one"
        yield Problem(what, WHERE, f"a run of the same task ({task.counted})")
    elif found.task.classes != task.classes:
        known, same = found.task.classes, sorted(found.task.classes) == sorted(task.classes)
        what = f"the teacher {found.name} knows {'the classes in another order' if same else 'other classes'}"
        right = f"data.classes=[{','.join(known)}]" if same else f"a run that was trained on {listing(task.classes)}"
        yield Problem(f"{what}: {listing(known)}", WHERE, right)
    if all(map(settings.fits, settings.stages.values())):
        what = f"{WHERE} changes nothing: head '{settings.head.name}' is fitted to labels, without a loss"
        yield Problem(what, WHERE, "a head that is trained")
    for place, name in settings.blending.items():
        what = f"augmentation '{name}' blends images, and the teacher is asked about each by itself"
        yield Problem(what, place, f"leave '{name}' out, or no {WHERE}")

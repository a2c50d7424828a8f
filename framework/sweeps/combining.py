"""Several runs as one model: an ensemble, the mean of their probabilities, or a soup, the mean of their weights.

Which runs take part is chosen greedily on the validation images that all of them were measured on: from the best run on,
what makes the whole best joins. Sources: Caruana et al., 2004, https://doi.org/10.1145/1015330.1015432 (ensembles, a run may
join more than once); Wortsman et al., 2022, https://arxiv.org/abs/2203.05482 (greedy soups).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from framework.core.backend import keras, tf
from framework.core.better import Yardstick
from framework.core.console import progress
from framework.core.digits import is_number
from framework.core.errors import BadInput, Problem, listing, many
from framework.core.keras_hub_private import config_of
from framework.core.runs import KeptLogits, RunFolder
from framework.core.task import Classification
from framework.evaluation.forward import batches
from framework.model.saved import Trained, open_run
from framework.reports.comparison import Comparison
from framework.reports.entries import Entry

Method = Literal["ensemble", "soup"]
HELD = 1 << 30  # bytes of decoded images that are held for a soup's passes
BATCH = 64


@dataclass(frozen=True)
class Member:
    """A run that may take part.

    Attributes:
        entry: the run, as reports read it.
        trained: its model, not loaded.
        kept: what it gave for the validation images.
        score: its value of the column that runs are judged by.
    """

    entry: Entry
    trained: Trained
    kept: KeptLogits
    score: float

    @property
    def task(self) -> Classification:
        """What was asked."""
        assert isinstance(self.trained.task, Classification)
        return self.trained.task


@dataclass(frozen=True)
class Step:
    """One more member: which, by its place among the candidates, and what all up to it are worth together."""

    place: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Combination:
    """What was chosen.

    Attributes:
        method: how they are combined.
        steps: the members in the order in which they joined, the best run first.
        logits: of all together on the validation images, float32 (images, units).
        model: from raw images, as every run's.
        members: the runs and the share of each, of the sum 1.
    """

    method: Method
    steps: tuple[Step, ...]
    logits: np.ndarray
    model: keras.Model
    members: tuple[tuple[Member, float], ...]


def candidates(comparison: Comparison) -> tuple[list[Member], dict[str, str]]:
    """Runs that can be combined, the best first; and those that can't, each with the reason.

    Raises:
        BadInput: there are not two.
    """
    yardstick, left_out = comparison.yardstick, {}
    found: list[Member] = []
    scored = [entry for entry in comparison.entries if is_number(entry.best.get(yardstick.column))]
    ranked = sorted(scored, key=lambda entry: yardstick.order(entry.best[yardstick.column]))
    for entry in ranked:
        if entry.status != "finished":
            left_out[entry.name] = f"it is {entry.status}"
            continue
        try:
            trained = open_run(str(entry.folder))
            kept = RunFolder(entry.folder).read_logits()
        except BadInput as error:
            left_out[entry.name] = error.problems[0].what
            continue
        if not isinstance(trained.task, Classification):
            raise BadInput(Problem("numbers are not combined, classes are", str(entry.folder), "runs of classes"))
        member = Member(entry, trained, kept, entry.best[yardstick.column])
        if found and (why := _unlike(found[0], member)):
            left_out[entry.name] = why
        else:
            found.append(member)
    if len(found) < 2:
        why = "".join(f"\n  {name}: {reason}" for name, reason in left_out.items())
        what = f"there are no two finished runs to combine, but {len(found)}{why}"
        raise BadInput(Problem(what, comparison.name, "a sweep, or runs=[RUN,OTHER], measured on the same images"))
    return found, left_out


def _unlike(first: Member, other: Member) -> str:
    """Why a run can't be combined with the best one; empty if it can."""
    if other.task != first.task:
        return "it has other classes"
    if other.trained.geometry != first.trained.geometry:
        return f"its images are {other.trained.geometry.told}, the best run's {first.trained.geometry.told}"
    if other.kept.images != first.kept.images or not np.array_equal(other.kept.labels, first.kept.labels):
        return "it was measured on other images"
    if other.entry.run.get("recipe") != first.entry.run.get("recipe"):
        return "it is of another recipe, whose parts are its own"
    return ""


def combine(
    members: Sequence[Member], method: Method, yardstick: Yardstick, most: int, paths: Sequence[str]
) -> Combination:
    """Choose and combine.

    Args:
        members: the best first.
        method: how.
        yardstick: of the runs: where it is a loss, the loss decides, else accuracy, and of equals the loss.
        most: members at most, one that counts twice as two.
        paths: of the validation images, which a soup is tried on.

    Raises:
        BadInput: for a soup no other run has the best one's network.
    """
    by_loss = yardstick.column.endswith("loss")
    if method == "ensemble":
        steps = _ensemble(members, by_loss, most)
        counts = Counter(step.place for step in steps)
        chosen = tuple((members[place], count / len(steps)) for place, count in counts.items())
        logits = mixed(chosen)
        return Combination(method, steps, logits, one_model(chosen), chosen)
    return _soup(members, by_loss, most, paths)


def mixed(chosen: Sequence[tuple[Member, float]]) -> np.ndarray:
    """Logits of the mean probabilities on the validation images, float32 (images, units)."""
    task = chosen[0][0].task
    logits = [member.kept.logits.astype(np.float32) for member, _ in chosen]
    return np.asarray(task.mean(logits, [share for _, share in chosen]), np.float32)


def quality(task: Classification, shares: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Accuracy, of several labels an image each counted, and mean negative log-likelihood of probabilities."""
    right = float((task.decided(shares) == labels).mean())
    own = np.where(labels == 1, shares, 1 - shares) if task.several else shares[np.arange(len(labels)), labels]
    return right, float(-np.log(np.maximum(own, 1e-12)).mean())


def _worth(accuracy: float, loss: float, by_loss: bool) -> tuple[float, ...]:
    return (-loss,) if by_loss else (accuracy, -loss)


def _ensemble(members: Sequence[Member], by_loss: bool, most: int) -> tuple[Step, ...]:
    task, labels = members[0].task, members[0].kept.labels
    shares = [task.probabilities(member.kept.logits) for member in members]
    whole, steps = shares[0], [Step(0, *quality(task, shares[0], labels))]
    while len(steps) < most:
        count = len(steps)
        tried = [Step(place, *quality(task, (whole + one) / (count + 1), labels)) for place, one in enumerate(shares)]
        steps.append(max(tried, key=lambda step: _worth(step.accuracy, step.loss, by_loss)))
        whole = whole + shares[steps[-1].place]
    # a step that makes nothing better may lead to one that does: the best of all beginnings counts, of equals the shortest
    best = max(steps, key=lambda step: _worth(step.accuracy, step.loss, by_loss))
    return tuple(steps[: steps.index(best) + 1])


def one_model(chosen: Sequence[tuple[Member, float]]) -> keras.Model:
    """A flat model of all of them: what each command does with a run's model it can do with this one."""
    first = chosen[0][0].trained
    models = [member.trained.load() for member, _ in chosen]
    if len(models) == 1:
        return models[0]
    images = keras.Input(first.geometry.shape, dtype="float32", name="image")
    # call, not __call__: the layers are applied one by one and stay layers of the new model
    logits = [
        keras.ops.cast(renamed(model, f"member{number}_").call(images), "float32")
        for number, model in enumerate(models, start=1)
    ]
    mean = chosen[0][0].task.mean(logits, [share for _, share in chosen])
    return keras.Model(images, mean, name=first.geometry.model_name)


def renamed(model: keras.Model, prefix: str) -> keras.Model:
    """A copy with its weights whose layers and operations have this before their names."""

    def copy(layer: Any) -> Any:
        return type(layer).from_config({**config_of(layer), "name": f"{prefix}{layer.name}"})

    made = keras.models.clone_model(model, clone_function=copy)
    made.set_weights(model.get_weights())
    return made


def _soup(members: Sequence[Member], by_loss: bool, most: int, paths: Sequence[str]) -> Combination:
    task, labels = members[0].task, members[0].kept.labels
    model = members[0].trained.load()
    outline, alike = _outline(model), 0
    ask = _passes(model, paths, members[0].trained)
    logits = ask()
    steps = [Step(0, *quality(task, task.probabilities(logits), labels))]
    kept = [weight.astype(np.float64) for weight in model.get_weights()]
    with progress("Trying", len(members) - 1, "runs") as advance:
        for place, member in enumerate(members[1:], start=1):
            advance(1)
            other, count = member.trained.load(), len(steps)
            if _outline(other) != outline or count == most:
                continue
            alike += 1
            tried = [
                (mine * count + weight) / (count + 1) for mine, weight in zip(kept, other.get_weights(), strict=True)
            ]
            model.set_weights(tried)
            found = ask()
            step = Step(place, *quality(task, task.probabilities(found), labels))
            if _worth(step.accuracy, step.loss, by_loss) > _worth(steps[-1].accuracy, steps[-1].loss, by_loss):
                steps.append(step)
                kept, logits = tried, found
    if not alike and most > 1:
        what = f"no other of {many(len(members), 'run')} has the network of the best, {members[0].entry.name}"
        raise BadInput(Problem(what, "command line: method=soup", "method=ensemble, which needs no equal networks"))
    model.set_weights(kept)
    chosen = tuple((members[step.place], 1 / len(steps)) for step in steps)
    return Combination("soup", tuple(steps), logits, model, chosen)


def _outline(model: keras.Model) -> list[tuple[str, tuple[tuple[int, ...], ...]]]:
    """What two networks must have in common for a mean of their weights to be one."""
    return [(type(layer).__name__, tuple(tuple(one.shape) for one in layer.weights)) for layer in model.layers]


def _passes(model: keras.Model, paths: Sequence[str], trained: Trained) -> Callable[[], np.ndarray]:
    """What gives the model's logits on the images, with whatever weights it has then; traced once.

    Raises:
        BadInput: an image can't be read any more.
    """
    geometry = trained.geometry

    def read() -> Iterator[Any]:
        bad: list[tuple[str, str]] = []
        yield from (batch for _, batch in batches(paths, geometry, BATCH, bad))
        if bad:
            raise BadInput(Problem(f"{many(len(bad), 'image')} can't be read: {listing([path for path, _ in bad], 3)}"))

    held = list(read()) if len(paths) * math.prod(geometry.shape) <= HELD else None
    signature = [tf.TensorSpec((None, *geometry.shape), tf.uint8)]
    network = tf.function(lambda batch: model(tf.cast(batch, tf.float32), training=False), input_signature=signature)
    return lambda: np.concatenate([network(batch).numpy() for batch in (read() if held is None else held)])


def history(combination: Combination, seconds: float) -> list[dict[str, Any]]:
    """A row a member, as epochs are of a training."""
    return [
        {
            "stage": combination.method,
            "epoch": number,
            "val_loss": step.loss,
            "val_accuracy": step.accuracy,
            "seconds": seconds / len(combination.steps),
        }
        for number, step in enumerate(combination.steps, start=1)
    ]


def record(combination: Combination, yardstick: Yardstick) -> Mapping[str, Any]:
    """What ``run.json`` says of it beside what it says of the best member."""
    last, best = combination.steps[-1], combination.members[0][0]
    metrics = {"val_loss": last.loss, "val_accuracy": last.accuracy}
    monitor = yardstick if yardstick.column in metrics else Yardstick.of("val_accuracy")
    count = many(len(combination.members), "run")
    return {
        "title": f"{combination.method} of {count}, {best.task.counted}",
        "parameters": combination.model.count_params(),
        "epochs": len(combination.steps),
        "best": {
            "epoch": len(combination.steps),
            "stage": combination.method,
            "kept": "best",
            "monitor": monitor.column,
            "mode": monitor.mode,
            "metrics": metrics,
        },
        "made": {
            "method": combination.method,
            "members": [
                {"run": str(Path(member.entry.folder).resolve()), "share": share}
                for member, share in combination.members
            ],
        },
    }

"""What is asked of an image, and all that follows from it: targets, answers, what fits, how it is told and recorded.

No other module asks which kind a task is, it asks the task: a kind is a class here.
"""

# ruff: noqa: D102 - what a method does is said where it is declared

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from framework.core.backend import keras
from framework.core.digits import is_number
from framework.core.errors import listing, many

if TYPE_CHECKING:
    from typing_extensions import Self

    from framework.core.registry import Part

TaskKind = Literal["multiclass", "binary", "multilabel", "regression"]
Encoding = Literal["index", "one_hot", "binary", "multi_hot", "numbers"]
Labels = Literal["classes", "numbers"]
HALF = 0.5
BLOCK = 1024  # images whose probabilities are held at once


@dataclass(frozen=True)
class Task(ABC):
    """A question.

    Attributes:
        kind: what config, parts and run folders call it.
        measures: what there is to measure of its answers beside what any task has: ``top_k``, ``confusion`` (each image
            has one class and one answer), ``thresholds``, ``exact_match``, ``average_precision``.
        asks: what a data source has to list as labels.
        exports: what an exported model can give for an image, the usual one first.
        classes: names in the order of the labels; of numbers what they are called.
        labels: how labels reach the loss: ``index`` (int32, shape (batch,)), ``one_hot`` (float32, (batch, classes)),
            ``binary`` (float32, (batch, 1)), ``multi_hot`` or ``numbers`` (both float32, (batch, classes)).
    """

    kind: ClassVar[TaskKind]
    measures: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[Labels] = "classes"
    exports: ClassVar[tuple[str, ...]] = ("probabilities", "logits")

    classes: tuple[str, ...]
    labels: Encoding = "one_hot"

    @property
    def units(self) -> int:
        """How many logits the head must end in."""
        return len(self.classes)

    def for_loss(self, labels: Literal["index", "one_hot"]) -> Self:
        """The task for a loss that takes labels so where there are many classes."""
        return self

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Labels of a split, as in ``data.images.Split``, in the encoding that ``labels`` names."""
        return labels.astype(np.float32)

    def finished(self, logits: Any) -> Any:
        """What the network ends in, made of the tensor that its head gives, by Keras's own layers."""
        return logits

    @abstractmethod
    def shares(self, logits: Any) -> Any:
        """What a person reads of logits, as a tensor (batch, classes), in Keras's own operations."""

    @abstractmethod
    def likeliest(self, logits: np.ndarray, most: int) -> list[int]:
        """The numbers of the classes that an image, logits of shape (units,), shows most likely, the likeliest first."""

    @abstractmethod
    def said(self, logits: np.ndarray, number: int) -> str:
        """What logits of shape (units,) say of a class, in a word."""

    def gives(self, units: int | None) -> bool:
        """Whether a model of so many outputs, None if that is not known, can answer this."""
        return units in (None, self.units)

    def evidence(self, number: int) -> tuple[int, float]:
        """Which logit speaks for a class, and with which sign."""
        return number, 1.0

    def fits(self, part: Part) -> bool:
        """Whether a head, loss or metric is for this kind of task."""
        return self.kind in part.details["tasks"]

    @property
    def counted(self) -> str:
        """How many there are of what it tells: ``10 classes``."""
        return many(len(self.classes), "class", "classes")

    @property
    def told(self) -> tuple[str, str]:
        """What people should know of it: a heading and a text, which the names follow."""
        return "classes", f"{len(self.classes)} ({self.kind})"

    @property
    def wanted(self) -> str:
        """How many logits it takes, and why, as a clause."""
        return f"a {self.kind} question takes {self.units}"

    def record(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {"task": self.kind, "classes": list(self.classes)}

    @classmethod
    def recorded(cls, said: Mapping[str, Any]) -> Self:
        """The task that ``run.json`` records as one of this kind.

        Raises:
            ValueError: what it says is not fit for one.
        """
        classes = said.get("classes")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("no names of classes")
        return cls(tuple(classes))

    @property
    def in_csv(self) -> dict[str, Any]:
        """How labels stand in a CSV file that nothing else is known of: keys of ``data``."""
        return {}

    def as_begun(self, said: Mapping[str, Any] | None) -> Task:
        """The task for a run that goes on; ``said`` is what its ``run.json`` says, None of a new run."""
        return self


@dataclass(frozen=True)
class Classification(Task):
    """A question that classes are the answer to.

    Attributes:
        several: whether an image may have any number of labels; one in ``data.images.Split`` is then a row.
        positive: of a yes-or-no question the number of the class whose scores stand for all; None for others.
    """

    several: ClassVar[bool] = False
    positive: ClassVar[int | None] = None

    @abstractmethod
    def answers(self, logits: np.ndarray) -> np.ndarray:
        """The answers to logits, float (images, units), as labels are: int (images,), or 0 and 1 (images, classes)."""

    @abstractmethod
    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """What a person reads of logits: float64 (images, classes)."""

    def likeliest(self, logits: np.ndarray, most: int) -> list[int]:
        shares = self.probabilities(logits[None])[0]
        return np.argsort(-shares, kind="stable")[:most].tolist()

    def said(self, logits: np.ndarray, number: int) -> str:
        return f"probability {self.probabilities(logits[None])[0, number]:.1%}"

    @abstractmethod
    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        """The answers to probabilities, float (images, classes)."""

    @abstractmethod
    def confidence(self, logits: np.ndarray) -> np.ndarray:
        """Probability of each answer, float64, of the answers' shape."""

    @abstractmethod
    def shown(self, labels: np.ndarray, number: int) -> np.ndarray:
        """Whether the class of a logit is there, bool (images,)."""

    @abstractmethod
    def surprise(self, logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> float:
        """Mean negative log-likelihood of labels, in nats, of several a logit; ``smoothing`` of each spread over all."""

    @abstractmethod
    def divergence(self, wanted: Any, found: Any) -> Any:
        """How far each image's probabilities are from those that are wanted, both as logits, float (batch, units): the
        Kullback-Leibler divergence, of several logits that are a question each the mean of theirs. A tensor (batch,), in
        Keras's own operations.
        """

    @abstractmethod
    def mean(self, logits: Sequence[Any], weights: Sequence[float]) -> Any:
        """Logits of the weighted mean of several classifiers' probabilities, as a tensor, in Keras's own operations.

        Args:
            logits: of each, float (batch, units).
            weights: of each, above 0, of the sum 1.
        """

    def named(self, answer: Any) -> tuple[str, ...]:
        """The classes that one image's label or answer names."""
        return (self.classes[int(answer)],)

    def number_of(self, name: str) -> int | None:
        """The number of a class; None if the task does not know it."""
        return self.classes.index(name) if name in self.classes else None


@dataclass(frozen=True)
class Multiclass(Classification):
    """One of many classes: a softmax over a logit each."""

    kind = "multiclass"
    measures = ("top_k", "confusion")

    labels: Encoding = "one_hot"

    def for_loss(self, labels: Literal["index", "one_hot"]) -> Self:
        return replace(self, labels=labels)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """As documented above.

        Raises:
            ValueError: several labels an image can't be one index.
        """
        if self.labels == "one_hot":
            return labels.astype(np.float32) if labels.ndim == 2 else np.eye(self.units, dtype=np.float32)[labels]
        if labels.ndim == 2:
            raise ValueError(f"several labels an image can't be encoded as {self.labels}")
        return labels.astype(np.int32)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """A row sums to one."""
        logits = np.asarray(logits, np.float64)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)

    def shares(self, logits: Any) -> Any:
        return keras.ops.softmax(logits, axis=-1)

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(axis=1)

    def confidence(self, logits: np.ndarray) -> np.ndarray:
        blocks = (logits[start : start + BLOCK] for start in range(0, len(logits), BLOCK))
        return np.concatenate([self.probabilities(block).max(axis=1) for block in blocks])

    def shown(self, labels: np.ndarray, number: int) -> np.ndarray:
        return labels == number

    def surprise(self, logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> float:
        logits = np.asarray(logits, np.float64)
        highest = logits.max(axis=1)
        whole = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        own = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)[:, 0]
        return float(np.mean(whole - (1 - smoothing) * own - smoothing * logits.mean(axis=1)))

    def divergence(self, wanted: Any, found: Any) -> Any:
        logarithms = keras.ops.log_softmax(wanted, axis=-1)
        far = keras.ops.exp(logarithms) * (logarithms - keras.ops.log_softmax(found, axis=-1))
        return keras.ops.sum(far, axis=-1)

    def mean(self, logits: Sequence[Any], weights: Sequence[float]) -> Any:
        return _log_mean([keras.ops.log_softmax(one, axis=-1) for one in logits], weights)

    @property
    def wanted(self) -> str:
        return f"the data have {self.units} classes: {listing(self.classes)}"


@dataclass(frozen=True)
class Binary(Classification):
    """Yes or no: two classes, no first, and one logit: that of yes."""

    kind = "binary"
    measures = ("thresholds", "confusion")
    positive = 1

    labels: Encoding = "binary"

    @property
    def units(self) -> int:
        return 1

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """As documented above.

        Raises:
            ValueError: several labels an image are no yes or no.
        """
        if labels.ndim == 2:
            raise ValueError("several labels an image can't be encoded as binary")
        return labels.astype(np.float32)[:, None]

    def answers(self, logits: np.ndarray) -> np.ndarray:
        return (logits[:, 0] > 0).astype(np.int64)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Two columns, no and yes."""
        yes = sigmoid(logits)
        return np.concatenate([1 - yes, yes], axis=1)

    def shares(self, logits: Any) -> Any:
        yes = keras.ops.sigmoid(logits)
        return keras.ops.concatenate([1.0 - yes, yes], axis=-1)

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(axis=1)

    def confidence(self, logits: np.ndarray) -> np.ndarray:
        return sigmoid(np.abs(logits))[:, 0]

    def shown(self, labels: np.ndarray, number: int) -> np.ndarray:
        return labels == self.positive

    def surprise(self, logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> float:
        return _surprise_of_each(logits, labels[:, None], smoothing)

    def divergence(self, wanted: Any, found: Any) -> Any:
        return _divergence_of_each(wanted, found)

    def mean(self, logits: Sequence[Any], weights: Sequence[float]) -> Any:
        return _mean_of_each(logits, weights)

    def number_of(self, name: str) -> int | None:
        """Where the question is "this one or any other", any other name is the other."""
        number = super().number_of(name)
        return 0 if number is None and self.classes[0] == f"not {self.classes[1]}" else number

    def evidence(self, number: int) -> tuple[int, float]:
        return 0, 1.0 if number == self.positive else -1.0

    def gives(self, units: int | None) -> bool:
        return super().gives(units) and len(self.classes) == 2


@dataclass(frozen=True)
class Multilabel(Classification):
    """Any number of labels: a sigmoid for each."""

    kind = "multilabel"
    measures = ("exact_match", "average_precision")
    several = True

    labels: Encoding = "multi_hot"

    @property
    def in_csv(self) -> dict[str, Any]:
        return {"separator": "|"}

    def answers(self, logits: np.ndarray) -> np.ndarray:
        return (logits > 0).astype(np.int64)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """An own one for each label."""
        return sigmoid(logits)

    def shares(self, logits: Any) -> Any:
        return keras.ops.sigmoid(logits)

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        return (probabilities >= HALF).astype(np.float32)

    def confidence(self, logits: np.ndarray) -> np.ndarray:
        return sigmoid(np.abs(logits))

    def shown(self, labels: np.ndarray, number: int) -> np.ndarray:
        return labels[:, number] > 0

    def surprise(self, logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> float:
        return _surprise_of_each(logits, labels, smoothing)

    def divergence(self, wanted: Any, found: Any) -> Any:
        return _divergence_of_each(wanted, found)

    def mean(self, logits: Sequence[Any], weights: Sequence[float]) -> Any:
        return _mean_of_each(logits, weights)

    def named(self, answer: Any) -> tuple[str, ...]:
        return tuple(self.classes[place] for place in np.flatnonzero(answer))


@dataclass(frozen=True)
class Regression(Task):
    """Numbers: for each of ``classes`` one, in its own units.

    The head gives how many deviations a number lies above the mean of the training images' numbers; the network's last
    layer turns that into the number, so that a saved model needs nothing else, and the loss is measured in deviations
    again, so that rates are right for any unit and columns of different units count the same.

    Attributes:
        mean: of the training images' numbers, of each column.
        deviation: their standard deviation, above 0.
    """

    kind = "regression"
    asks = "numbers"
    exports = ("numbers",)

    labels: Encoding = "numbers"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def finished(self, logits: Any) -> Any:
        scale = keras.layers.Rescaling(list(self.deviation), list(self.mean), dtype="float32", name="numbers")
        return scale(logits)

    def shares(self, logits: Any) -> Any:
        """They are the numbers."""
        return logits

    def likeliest(self, logits: np.ndarray, most: int) -> list[int]:
        """None is likelier than another."""
        return list(range(min(most, self.units)))

    def said(self, logits: np.ndarray, number: int) -> str:
        return f"{logits[number]:.6g}"

    @property
    def counted(self) -> str:
        return many(self.units, "number")

    @property
    def told(self) -> tuple[str, str]:
        return "numbers", f"{self.units} ({self.kind})"

    @property
    def wanted(self) -> str:
        return f"the data have {self.counted} an image: {listing(self.classes)}"

    def record(self) -> dict[str, Any]:
        return {**super().record(), "scale": {"mean": list(self.mean), "deviation": list(self.deviation)}}

    @property
    def in_csv(self) -> dict[str, Any]:
        return {"label_column": list(self.classes)}

    @classmethod
    def recorded(cls, said: Mapping[str, Any]) -> Self:
        task, scale = super().recorded(said), said.get("scale")
        scale = scale if isinstance(scale, Mapping) else {}
        mean, deviation = (tuple(scale.get(key) or ()) for key in ("mean", "deviation"))
        if not all(is_number(value) for value in (*mean, *deviation)) or not all(value > 0 for value in deviation):
            raise ValueError("no numbers to scale by")
        if not len(mean) == len(deviation) == task.units:
            raise ValueError("not a mean and a deviation for each number")
        return replace(task, mean=mean, deviation=deviation)

    def as_begun(self, said: Mapping[str, Any] | None) -> Task:
        """On whatever data it goes on, the weights so far are those of the scale that it was begun with."""
        before = task_of_run(said) if said else None
        return before if isinstance(before, Regression) and before.classes == self.classes else self


TASKS: dict[TaskKind, type[Task]] = {one.kind: one for one in (Multiclass, Binary, Multilabel, Regression)}
CLASSIFYING: tuple[TaskKind, ...] = tuple(kind for kind, one in TASKS.items() if issubclass(one, Classification))


def task_of_run(said: Mapping[str, Any]) -> Task | None:
    """The task that ``run.json`` records; None where it records none that is known here."""
    kind = said.get("task")
    try:
        return TASKS[kind].recorded(said) if kind in TASKS else None
    except (ValueError, TypeError):
        return None


def task_of_model(names: Sequence[str], units: int | None, activation: str | None) -> Classification:
    """The task of a model from elsewhere.

    One output is a yes-or-no question, answered by two class names, no first, or by the name of yes. Several outputs
    with a sigmoid are a label each.

    Args:
        names: of its classes.
        units: how many outputs it has; None if that is not known.
        activation: of its last layer, None if that is not known.
    """
    names = tuple(names)
    if units == 1:
        return Binary((f"not {names[0]}", names[0]) if len(names) == 1 else names)
    return Multilabel(names) if activation == "sigmoid" else Multiclass(names)


def _surprise_of_each(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    """``surprise`` where each logit is a question of its own: labels 0 and 1 of the logits' shape."""
    wanted = labels * (1 - smoothing) + smoothing / 2
    logits = np.asarray(logits, np.float64)
    return float(np.mean(np.logaddexp(0, logits) - wanted * logits))


def _log_mean(logarithms: Sequence[Any], weights: Sequence[float]) -> Any:
    """The logarithm of a weighted mean of probabilities, from theirs."""
    weighted = [one + float(np.log(weight)) for one, weight in zip(logarithms, weights, strict=True)]
    return keras.ops.logsumexp(keras.ops.stack(weighted, axis=0), axis=0)


def _mean_of_each(logits: Sequence[Any], weights: Sequence[float]) -> Any:
    """``mean`` where each logit is a question of its own: the log-odds of the mean."""
    yes = _log_mean([keras.ops.log_sigmoid(one) for one in logits], weights)
    return yes - _log_mean([keras.ops.log_sigmoid(-one) for one in logits], weights)


def _divergence_of_each(wanted: Any, found: Any) -> Any:
    """``divergence`` where each logit is a question of its own."""
    yes, no = (
        keras.ops.sigmoid(sign * wanted) * (keras.ops.log_sigmoid(sign * wanted) - keras.ops.log_sigmoid(sign * found))
        for sign in (1.0, -1.0)
    )
    return keras.ops.mean(yes + no, axis=-1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Exact in both tails; float64."""
    logits = np.asarray(logits, np.float64)
    exponents = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, exponents) / (1 + exponents)

"""Parts: registered builders, each of one kind, whose signature is the schema of their config node.

A part is a function. What stands before ``*`` in its signature the framework supplies (a tensor, the task, the run);
what stands after ``*`` comes from the config node of that name, typed and flat. Functions declare types, never
default values: those live in the YAML, where a reader sees them.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

from framework.core.errors import BadInput, Problem, suggestion
from framework.core.outputs import Need, Output
from framework.core.task import CLASSIFYING, TASKS, Labels, TaskKind

Function = TypeVar("Function", bound=Callable[..., Any])

KINDS = {
    "task": "what is asked of an image",
    "base": "the network that turns an image into feature maps",
    "pooling": "how feature maps become one vector an image",
    "head": "the layers that turn the vector into logits",
    "optimizer": "how weights follow their gradients",
    "schedule": "how the learning rate moves within a stage",
    "loss": "what training makes small",
    "metric": "what is measured after each epoch",
    "callback": "what happens between epochs",
    "augmentation": "how training images are varied",
    "source": "where images and their labels come from",
    "sampler": "how a search draws its trials",
    "pruner": "which trials of a search are ended early",
}


@dataclass(frozen=True)
class Part:
    """A registered builder with what its decorator said of it."""

    kind: str
    name: str
    function: Callable[..., Any]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the builder's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def location(self) -> tuple[str, int]:
        """File and line of the builder."""
        code = inspect.unwrap(self.function).__code__
        return code.co_filename, code.co_firstlineno

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Name and type of each parameter that config gives, in order.

        Only these annotations are evaluated: those of supplied arguments may name tensors, and reading them must
        not load TensorFlow.
        """
        function = inspect.unwrap(self.function)
        names = getattr(function, "__globals__", {})
        return {
            parameter.name: (
                eval(parameter.annotation, names) if isinstance(parameter.annotation, str) else parameter.annotation
            )
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def __call__(self, *supplied: Any, **parameters: Any) -> Any:
        """Build it."""
        return self.function(*supplied, **parameters)


_parts: dict[tuple[str, str], Part] = {}


def register(kind: str, name: str, **details: Any) -> Callable[[Function], Function]:
    """Decorator that registers a function as the part ``name`` of ``kind``.

    A part of a notebook or a script itself may be defined again: the later one holds.

    Raises:
        BadInput: a part of this kind has this name already, or the signature can't serve as a schema.
    """

    def decorate(function: Function) -> Function:
        part = Part(kind, name, function, details)
        where = "{}:{}".format(*part.location)
        taken = _parts.get((kind, name))
        if taken is not None and taken.location != part.location and not (_is_typed(taken) and _is_typed(part)):
            raise BadInput(
                Problem(
                    f"{kind} '{name}' is registered twice",
                    where,
                    f"another name: {'{}:{}'.format(*taken.location)} has it",
                )
            )
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                raise BadInput(Problem(f"{kind} '{name}' takes *{parameter.name}", where, "name each parameter"))
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                if parameter.annotation is inspect.Parameter.empty:
                    raise BadInput(Problem(f"{kind} '{name}': {parameter.name} has no type", where, "annotate it"))
                if parameter.default is not inspect.Parameter.empty:
                    raise BadInput(
                        Problem(
                            f"{kind} '{name}': {parameter.name} has a default in code",
                            where,
                            "give the default in YAML",
                        )
                    )
        _parts[kind, name] = part
        return function

    return decorate


def _is_typed(part: Part) -> bool:
    """Whether it was defined in a notebook or a script itself, where a cell that is run again means the new one."""
    return part.function.__module__ == "__main__"


def task(name: str, *, labels: Labels = "classes") -> Callable[[Function], Function]:
    """Register a task: ``(images, asked, heads, *, …) -> core.task.Task``.

    It is supplied with the listed ``data.images.Images``, whose labels are what ``labels`` says, with whether
    ``data.positive`` asks for one class, and with the kinds of task that the head is for.
    """
    return register("task", name, labels=labels)


def base(
    name: str,
    *,
    minimum_size: int,
    imagenet: Callable[..., str] | None = None,
    outline: Callable[..., Any] | None = None,
    gives: Callable[..., Output] | None = None,
    backbone: Any = None,
) -> Callable[[Function], Function]:
    """Register a base: ``(images, *, …) -> feature maps``, tokens or a vector.

    Args:
        name: what config calls it.
        minimum_size: smallest image side in pixels that it can take.
        imagenet: from ``(size, parameters)``, image height and width and the part's own parameters, to the name of
            the ImageNet weights file that Keras publishes; raises BadInput where there is none for these parameters.
            None where there is none at all.
        outline: from the part's own parameters to what a file of its weights shows, ``parts.bases.Outline``, so that
            one of another network is refused before TensorFlow loads; None where nothing is known of it.
        gives: from ``(size, parameters)`` to what it gives, so that a pooling that does not fit is refused before
            TensorFlow loads; raises BadInput for a size that it can't take. None where that is not known.
        backbone: of one that Keras Hub builds and has presets of, ``parts.presets.Backbone``.
    """
    return register(
        "base",
        name,
        minimum_size=minimum_size,
        imagenet=imagenet,
        outline=outline,
        gives=gives,
        backbone=backbone,
    )


def pooling(name: str, *, takes: Need = "maps", any_size: bool = True) -> Callable[[Function], Function]:
    """Register a pooling: ``(feature_maps, *, …) -> vectors``.

    One that takes ``tokens``, or ``class`` if it needs the class token, is ``(class_token, patches, *, …)``: tensors of
    shape (batch, channels), None where the base has no class token, and (batch, patches, channels).
    ``any_size`` says whether its vectors are as long whatever the size of the images.
    """
    return register("pooling", name, takes=takes, any_size=any_size)


def head(
    name: str,
    *,
    tasks: tuple[TaskKind, ...] = tuple(TASKS),
    fit: Callable[..., None] | None = None,
    remembers: bool = False,
    texts: bool = False,
) -> Callable[[Function], Function]:
    """Register a head: ``(vectors, task, *, …) -> logits`` of shape (batch, task.units), for these kinds of task.

    Args:
        name: what config calls it.
        tasks: kinds of task that it answers.
        fit: of a head that is made of examples, not of steps: ``(layer, vectors, shares, *, …)`` sets the weights of the
            head's one layer, ``logits``, from NumPy arrays, the vectors of the training images, float32 (images,
            features), and what each shows of each class, float32 (images, classes); parameters as those of the head.
        remembers: whether it holds all examples: it is then ``(vectors, task, examples, *, …)``, with how many there
            are to be, and no step can train it.
        texts: whether it is made of the classes' names by the text tower of the base's preset, ``model.texts``: it is
            then ``(vectors, task, projection, *, …)``, with the width that vectors and texts are projected to, or None.
    """
    return register("head", name, tasks=tasks, fit=fit, remembers=remembers, texts=texts)


def optimizer(name: str) -> Callable[[Function], Function]:
    """Register an optimizer: ``(learning_rate, *, …) -> keras.optimizers.Optimizer``."""
    return register("optimizer", name)


def schedule(name: str, *, constant: bool = False) -> Callable[[Function], Function]:
    """Register a schedule: ``(learning_rate, epochs, steps_per_epoch, *, …) -> float or LearningRateSchedule``."""
    return register("schedule", name, constant=constant)


def loss(
    name: str, *, tasks: tuple[TaskKind, ...] = CLASSIFYING, labels: Literal["index", "one_hot"] = "one_hot"
) -> Callable[[Function], Function]:
    """Register a loss: ``(task, *, …) -> keras.losses.Loss`` from logits; ``labels`` is what it takes for many classes."""
    return register("loss", name, tasks=tasks, labels=labels)


def metric(name: str, *, tasks: tuple[TaskKind, ...] = CLASSIFYING) -> Callable[[Function], Function]:
    """Register a metric: ``(task, name, *, …) -> keras.metrics.Metric`` that reads logits."""
    return register("metric", name, tasks=tasks)


def callback(name: str, *, writes: bool = False, steps: bool = False) -> Callable[[Function], Function]:
    """Register a callback: ``(folder, *, …) -> keras.callbacks.Callback``, ``folder`` the run's.

    One that ``writes`` leaves files or records, and changes nothing of the training: of several workers the first alone
    has it. Any other one is each worker's, with a folder of its own. One that ``steps`` is part of each step of training, and
    so of the graph that a run traces.

    A parameter called ``monitor`` names a column of the history, ``filename`` a template of such columns: both are
    checked before training.
    """
    return register("callback", name, writes=writes, steps=steps)


def augmentation(name: str, *, mixes: bool = False) -> Callable[[Function], Function]:
    """Register an augmentation: ``(*, …) -> parts.augmentations.Augmentation``; ``mixes`` if it blends labels too."""
    return register("augmentation", name, mixes=mixes)


def source(
    name: str, *, demonstration: bool = False, numbers: Callable[..., Any] | None = None
) -> Callable[[Function], Function]:
    """Register a data source: ``(seed, *, …) -> data.images.Images``, read without TensorFlow.

    ``numbers`` takes the same, and lists numbers for labels; None for a source that has none.
    """
    return register("source", name, demonstration=demonstration, numbers=numbers)


def sampler(
    name: str, *, every: bool = False, numbers: int = 0, single: bool = False, needs: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Register a sampler: ``(seed, *, …) -> optuna.samplers.BaseSampler``.

    Args:
        name: what config calls it.
        every: whether it goes through every combination; the search then lays them out, and the sampler draws nothing.
        numbers: how many keys with numbers it needs.
        single: whether it can follow one objective only.
        needs: packages beside Optuna; the extra of the sampler's name installs them.
    """
    return register("sampler", name, every=every, numbers=numbers, single=single, needs=needs)


def pruner(name: str) -> Callable[[Function], Function]:
    """Register a pruner: ``(epochs, *, …) -> optuna.pruners.BasePruner``, ``epochs`` those of a whole run."""
    return register("pruner", name)


def names(kind: str) -> list[str]:
    """Sorted names of all parts of a kind."""
    return sorted(name for of, name in _parts if of == kind)


def parts(kind: str) -> list[Part]:
    """All parts of a kind, by name."""
    return [_parts[kind, name] for name in names(kind)]


def get(kind: str, name: str) -> Part:
    """The part of this kind and name.

    Raises:
        BadInput: there is none; the message has the nearest name and all that exist.
    """
    try:
        return _parts[kind, name]
    except KeyError:
        raise BadInput(Problem(f"there is no {kind} '{name}'", right=suggestion(name, names(kind)))) from None


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Whatever is registered inside is forgotten outside; for tests and for recipes that are only looked at."""
    kept = dict(_parts)
    try:
        yield
    finally:
        _parts.clear()
        _parts.update(kept)


@contextlib.contextmanager
def gathered() -> Iterator[list[Part]]:
    """Gathers what is registered inside; where the block raises, that is forgotten."""
    before, new = dict(_parts), list[Part]()
    try:
        yield new
    except BaseException:
        _parts.clear()
        _parts.update(before)
        raise
    new += [part for key, part in _parts.items() if before.get(key) is not part]

"""What a network is made of: its steps in the order they run, with shapes, parameters, operations, what is frozen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem, suggestion
from framework.core.keras_private import all_nodes_of, is_random_state

INPUT = "InputLayer"
BORDERS = ("ZeroPadding2D", "Cropping2D")
FREE = (INPUT, "Dropout", "SpatialDropout2D", "Flatten", "Reshape", "Permute", *BORDERS)


@dataclass(frozen=True)
class Step:
    """One layer or operation.

    Attributes:
        name: of the layer.
        kind: its class.
        shape: of one image's output, without the batch; None where it varies.
        parameters: how many numbers its weights hold.
        trainable: how many of them train, as the model was saved.
        flops: floating-point operations for one image, a multiplication and an addition counted as one each.
        output: its symbolic output.
        layer: itself.
        inner: the network inside, for a step that is one itself.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    parameters: int
    trainable: int
    flops: int
    output: Any
    layer: Any
    inner: keras.Model | None = None

    @property
    def frozen(self) -> bool:
        """Whether it has weights and none of them trains."""
        return self.parameters > 0 and self.trainable == 0


def steps(model: keras.Model) -> list[Step]:
    """Steps of a functional or sequential model, in the order they run; a network within counts as one."""
    return [_step(node) for node in all_nodes_of(model)]


def flat_steps(model: keras.Model) -> Iterator[Step]:
    """Steps with those of networks within in their place."""
    for step in steps(model):
        if step.inner is None:
            yield step
        else:
            yield from (inner for inner in flat_steps(step.inner) if inner.kind != INPUT)


def maps(model: keras.Model) -> list[Step]:
    """Steps whose output is feature maps: a height, a width and channels, more than one place among them.

    What only prepares the image and what only widens borders is left out.
    """
    found = steps(model)
    inside = [step for step in found[_preparations(found) :] if len(step.shape) == 3 and step.kind not in BORDERS]
    return [step for step in inside if prod(side or 2 for side in step.shape[:2]) > 1]


def last_maps(model: keras.Model) -> Step:
    """The last feature maps, what pooling sees.

    Raises:
        BadInput: there are none.
    """
    found = maps(model)
    if not found:
        raise BadInput(Problem("the model has no feature maps: it is no convolutional network", "model"))
    return found[-1]


def named(found: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """The steps of these names.

    Raises:
        BadInput: for each name that none of them has.
    """
    by_name = {step.name: step for step in found}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise BadInput(
            Problem(f"no layer with feature maps is called '{name}'", "command line: layers", suggestion(name, by_name))
            for name in unknown
        )
    return [by_name[name] for name in names]


def spread(found: Sequence[Step], most: int) -> list[Step]:
    """For each height and width of the maps the last step that has it; of more than ``most`` an even choice."""
    last = list({step.shape[:2]: step for step in found}.values())
    if len(last) <= most:
        return last
    return [last[round(place * (len(last) - 1) / (most - 1))] for place in range(most)]


@dataclass(frozen=True)
class Group:
    """Neighbouring steps as one: a row of the layer table, or a box of the diagram.

    Attributes:
        name: of the step with the most parameters, else the first.
        kind: of that step.
        shape: of its last step's output.
        steps: how many.
        parameters: of all.
        trainable: how many of them train.
        flops: of all.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    steps: int
    parameters: int
    trainable: int
    flops: int


def rows(found: Sequence[Step], most: int) -> list[Group]:
    """The steps as ``most`` rows at most, if possible: each matrix of weights with what follows it, else each block.

    Blocks are told by the beginnings of names, and where they are too many, by the height and width of their maps.
    """
    found = _without_borders(found)
    start, end = _preparations(found), _vectors(found)
    number = itertools.accumulate(_has_matrix(step) or place >= end for place, step in enumerate(found))
    by_matrix = dict(zip((id(step) for step in found), number, strict=True))
    prepares = {id(step) for step in found[:start]}
    keys: list[Callable[[Step], Any]] = [
        lambda step: (id(step) in prepares, by_matrix[id(step)]),
        lambda step: (step.shape[:-1], step.name.rpartition("_")[0] or step.name),
        lambda step: (step.shape[:-1], step.name.partition("_")[0]),
    ]
    for key in keys:
        grouped = _grouped(found, key)
        if len(grouped) <= most:
            return grouped
    return blocks(found)


def blocks(found: Sequence[Step]) -> list[Group]:
    """The steps by the height and width of their maps: what prepares the image first, then a group a vector.

    All steps of one size are one group, so that branches beside each other don't alternate; what a branch squeezes to
    a vector on its way belongs to the maps that it weighs.
    """
    found = _without_borders(found)
    start, end = _preparations(found), _vectors(found)
    by_size: dict[Any, list[Step]] = {}
    size: Any = None
    for step in found[start:end]:
        size = step.shape[:-1] if len(step.shape) == 3 and step.shape[:-1] != (1, 1) else size
        by_size.setdefault(size, []).append(step)
    groups = [found[:start], *by_size.values(), *([step] for step in found[end:])]
    return [_group(members) for members in groups if members]


def _vectors(found: Sequence[Step]) -> int:
    """How many steps there are up to the last feature maps."""
    return max((place for place, step in enumerate(found, start=1) if len(step.shape) == 3), default=0)


def _preparations(found: Sequence[Step]) -> int:
    """How many steps come before the first with a matrix of weights."""
    return next((place for place, step in enumerate(found) if _has_matrix(step) or step.inner is not None), 0)


def _without_borders(found: Sequence[Step]) -> list[Step]:
    return [step for step in found if step.kind not in BORDERS]


def _grouped(found: Sequence[Step], key: Callable[[Step], Any]) -> list[Group]:
    return [_group(list(run)) for _, run in itertools.groupby(found, key)]


def _group(members: Sequence[Step]) -> Group:
    heaviest = max(members, key=lambda step: step.parameters)
    shape = [step for step in members if len(step.shape) == len(members[0].shape)][-1].shape
    sums = (sum(getattr(step, of) for step in members) for of in ("parameters", "trainable", "flops"))
    return Group(heaviest.name, heaviest.kind, shape, len(members), *sums)


def _has_matrix(step: Step) -> bool:
    return step.kind.startswith(("Conv2D", "DepthwiseConv", "SeparableConv", "Dense"))


def _step(node: Any) -> Step:
    operation, output = node.operation, node.outputs[0]
    weights = getattr(operation, "weights", [])
    trainable = sum(prod(weight.shape) for weight in getattr(operation, "trainable_weights", []))
    shape = tuple(output.shape[1:])
    before = [tuple(tensor.shape[1:]) for tensor in node.input_tensors]
    inner = operation if isinstance(operation, keras.Model) else None
    flops = sum(step.flops for step in flat_steps(inner)) if inner is not None else _flops(operation, before, shape)
    return Step(
        operation.name,
        type(operation).__name__,
        shape,
        sum(prod(weight.shape) for weight in weights if not is_random_state(weight.path)),
        trainable,
        flops,
        output,
        operation,
        inner,
    )


def _flops(layer: Any, before: Sequence[tuple[int | None, ...]], after: tuple[int | None, ...]) -> int:
    """Operations for one image; sides that vary count as one."""
    kind, outputs = type(layer).__name__, prod(side or 1 for side in after)
    inputs = prod(side or 1 for side in before[0]) if before else 0
    places = outputs // (after[-1] or 1) if after else 1
    if kind in FREE:
        return 0
    if kind == "SeparableConv2D":
        return 2 * places * (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape)) + _bias(
            layer, outputs
        )
    if hasattr(layer, "kernel") and getattr(layer, "kernel", None) is not None:
        return 2 * places * prod(layer.kernel.shape) + _bias(layer, outputs)
    if kind == "BatchNormalization":
        return 2 * outputs
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        return outputs * prod(layer.pool_size)
    return max(inputs, outputs) * max(1, len(before) - 1)


def _bias(layer: Any, outputs: int) -> int:
    return outputs if layer.use_bias else 0

"""Figures of a trained network: its layers, its filters, and what it sees in a photo."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem, many
from framework.core.files import write_whole
from framework.core.geometry import Geometry
from framework.core.names import in_csv, text
from framework.data.decode import image, pixels
from framework.evaluation.attention import GradCam
from framework.evaluation.layers import INPUT, Group, Step, blocks, rows
from framework.evaluation.tokens import Tokens, on_patches, rollout
from framework.evaluation.tokens import attention as attention_shares
from framework.model.saved import Trained
from framework.reports import attention, diagram, feature_maps, filters, layer_table

TABLE_ROWS = 64
MOST_BLOCKS = 6  # beside each other


def check_image(file: str) -> None:
    """Look at an image before anything heavy is loaded.

    Raises:
        BadInput: it can't be read.
    """
    try:
        pixels(file, (64, 64))
    except ValueError as error:
        raise _unreadable(error) from None


def image_of(file: str, geometry: Geometry) -> np.ndarray:
    """The image as the network gets it: uint8 (height, width, channels).

    Raises:
        BadInput: it can't be read.
    """
    try:
        return image(file, geometry)
    except ValueError as error:
        raise _unreadable(error) from None


def _in_colours(image: np.ndarray) -> np.ndarray:
    """An image as a figure shows it: (height, width, 3)."""
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _unreadable(error: ValueError) -> BadInput:
    return BadInput(Problem(f"the image can't be read: {error}", "command line: image"))


def draw_layers(folder: Path, trained: Trained, steps: Sequence[Step]) -> list[Path]:
    """The layers as a table with bars (PNG), in full (CSV), and as a diagram."""
    table = [_row(group) for group in rows(steps, TABLE_ROWS) if group.kind != INPUT]
    if len(table) > TABLE_ROWS:
        table[TABLE_ROWS - 1 :] = [_joined(table[TABLE_ROWS - 1 :])]
    below = f"{trained.name}: {totals(steps)}; orange trains, blue is frozen"
    return [
        diagram.draw(folder / "diagram.png", _boxes(steps), trained.task.classes, "The network", below),
        layer_table.draw(folder / "layers.png", table, "Layer by layer", below),
        _csv(folder / "layers.csv", steps),
    ]


def draw_filters(folder: Path, steps: Sequence[Step]) -> list[Path]:
    """The first convolution's filters; nothing for a network without one."""
    first = next((step.layer for step in steps if step.kind == "Conv2D"), None)
    if first is None:
        return []
    kernel = keras.ops.convert_to_numpy(first.kernel).astype(np.float32)
    count = kernel.shape[-1]
    shown = f", the first {filters.MOST} shown" if count > filters.MOST else ""
    below = f"{first.name}: {count} filters of {kernel.shape[0]}×{kernel.shape[1]}{shown}"
    return [filters.draw(folder / "filters.png", kernel, "What the first layer looks for", below)]


def draw_feature_maps(folder: Path, model: keras.Model, image: np.ndarray, shown: Sequence[Step], name: str) -> Path:
    """Feature maps of these steps for an image."""
    left_out, shown = len(shown) - feature_maps.LAYERS, shown[: feature_maps.LAYERS]
    outputs = keras.Model(model.input, [step.output for step in shown])(image[None].astype(np.float32))
    values = [np.asarray(keras.ops.convert_to_numpy(output)[0], np.float32) for output in _listed(outputs)]
    pairs = list(zip((step.name for step in shown), values, strict=True))
    more = f"; {many(left_out, 'more layer')} left out" if left_out > 0 else ""
    below = f"{name}; of each layer the {feature_maps.CHANNELS} channels that respond most{more}"
    return feature_maps.draw(
        folder / "feature_maps.png", _in_colours(image), pairs, "What the layers respond to", below
    )


def draw_attention(
    folder: Path, trained: Trained, model: keras.Model, image: np.ndarray, target: str | None, top: int, name: str
) -> Path:
    """Grad-CAM over an image, for one class or for the likeliest ones."""
    task = trained.task
    cam = GradCam(model, task)
    if target is not None:
        chosen = [task.classes.index(target)]
    else:
        logits = keras.ops.convert_to_numpy(model(image[None].astype(np.float32), training=False))
        chosen = task.likeliest(logits[0], min(top, attention.MOST))
    heats, logits = cam(image, chosen)
    named = [
        (task.classes[number], task.said(logits, number), heat) for number, heat in zip(chosen, heats, strict=True)
    ]
    likeliest = f"; the {len(chosen)} likeliest of {len(task.classes):,} classes" if top > attention.MOST else ""
    below = f"{name}; Grad-CAM on {cam.where}{likeliest}"
    return attention.draw(folder / "attention.png", _in_colours(image), named, "Where the evidence lies", below)


def draw_tokens(folder: Path, tokens: Tokens, image: np.ndarray, name: str) -> list[Path]:
    """What a vision transformer attends to in an image: each head of its last block, and all of them over the blocks."""
    shares, pixels = attention_shares(tokens, image), _in_colours(image)
    who = "the class token" if tokens.before(shares[-1].shape[-1]) else "the mean token"
    heads = on_patches(tokens, shares[-1])[: attention.MOST]
    of_heads = [(f"head {number}", f"of {len(shares[-1])}", heat) for number, heat in enumerate(heads, start=1)]
    mixed = rollout(shares)
    places = np.unique(np.linspace(0, len(mixed) - 1, min(len(mixed), MOST_BLOCKS)).round().astype(int))
    of_blocks = [(f"block {place + 1}", f"of {len(mixed)}", on_patches(tokens, mixed[place])) for place in places]
    below = f"{name}; what {who} attends to in {tokens.blocks[-1]}, brightest where most"
    rolled = f"{name}; attention rollout: what {who} has of each patch after so many blocks, brightest where most"
    return [
        attention.draw(folder / "heads.png", pixels, of_heads, "What the last block's heads look at", below),
        attention.draw(folder / "rollout.png", pixels, of_blocks, "What the answer is made of", rolled),
    ]


def totals(steps: Sequence[Step]) -> str:
    """Parameters, how many of them train, and operations, as one line."""
    parameters, trainable = sum(step.parameters for step in steps), sum(step.trainable for step in steps)
    flops = layer_table.amount(sum(step.flops for step in steps))
    return f"{parameters:,} parameters, {trainable:,} of them trainable, {flops} operations an image"


def summary(steps: Sequence[Step]) -> str:
    """Every step as a line of a table for the terminal."""
    cells = [("layer", "kind", "output", "parameters", "operations", "")]
    for step in steps:
        state = "frozen" if step.frozen else "trains" if step.trainable else ""
        flops = layer_table.amount(step.flops)
        cells.append((text(step.name), step.kind, _sides(step.shape), f"{step.parameters:,}", flops, state))
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    lines = [
        "  ".join(
            [
                *(f"{cell:<{width}}" for cell, width in zip(row[:3], widths[:3], strict=True)),
                *(f"{cell:>{width}}" for cell, width in zip(row[3:5], widths[3:], strict=True)),
                row[5],
            ]
        ).rstrip()
        for row in cells
    ]
    return "\n".join([*lines, "", totals(steps)])


def _row(group: Group) -> layer_table.Row:
    more = f" +{group.steps - 1}" if group.steps > 1 else ""
    frozen = None if not group.parameters else group.trainable == 0
    return layer_table.Row(group.name + more, group.kind, _sides(group.shape), group.parameters, group.flops, frozen)


def _joined(rows: Sequence[layer_table.Row]) -> layer_table.Row:
    """What there is no room for, as one row."""
    parameters, flops = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    frozen = None if not parameters else all(row.frozen is not False for row in rows)
    return layer_table.Row(f"… {len(rows):,} more in layers.csv", "", "", parameters, flops, frozen)


def _boxes(steps: Sequence[Step]) -> list[diagram.Box]:
    found = []
    for group in blocks(steps):
        name = "image" if group.kind == INPUT else group.name
        found.append(diagram.Box(name, group.shape, group.steps, group.parameters, group.trainable))
    return found


def _csv(path: Path, steps: Sequence[Step]) -> Path:
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    table.writerow(["layer", "kind", "output", "parameters", "trainable", "flops", "frozen"])
    for step in steps:
        numbers = (step.parameters, step.trainable, step.flops, int(step.frozen))
        table.writerow([in_csv(step.name), step.kind, _sides(step.shape), *numbers])
    write_whole(path, content.getvalue())
    return path


def _sides(shape: Sequence[int | None]) -> str:
    return "×".join("?" if side is None else str(side) for side in shape)


def _listed(outputs: object) -> list[object]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

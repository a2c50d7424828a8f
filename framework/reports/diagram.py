"""A network as boxes that shrink and deepen: as high and wide as its feature maps, as deep as they have channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framework.core.names import short
from framework.reports.layer_table import amount
from framework.reports.style import BLUE, GREY, INK, ORANGE, figure, heading, save

TALLEST, DEEPEST, SLANT, GAP = 2.6, 1.5, 0.38, 0.62
HEAD, FOOT = 0.3, 1.0
MOST_BOXES, MOST_CLASSES = 20, 12


@dataclass(frozen=True)
class Box:
    """Steps whose output has one height and width, or a vector: ``shape`` has three sides or one."""

    name: str
    shape: tuple[int | None, ...]
    steps: int
    parameters: int
    trainable: int


def draw(path: Path, boxes: Sequence[Box], classes: Sequence[str], title: str, below: str) -> Path:
    """Write the figure; orange trains, blue is frozen, grey has no weights. The class names stand at the end."""
    from matplotlib.patches import Polygon

    boxes = _joined(boxes)
    sides = [max(side or 1 for side in box.shape[:2]) if len(box.shape) > 1 else 1 for box in boxes]
    heights = [
        TALLEST * (side / max(sides)) ** 0.6 if len(box.shape) > 1 else 0
        for side, box in zip(sides, boxes, strict=True)
    ]
    channels = [math.log2(1 + (box.shape[-1] or 1)) for box in boxes]
    depths = [max(0.1, DEEPEST * (value / 11) ** 1.6) for value in channels]
    shown = [short(name) for name in classes]
    if len(shown) > MOST_CLASSES:
        shown[MOST_CLASSES - 1 :] = [f"… {len(shown) - MOST_CLASSES + 1:,} more"]
    names = 0.085 * max(map(len, shown)) + 0.5
    widths = [depth + SLANT * height if height else 0.22 for depth, height in zip(depths, heights, strict=True)]
    width = sum(max(own, 0.85) + GAP * 0.4 for own in widths) + names + 0.8
    height = TALLEST * (1 + SLANT * 0.6) + HEAD + FOOT + 0.7
    page = figure(width, height)
    axes = page.subplots()
    axes.axis("off")
    axes.set_aspect("equal")
    x = 0.0
    for box, tall, deep, own in zip(boxes, heights, depths, widths, strict=True):
        colour = GREY if not box.parameters else ORANGE if box.trainable else BLUE
        room = max(own, 0.85)
        left = x + (room - own) / 2
        if tall:
            slant_x, slant_y = SLANT * tall, SLANT * 0.6 * tall
            low = -(tall + slant_y) / 2
            front = [(0, 0), (deep, 0), (deep, tall), (0, tall)]
            top = [(0, tall), (slant_x, tall + slant_y), (deep + slant_x, tall + slant_y), (deep, tall)]
            side = [(deep, 0), (deep + slant_x, slant_y), (deep + slant_x, tall + slant_y), (deep, tall)]
            for face, shade in ((front, 0.55), (top, 0.35), (side, 0.8)):
                corners = [(left + px, low + py) for px, py in face]
                axes.add_patch(Polygon(corners, facecolor=_mixed(colour, shade), edgecolor="white", linewidth=1.2))
        else:
            tall = TALLEST * min(1, max(0.18, math.log2(1 + (box.shape[-1] or 1)) / 11))
            corners = [(left, -tall / 2), (left + 0.22, -tall / 2), (left + 0.22, tall / 2), (left, tall / 2)]
            axes.add_patch(Polygon(corners, facecolor=_mixed(colour, 0.8), edgecolor="white", linewidth=1.2))
        middle = x + room / 2
        floor = -TALLEST * (1 + SLANT * 0.6) / 2 - 0.12
        maps = (
            "×".join("?" if side is None else str(side) for side in box.shape[:2]) if len(box.shape) > 1 else "vector"
        )
        axes.text(middle, floor, maps, ha="center", va="top", fontsize=9, color=INK, fontweight="bold")
        axes.text(middle, floor - 0.2, f"{box.shape[-1]}", ha="center", va="top", fontsize=9, color=INK)
        layers = f"{box.steps} layers" if box.steps > 1 else short(box.name, 16)
        below_it = f"{layers}\n{amount(box.parameters)} weights" if box.parameters else short(box.name, 16)
        axes.text(middle, floor - 0.42, below_it, ha="center", va="top", fontsize=7.5, color=GREY, linespacing=1.35)
        x += room + GAP * 0.4
        axes.annotate(
            "",
            (x - 0.02, 0),
            (x - GAP * 0.4 + 0.02, 0),
            arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
        )
    step = min(0.26, TALLEST / len(shown))
    for place, name in enumerate(shown):
        y = ((len(shown) - 1) / 2 - place) * step
        axes.text(x + 0.08, y, name, fontsize=8.5, color=INK, va="center")
    axes.set_xlim(-0.1, x + names)
    axes.set_ylim(-TALLEST * (1 + SLANT * 0.6) / 2 - FOOT, TALLEST * (1 + SLANT * 0.6) / 2 + 0.05)
    heading(page, title, below)
    return save(page, path)


def _mixed(colour: str, share: float) -> tuple[float, float, float]:
    """The colour with so much of it, the rest white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _joined(boxes: Sequence[Box]) -> Sequence[Box]:
    """The boxes, of too many those in the middle as one."""
    if len(boxes) <= MOST_BOXES:
        return boxes
    first, last = MOST_BOXES // 2, len(boxes) - MOST_BOXES // 2 + 1
    middle = boxes[first:last]
    sums = [sum(getattr(box, key) for box in middle) for key in ("steps", "parameters", "trainable")]
    return [*boxes[:first], Box("…", middle[-1].shape, *sums), *boxes[last:]]

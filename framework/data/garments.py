"""Ten classes of clothes, drawn: images to try everything on, without a download.

``draw`` is a pure function of its arguments. A garment is polygons in a frame of its own, x to the right and y down,
both about -1 to 1; a pose moves it into the image, on a background, under a light, with a camera's noise.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from framework.core.console import progress, say
from framework.core.files import cache_folder, locked

NAMES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
# Part of the name of the folder they are kept in: raise it with any change of the drawings.
DRAWING_VERSION = "1"

_NOISE_SIDE = 128

Points = Sequence[tuple[float, float]]
Colour = tuple[int, int, int]


def draw(name: str, seed: int, size: int) -> Image.Image:
    """One image of a garment: RGB, ``size`` pixels a side; the same for the same arguments.

    Args:
        name: one of ``NAMES``.
        seed: decides cut, colours, pattern, pose, background, light and noise.
        size: side in pixels.
    """
    rng = _generator(f"{name}/{seed}")
    scene = _background(rng, size)
    pen = _Pen(rng, size)
    _GARMENTS[name](pen, rng)
    # Drawn at twice the size, for smooth edges; outside the mask the cloth is black, so sums of pixels are exact.
    cloth = Image.composite(pen.cloth, Image.new("RGB", pen.cloth.size), pen.mask).reduce(2)
    mask = pen.mask.reduce(2)
    shift = max(1, round(size * rng.uniform(0.01, 0.03)))
    shadow = ImageChops.offset(mask, shift, shift).filter(ImageFilter.GaussianBlur(size * rng.uniform(0.01, 0.03)))
    scene *= 1 - 0.45 / 255 * np.asarray(shadow, np.float32)[..., None]
    scene *= 1 - np.asarray(mask, np.float32)[..., None] / 255
    scene += np.asarray(cloth, np.float32)
    return Image.fromarray(_photographed(scene, rng))


def demonstration_files(count: int) -> list[tuple[int, str]]:
    """Label and relative path of so many images, spread evenly over the classes."""
    return [
        (label, f"{name}/{number:04d}.jpg")
        for label, name in enumerate(NAMES)
        for number in range((count - label + len(NAMES) - 1) // len(NAMES))
    ]


def demonstration_folder(counts: Mapping[str, int], size: int, seed: int) -> Path:
    """Where the images drawn for these counts by split, this side and seed are kept; it may not exist yet."""
    spread = "-".join(f"{split}{count}" for split, count in counts.items())
    return cache_folder() / "garments" / f"v{DRAWING_VERSION}-{spread}-size{size}-seed{seed}"


def write_demonstration(counts: Mapping[str, int], size: int, seed: int) -> None:
    """Draw the images if they are not there yet: an image folder, complete or absent, and drawn by one process."""
    folder = demonstration_folder(counts, size, seed)
    if folder.is_dir():
        return
    with locked(folder.with_name(f"{folder.name}.lock"), lambda: say("Another process draws the garments: waiting.")):
        if folder.is_dir():
            return
        for left in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        beside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        try:
            _write(beside, counts, size, seed)
            os.replace(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _write(folder: Path, counts: Mapping[str, int], size: int, seed: int) -> None:
    jobs = [(split, label, name) for split, count in counts.items() for label, name in demonstration_files(count)]
    for split in counts:
        for name in NAMES:
            (folder / split / name).mkdir(parents=True)

    # One by one: drawing holds the interpreter's lock, and threads were seen to make it slower.
    with progress("Drawing garments", len(jobs), "images") as advance:
        for split, label, name in jobs:
            number = int.from_bytes(hashlib.blake2b(f"{seed}/{split}/{name}".encode(), digest_size=7).digest(), "big")
            draw(NAMES[label], number, size).save(folder / split / name, quality=92)
            advance(1)


class _Pen:
    """Draws shapes of a garment's own frame onto its cloth, and remembers where there is cloth."""

    def __init__(self, rng: np.random.Generator, size: int):
        self.side = side = 2 * size
        self.cloth = Image.new("RGB", (side, side))
        self.mask = Image.new("L", (side, side))
        angle = np.deg2rad(rng.normal(0, 7))
        scale = side * rng.uniform(0.36, 0.47) * np.asarray([rng.uniform(0.9, 1.1), 1.0])
        turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
        self.matrix = turn @ np.diag(scale) @ mirror
        self.centre = side / 2 + side * rng.uniform(-0.06, 0.06, 2)
        self.colour = _colour(rng)
        self.dark = _shade(self.colour, 0.62) if sum(self.colour) > 150 else _shade(self.colour, 1.0, 45)
        self.accent = _contrast(rng, self.colour)
        self.fabric = _fabric(rng, size, self.colour, float(angle)).resize((side, side), Image.Resampling.NEAREST)
        self.shaded = Image.blend(self.fabric, Image.new("RGB", self.fabric.size), 0.2)
        self.ragged = rng.normal(0, 0.012, (64, 2))

    def place(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        """Points of the garment's frame in pixels."""
        moved = np.asarray(list(points)) @ self.matrix.T + self.centre
        return [(float(x), float(y)) for x, y in moved]

    def fill(self, points: Points, paint: Image.Image | Colour | None = None, smooth: bool = False) -> None:
        """A closed shape of the garment's fabric, or of another paint; smooth rounds its corners."""
        corners = np.asarray(points, float) + self.ragged[: len(points)]
        placed = self.place(_rounded(corners) if smooth else corners)
        left, top = (max(0, int(min(values)) - 1) for values in zip(*placed, strict=True))
        right, bottom = (min(self.side, int(max(values)) + 2) for values in zip(*placed, strict=True))
        box = (left, top, max(right, left + 1), max(bottom, top + 1))
        shape = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(shape).polygon([(x - left, y - top) for x, y in placed], fill=255)
        paint = self.fabric if paint is None else paint
        self.cloth.paste(paint.crop(box) if isinstance(paint, Image.Image) else paint, box, shape)
        ImageDraw.Draw(self.cloth).line([*placed, placed[0]], fill=self.dark, width=max(1, self.side // 110))
        self.mask.paste(255, box, shape)

    def both(self, points: Points, paint: Image.Image | Colour | None = None, smooth: bool = False) -> None:
        """A shape and its mirror image."""
        self.fill(points, paint, smooth)
        self.fill([(-x, y) for x, y in points], paint, smooth)

    def line(self, points: Points, colour: Colour | None = None, width: float = 0.02) -> None:
        """A seam, a lace, a fold."""
        thickness = max(1, round(width * self.side * 0.42))
        ImageDraw.Draw(self.cloth).line(self.place(points), fill=colour or self.dark, width=thickness, joint="curve")

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A button, an eyelet."""
        ((x, y),) = self.place([(x, y)])
        radius = max(1.0, radius * self.side * 0.42)
        ImageDraw.Draw(self.cloth).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _torso(pen: _Pen, rng: np.random.Generator, *, width: float, neck: float, depth: float, hem: float) -> None:
    waist = width * rng.uniform(0.86, 1.0)
    left = [(-neck, -0.72), (-width, -0.6), (-width, -0.2), (-waist, 0.2), (-width * 1.02, hem)]
    right = [(-x, y) for x, y in reversed(left)]
    collar = [(neck * 0.75, -0.72 + depth * 0.7), (0.0, -0.72 + depth), (-neck * 0.75, -0.72 + depth * 0.7)]
    pen.fill([*left, *right, *collar])


def _neckline(pen: _Pen, neck: float, depth: float, width: float = 0.05) -> None:
    curve = [(neck * x, -0.72 + depth * (1 - abs(x) ** 2.2)) for x in np.linspace(-1, 1, 9)]
    pen.line(curve, pen.dark, width)


def _short_sleeves(pen: _Pen, rng: np.random.Generator, width: float) -> None:
    reach, drop = rng.uniform(0.3, 0.38), rng.uniform(0.28, 0.42)
    pen.both(
        [(-width * 0.8, -0.66), (-width - reach, -0.66 + drop), (-width - reach * 0.5, -0.4 + drop), (-width, -0.28)],
        pen.shaded,
    )


def _long_sleeves(pen: _Pen, rng: np.random.Generator, width: float, thick: float, cuff: bool) -> None:
    spread, end = rng.uniform(0.16, 0.36), rng.uniform(0.42, 0.62)
    outer = -width - spread
    pen.both(
        [(-width * 0.75, -0.68), (-width - thick * 0.55, -0.5), (outer - thick * 0.4, end),
         (outer + thick * 0.45, end + 0.03), (-width + 0.02, -0.15)],
        pen.shaded,
    )  # fmt: skip
    if cuff:
        pen.both(
            [(outer - thick * 0.45, end), (outer + thick * 0.48, end + 0.03), (outer + thick * 0.46, end + 0.12),
             (outer - thick * 0.44, end + 0.09)],
            pen.dark,
        )  # fmt: skip


def _tshirt(pen: _Pen, rng: np.random.Generator) -> None:
    width, neck, depth = rng.uniform(0.44, 0.54), rng.uniform(0.17, 0.23), rng.uniform(0.09, 0.24)
    _short_sleeves(pen, rng, width)
    _torso(pen, rng, width=width, neck=neck, depth=depth, hem=rng.uniform(0.68, 0.85))
    _neckline(pen, neck, depth)
    if rng.random() < 0.45:
        half, middle = rng.uniform(0.1, 0.24), rng.uniform(-0.15, 0.05)
        pen.fill(_oval(0, middle, half, half, int(rng.integers(3, 8))), pen.accent)


def _longsleeve(pen: _Pen, rng: np.random.Generator) -> None:
    width, neck, depth = rng.uniform(0.42, 0.5), rng.uniform(0.16, 0.2), rng.uniform(0.07, 0.13)
    _long_sleeves(pen, rng, width, rng.uniform(0.2, 0.26), cuff=bool(rng.random() < 0.75))
    hem = rng.uniform(0.66, 0.8)
    _torso(pen, rng, width=width, neck=neck, depth=depth, hem=hem)
    _neckline(pen, neck, depth, 0.07)
    if rng.random() < 0.6:
        pen.line([(-width, hem - 0.07), (width, hem - 0.07)], width=0.03)


def _shirt(pen: _Pen, rng: np.random.Generator) -> None:
    width, neck = rng.uniform(0.42, 0.5), rng.uniform(0.17, 0.21)
    hem = rng.uniform(0.68, 0.82)
    if rng.random() < 0.7:
        _long_sleeves(pen, rng, width, rng.uniform(0.22, 0.28), cuff=True)
    else:
        _short_sleeves(pen, rng, width)
    _torso(pen, rng, width=width, neck=neck, depth=0.1, hem=hem)
    pale = _shade(pen.colour, 1.0, 60) if sum(pen.colour) < 600 else _shade(pen.colour, 0.8)
    pen.fill([(-0.06, -0.6), (0.06, -0.6), (0.06, hem), (-0.06, hem)], pale)
    for y in np.arange(-0.5, hem - 0.05, 0.2):
        pen.dot(0, y, 0.045, pen.accent)
    pen.both([(0.0, -0.56), (-neck - 0.07, -0.48), (-neck - 0.03, -0.78), (-neck * 0.5, -0.82)], pale)
    if rng.random() < 0.7:
        pen.fill([(0.14, -0.3), (0.36, -0.3), (0.36, -0.08), (0.25, -0.03), (0.14, -0.08)])


def _outwear(pen: _Pen, rng: np.random.Generator) -> None:
    width, neck = rng.uniform(0.5, 0.6), rng.uniform(0.2, 0.26)
    hem = rng.uniform(0.7, 0.95)
    lining = _shade(pen.accent, 0.75)
    hooded = rng.random() < 0.5
    if hooded:
        rim, inner = neck + 0.12, neck - 0.04
        pen.fill([(-rim, -0.6), (0.02 - rim, -0.9), (0, -1.02), (rim - 0.02, -0.9), (rim, -0.6)], smooth=True)
        pen.fill([(-neck, -0.62), (-inner, -0.83), (0, -0.9), (inner, -0.83), (neck, -0.62)], lining, smooth=True)
    _long_sleeves(pen, rng, width, rng.uniform(0.3, 0.38), cuff=bool(rng.random() < 0.5))
    _torso(pen, rng, width=width, neck=neck, depth=0.12, hem=hem)
    gap = rng.uniform(0.06, 0.2) if rng.random() < 0.6 else 0.0
    if gap:
        left = [(-gap * 1.1, hem), (-gap, -0.1), (-neck * 0.8, -0.66)]
        pen.fill([*left, *((-x, y) for x, y in reversed(left))], lining)
    edge = _shade(pen.colour, 0.4) if sum(pen.colour) > 250 else (205, 205, 200)
    for x in {gap, -gap}:
        pen.line([(np.sign(x) * neck * 0.8, -0.64), (x, -0.1), (x * 1.1, hem)], edge, 0.045)
    if not hooded:
        pen.both([(-neck * 0.8, -0.76), (-neck - 0.13, -0.62), (-0.3, -0.36), (-max(gap, 0.03), -0.08)], pen.shaded)
    for side in (-1, 1):
        pen.line([(side * (width - 0.08), 0.36), (side * (gap + 0.1), 0.26)], edge, 0.05)


def _dress(pen: _Pen, rng: np.random.Generator) -> None:
    bust, waist, flare = rng.uniform(0.26, 0.34), rng.uniform(0.2, 0.26), rng.uniform(0.5, 0.78)
    height, hem = rng.uniform(-0.3, -0.12), rng.uniform(0.8, 1.0)
    neck, depth = bust * rng.uniform(0.45, 0.65), rng.uniform(0.1, 0.28)
    sleeves = rng.random()
    if sleeves < 0.35:
        pen.both([(-bust * 0.8, -0.9), (-bust - 0.2, -0.66), (-bust - 0.08, -0.54), (-bust, -0.64)], pen.shaded)
    strap = -0.92 if sleeves < 0.35 else -0.97
    left = [(-neck, strap), (-bust * 0.92, strap + 0.04), (-bust, -0.6), (-waist, height)]
    bottom = [(flare * x, hem + 0.05 * (1 - x * x)) for x in np.linspace(-1, 1, 7)]
    right = [(-x, y) for x, y in reversed(left)]
    collar = [(neck * 0.7, strap + depth * 0.8), (0, strap + depth), (-neck * 0.7, strap + depth * 0.8)]
    pen.fill([*left, *bottom, *right, *collar])
    for x in np.linspace(-0.7, 0.7, rng.integers(3, 6)):
        pen.line([(waist * x, height + 0.08), (flare * x, hem - 0.04)], width=0.012)
    if rng.random() < 0.6:
        pen.fill(_band(waist, height - 0.04, waist + 0.01, height + 0.06), pen.accent)


def _skirt(pen: _Pen, rng: np.random.Generator) -> None:
    waist, flare = rng.uniform(0.3, 0.38), rng.uniform(0.5, 0.85)
    top, hem = rng.uniform(-0.6, -0.45), rng.uniform(0.35, 0.8)
    bottom = [(flare * x, hem + 0.07 * (1 - x * x)) for x in np.linspace(-1, 1, 9)]
    hip = (waist + flare) / 2 * rng.uniform(0.92, 1.06)
    pen.fill([(-waist, top), (-hip, top * 0.5 + hem * 0.3), *bottom, (hip, top * 0.5 + hem * 0.3), (waist, top)])
    for x in np.linspace(-0.8, 0.8, rng.integers(3, 9)):
        pen.line([(waist * x, top + 0.1), (flare * x, hem)], width=0.016)
    band = pen.dark if rng.random() < 0.6 else pen.accent
    pen.fill(_band(waist, top - 0.03, waist, top + 0.09), band)


def _legs(pen: _Pen, rng: np.random.Generator, hem: float, ankle: float, spread: float) -> None:
    waist, hip, crotch = rng.uniform(0.32, 0.38), rng.uniform(0.4, 0.46), rng.uniform(-0.32, -0.2)
    top = -0.88 if hem > 0.5 else -0.55
    crotch = crotch if hem > 0.5 else rng.uniform(0.02, 0.14)
    for side, paint in ((-1, pen.fabric), (1, pen.shaded)):
        pen.fill(
            [(side * x, y) for x, y in [(0, top), (waist, top), (hip, (top + crotch) / 2 + 0.08), (spread + ankle, hem),
             (spread - ankle, hem), (0, crotch)]],
            paint,
        )  # fmt: skip
    band = pen.dark if rng.random() < 0.6 else pen.fabric
    pen.fill(_band(waist, top - 0.03, waist, top + 0.08), band)
    pen.line([(0, top + 0.08), (0, crotch)], width=0.025)
    pen.line([(-waist + 0.02, top + 0.28), (-waist + 0.16, top + 0.1)])
    pen.line([(waist - 0.02, top + 0.28), (waist - 0.16, top + 0.1)])


def _pants(pen: _Pen, rng: np.random.Generator) -> None:
    ankle = rng.uniform(0.11, 0.2)
    _legs(pen, rng, hem=rng.uniform(0.85, 0.98), ankle=ankle, spread=ankle + rng.uniform(0.04, 0.16))


def _shorts(pen: _Pen, rng: np.random.Generator) -> None:
    ankle = rng.uniform(0.22, 0.28)
    hem = rng.uniform(0.36, 0.5)
    _legs(pen, rng, hem=hem, ankle=ankle, spread=ankle + rng.uniform(0.04, 0.12))
    if rng.random() < 0.4:
        for side in (-1, 1):
            pen.line([(0, -0.45), (side * 0.06, -0.2)], pen.accent, 0.03)


def _hat(pen: _Pen, rng: np.random.Generator) -> None:
    crown, height = rng.uniform(0.42, 0.55), rng.uniform(0.5, 0.7)
    left = [(-crown, 0.15), (-crown * 0.95, 0.15 - height * 0.6), (-crown * 0.5, 0.15 - height)]
    dome = [*left, *((-x, y) for x, y in reversed(left))]
    kind = rng.integers(3)
    if kind == 0:  # with a brim all round
        brim, depth = rng.uniform(0.8, 1.0), rng.uniform(0.12, 0.22)
        pen.fill(_oval(0, 0.18, brim, depth, 24), pen.shaded)
        pen.fill(dome, smooth=True)
        pen.fill(_band(crown * 0.98, -0.02, crown, 0.16), pen.accent)
    elif kind == 1:  # a cap with a visor
        pen.fill(dome, smooth=True)
        pen.line([(0, 0.15 - height), (0.05, 0.1)])
        tip = crown + rng.uniform(0.35, 0.55)
        visor = [(crown * 0.1, 0.05), (crown, 0.04), (tip, 0.24), (crown * 0.8, 0.25), (crown * 0.1, 0.18)]
        pen.fill(visor, pen.shaded)
        pen.dot(0, 0.15 - height, 0.05, pen.dark)
    else:  # a knitted one
        pen.fill(dome, smooth=True)
        pen.fill(_band(crown * 1.05, 0.02, crown * 1.05, 0.3), pen.shaded)
        for x in np.linspace(-0.95, 0.95, 11):
            pen.line([(crown * x, 0.04), (crown * x, 0.28)], width=0.018)
        if rng.random() < 0.6:
            pen.fill(_oval(0, 0.08 - height, 0.15, 0.15, 12), pen.accent)


def _shoes(pen: _Pen, rng: np.random.Generator) -> None:
    kind = rng.integers(3)
    sole = _shade(pen.accent, 1.0, 25) if rng.random() < 0.6 else (235, 232, 225)
    if kind == 2:  # with a heel
        heel = rng.uniform(0.3, 0.5)
        pen.fill([(-0.8, 0.3 - heel), (-0.62, 0.34 - heel), (-0.66, 0.4), (-0.76, 0.4)], pen.dark)
        pen.fill(
            [(-0.82, -0.02 - heel), (-0.6, 0.06 - heel), (-0.1, 0.18), (0.3, 0.1), (0.85, 0.3),
             (0.88, 0.38), (0.3, 0.4), (-0.15, 0.32), (-0.62, 0.36 - heel), (-0.84, 0.3 - heel)],
            smooth=True,
        )  # fmt: skip
        return
    ankle = rng.uniform(-0.75, -0.5) if kind == 1 else rng.uniform(-0.22, -0.1)
    pen.fill(
        [(-0.8, 0.3), (-0.82, ankle), (-0.3, ankle - 0.02), (-0.22, -0.06), (0.2, 0.06), (0.72, 0.12),
         (0.9, 0.26), (0.9, 0.34)],
    )  # fmt: skip
    pen.fill([(-0.86, 0.28), (0.93, 0.28), (0.92, 0.42), (0.75, 0.46), (-0.84, 0.46)], sole)
    for number in range(3 + 2 * int(kind == 1)):
        x, y = -0.12 + 0.13 * number, -0.04 + 0.045 * number
        if kind == 1:
            x, y = -0.3 + 0.03 * number, -0.42 + 0.1 * number
        pen.line([(x - 0.08, y + 0.12), (x + 0.05, y)], sole, 0.035)
    pen.line([(0.5, 0.28), (0.55, 0.14)], width=0.03)


_GARMENTS: dict[str, Callable[[_Pen, np.random.Generator], None]] = {
    "dress": _dress,
    "hat": _hat,
    "longsleeve": _longsleeve,
    "outwear": _outwear,
    "pants": _pants,
    "shirt": _shirt,
    "shoes": _shoes,
    "shorts": _shorts,
    "skirt": _skirt,
    "t-shirt": _tshirt,
}


def _oval(x: float, y: float, width: float, height: float, corners: int) -> Points:
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return [(x + width * np.cos(turn), y + height * np.sin(turn)) for turn in turns]


def _band(above: float, top: float, below: float, bottom: float) -> Points:
    """A strip across, as half widths at its top and bottom."""
    return [(-above, top), (above, top), (below, bottom), (-below, bottom)]


def _rounded(corners: np.ndarray) -> np.ndarray:
    """A closed Catmull-Rom curve through the corners."""
    before, after, next_after = (np.roll(corners, shift, axis=0) for shift in (1, -1, -2))
    curve = []
    for t in np.linspace(0, 1, 6, endpoint=False):
        curve.append(
            0.5 * (2 * corners + (after - before) * t + (2 * before - 5 * corners + 4 * after - next_after) * t**2
                   + (3 * corners - before - 3 * after + next_after) * t**3)
        )  # fmt: skip
    return np.stack(curve, axis=1).reshape(-1, 2)


def _colour(rng: np.random.Generator) -> Colour:
    """A colour that clothes have: greys and blues often, the rest of the wheel too."""
    import colorsys

    hue = rng.normal(0.6, 0.06) % 1 if rng.random() < 0.25 else rng.random()
    saturation = rng.uniform(0, 0.12) if rng.random() < 0.3 else rng.uniform(0.25, 0.85)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.15, 0.97))
    return int(red * 255), int(green * 255), int(blue * 255)


def _contrast(rng: np.random.Generator, colour: Colour) -> Colour:
    """A colour that can be told from another one."""
    while True:
        other = _colour(rng)
        if sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 180:
            return other


def _shade(colour: Colour, factor: float, lift: int = 0) -> Colour:
    red, green, blue = (min(255, int(value * factor) + lift) for value in colour)
    return red, green, blue


def _fabric(rng: np.random.Generator, size: int, colour: Colour, angle: float) -> Image.Image:
    """The garment's cloth, plain, striped or checked, with soft folds."""
    y, x = _grid(size)
    cos, sin = math.cos(angle), math.sin(angle)
    cloth = np.empty((size, size, 3), np.float32)
    cloth[:] = colour
    kind = rng.choice(["plain", "plain", "plain", "stripes", "columns", "checks"])
    if kind != "plain":
        period, share = rng.uniform(0.05, 0.13), rng.uniform(0.2, 0.5)
        ink = np.asarray(_contrast(rng, colour), np.float32)
        strength = rng.uniform(0.25, 0.9)
        down, right = (y * cos - x * sin) / period, (x * cos + y * sin) / period
        for place in {"stripes": (down,), "columns": (right,), "checks": (down, right)}[kind]:
            inked = (place - np.floor(place)) < share
            cloth[inked] += strength * (ink - cloth[inked])
    # folds: the sine of a sum, from sines of a row and of a column
    row = x * rng.uniform(8, 22) + rng.uniform(0, 6.3)
    column = y * rng.uniform(-14, 14)
    wave = np.sin(row) * np.cos(column) + np.cos(row) * np.sin(column)
    cloth *= (1 + rng.uniform(0.03, 0.1) * wave)[..., None]
    return Image.fromarray(np.clip(cloth, 0, 255, out=cloth).astype(np.uint8))


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall, a floor, a bed: one colour, a gradient, planks or a blurred texture; float32 in 0–255."""
    kind = rng.choice(["plain", "gradient", "planks", "texture"])
    first, second = np.asarray(_colour(rng), np.float32), np.asarray(_colour(rng), np.float32)
    pale = rng.uniform(0.15, 0.75)
    first, second = (1 - pale) * first + pale * 235, (1 - pale) * second + pale * 235
    scene = np.empty((size, size, 3), np.float32)
    scene[:] = first
    y, x = _grid(size)
    if kind == "gradient":
        turn = rng.uniform(0, 2 * np.pi)
        share = np.clip(0.5 + (x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn), 0, 1)
        scene += share[..., None] * (second - first)
    elif kind == "planks":
        turn, width = rng.uniform(-0.3, 0.3) + rng.choice([0, np.pi / 2]), rng.uniform(0.1, 0.25)
        number = np.floor((x * math.cos(turn) + y * math.sin(turn) + 2) / width).astype(int)
        within = (x * math.cos(turn) + y * math.sin(turn) + 2) / width - number
        scene *= rng.uniform(0.86, 1.08, 64).astype(np.float32)[number % 64][..., None]
        scene[within < 0.06] *= 0.7
    elif kind == "texture":
        cells = int(rng.integers(4, 24))
        spots = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
        spots = spots.resize((size, size), Image.Resampling.BICUBIC)
        scene += (np.asarray(spots, np.float32)[..., None] / 255 - 0.5) * rng.uniform(0.1, 0.5) * (second - first + 40)
    return np.clip(scene, 0, 255, out=scene)


def _photographed(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from one side, the light's colour, exposure, and noise: float32 to uint8 of the same shape."""
    side = len(scene)
    y, x = _grid(side)
    turn = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.5) * ((x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn))
    tint = rng.uniform(0.92, 1.08, 3).astype(np.float32)
    start = rng.integers(0, _NOISE_SIDE, 2)
    noise = _noise(side)[start[0] : start[0] + side, start[1] : start[1] + side] * np.float32(rng.uniform(2, 9))
    scene *= (light * rng.uniform(0.75, 1.15))[..., None]
    scene *= tint
    scene += noise
    return np.clip(scene, 0, 255, out=scene).astype(np.uint8)


@lru_cache(maxsize=4)
def _noise(side: int) -> np.ndarray:
    """Normal noise to cut an image's out of: drawing it anew for each would be a fifth of all the work."""
    shape = (_NOISE_SIDE + side, _NOISE_SIDE + side, 3)
    return _generator("noise").standard_normal(shape, np.float32)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of each pixel in 0–1, as a column and a row."""
    along = np.arange(size, dtype=np.float32) / size
    return along[:, None], along[None, :]


def _generator(text: str) -> np.random.Generator:
    seed = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(seed, np.uint64)))

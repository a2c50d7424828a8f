"""What there is to say of a data set, one finding for each kind of thing, the gravest first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from framework.core.errors import many
from framework.data.images import Images
from framework.inspection import alike
from framework.inspection.look import Look
from framework.inspection.neighbours import Suspect

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
HUGE, TINY, LONG = 50_000_000, 32, 4.0
FEW, UNEVEN = 20, 10.0
FAINT = 32  # of 255: an eighth
COLOURS = {"CMYK": "CMYK", "P": "palette", "1": "black and white", "F": "32 bits", "I": "32 bits", "LAB": "Lab"}


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: a short name.
        severity: ``error`` spoils results, ``warning`` may, ``note`` is read right and only told.
        what: a clause with the count.
        advice: what to do.
        groups: files, those of one group belong together; each with a word about it.
    """

    kind: str
    severity: Severity
    what: str
    advice: str
    groups: tuple[tuple[tuple[str, str], ...], ...] = ()

    def record(self, root: str) -> dict[str, Any]:
        """For JSON, paths from ``root`` on."""
        groups = [[{"file": relative(path, root), "says": says} for path, says in group] for group in self.groups]
        told = {"kind": self.kind, "severity": self.severity, "what": self.what, "advice": self.advice}
        return {**told, "groups": groups}


def findings(images: Images, looks: Sequence[Look], suspects: Sequence[Suspect] = ()) -> list[Finding]:
    """All findings, the gravest first.

    Args:
        images: the data set.
        looks: at each image, split after split in the order of ``images.splits``.
        suspects: images whose label may be wrong, by their position among all.
    """
    places = _places(images)
    found = [
        *_files(looks, images),
        *_alike(looks, places, images.numbers),
        *_classes(images),
        *_labels(looks, places, images, suspects),
    ]
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def relative(path: str, root: str) -> str:
    """A path as it is told: from the data's folder on where it lies in it; bytes that are no text as ``?``."""
    inside = os.path.relpath(path, root) if path.startswith(root.rstrip(os.sep) + os.sep) else path
    return inside.encode(errors="surrogateescape").decode(errors="replace")


@dataclass(frozen=True)
class _Place:
    split: str
    label: str


def _places(images: Images) -> list[_Place]:
    """Split and label of each image."""
    places = []
    for split, listed in images.splits.items():
        for label in listed.labels:
            if images.numbers:
                places.append(_Place(split, ", ".join(f"{value:g}" for value in label)))
            elif images.multilabel:
                names = [images.classes[number] for number in np.flatnonzero(label)]
                places.append(_Place(split, ", ".join(names) or "none"))
            else:
                places.append(_Place(split, images.classes[int(label)]))
    return places


def _each(kind: str, severity: Severity, what: str, advice: str, files: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """A finding if there are files; ``what`` follows their number, be it one or more."""
    groups = _apart(files)
    if groups:
        yield Finding(kind, severity, f"{many(len(groups), 'file')} {what}", advice, groups)


def _apart(files: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Each file a group by itself."""
    return tuple((one,) for one in files)


def _files(looks: Sequence[Look], images: Images) -> Iterator[Finding]:
    """What is odd about single files."""
    good = [look for look in looks if not look.error]
    bad = [(look.path, look.error) for look in looks if look.error]
    right = "nothing to do: it is read right"
    yield from _each("unreadable", "error", "can't be read", "remove, or train with data.on_error=skip", bad)
    left = [one for one in images.unused if not one.wanted]
    unused = [(path, one.kind.one) for one in left for path in one.examples]
    if unused:
        told = ", ".join(map(str, left))
        yield Finding("not used", "warning", f"not used: {told}", "move away, or make images of it", _apart(unused))
    for note in images.notes:
        yield Finding("data", "note", note, "have a look")
    size = [(look, look.width * look.height) for look in good]
    yield from _each(
        "huge",
        "warning",
        f"of more than {HUGE // 10**6} million pixels: slow to decode",
        "make smaller once, if training waits",
        ((look.path, f"{look.width}×{look.height}") for look, count in size if count > HUGE),
    )
    yield from _each(
        "tiny",
        "warning",
        f"of less than {TINY} pixels width or height",
        "have a look: little is to be seen",
        ((look.path, f"{look.width}×{look.height}") for look in good if min(look.width, look.height) < TINY),
    )
    yield from _each(
        "long",
        "warning",
        f"more than {LONG:g} times as long as wide: badly squeezed when stretched to a square",
        "data.resize=pad or crop, or cut them yourself",
        (
            (look.path, f"{look.width}×{look.height}")
            for look in good
            if max(look.width, look.height) > LONG * min(look.width, look.height)
        ),
    )
    yield from _each(
        "ending",
        "note",
        "of another format than the ending says",
        right,
        ((look.path, f"{look.format} named {look.named}") for look in good if look.named not in ("", look.format)),
    )
    yield from _each(
        "turned",
        "note",
        "turned by EXIF data",
        right,
        ((look.path, f"orientation {look.orientation}") for look in good if look.orientation not in (0, 1)),
    )
    yield from _each(
        "colours",
        "note",
        "of other colours than 8-bit RGB or grey",
        right,
        ((look.path, says) for look in good if (says := _colours(look.mode))),
    )
    yield from _each(
        "deep",
        "note",
        "of more than 8 bits a channel",
        "know that 8 of them are read: the finest differences of level are lost",
        ((look.path, look.mode) for look in good if look.deep),
    )
    yield from _each(
        "faint",
        "warning",
        "of more than 8 bits a channel that fill less than an eighth of their range: little is left of them in 8",
        "stretch their levels first: 12 bits in a file of 16 want to be multiplied by 16",
        (
            (look.path, f"brightest {look.small.max()} of 255")
            for look in good
            if look.deep and look.small is not None and look.small.max() < FAINT
        ),
    )
    yield from _each(
        "animated",
        "note",
        "with an animation: its first image counts",
        right,
        ((look.path, f"{look.frames} images") for look in good if look.frames > 1),
    )


def _colours(mode: str) -> str:
    return COLOURS.get(mode, "")


def _alike(looks: Sequence[Look], places: Sequence[_Place], numbers: bool) -> Iterator[Finding]:
    """Images that are there twice."""
    differ, inside = (("near",), "in one split") if numbers else ((), "in one class")
    for groups, how, copies in (
        (alike.same(looks), "same", "the same file"),
        (alike.near(looks), "near", "nearly the same image"),
    ):
        leaks = [group for group in groups if len({places[one].split for one in group}) > 1]
        # images that are nearly the same may have numbers that are nearly the same
        torn = [group for group in groups if len({places[one].label for one in group}) > 1 and how not in differ]
        rest = [group for group in groups if group not in leaks and group not in torn]
        grave: Severity = "error" if how == "same" else "warning"
        for kind, severity, chosen, what, advice in (
            ("leak", grave, leaks, "in several splits", "keep each in one split: scores are too good otherwise"),
            ("torn", grave, torn, "under several labels", "decide on one label"),
            ("twice", "note", rest, f"several times {inside}", "keep one of each"),
        ):
            if chosen:
                told = f"{many(len(chosen), 'group')} of {copies} {what}"
                yield Finding(f"{how}-{kind}", severity, told, advice, _told(chosen, looks, places))  # type: ignore[arg-type]


def _told(groups: Sequence[Sequence[int]], looks: Sequence[Look], places: Sequence[_Place]) -> tuple:
    """Files of groups, each with its split and label."""
    return tuple(
        tuple((looks[one].path, f"{places[one].split}, {places[one].label}") for one in group) for group in groups
    )


def _classes(images: Images) -> Iterator[Finding]:
    """Classes with few images, and classes of very different size."""
    train = images.counts().get("train", {})
    few = {name: count for name, count in train.items() if count < FEW}
    if few:
        listed = ", ".join(f"{name} {count}" for name, count in few.items())
        what = f"{many(len(few), 'class', 'classes')} of less than {FEW} training images: {listed}"
        yield Finding("few", "warning", what, "collect more, or leave them out: data.classes=[…]")
    present = {name: count for name, count in train.items() if count}
    if len(present) > 1 and max(present.values()) >= UNEVEN * min(present.values()):
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        what = f"{most} has {present[most] / present[least]:.0f} times as many training images as {least}"
        yield Finding("uneven", "warning", what, "data.class_weights=balanced, and look at recall by class")
    for split, found in images.counts().items():
        empty = [name for name, count in found.items() if not count]
        if empty:
            what = f"no {split} images of {', '.join(empty)}"
            yield Finding("absent", "warning", what, "their scores can't be told")


def _labels(
    looks: Sequence[Look], places: Sequence[_Place], images: Images, suspects: Sequence[Suspect]
) -> Iterator[Finding]:
    if suspects:
        groups = tuple(
            (
                (
                    looks[one.position].path,
                    f"{places[one.position].label}? like {images.classes[one.suggested]} ({one.share:.0%})",
                ),
            )
            for one in suspects
        )
        what = f"{many(len(groups), 'image')} with a label that most like {'them' if len(groups) > 1 else 'it'} do not have"
        yield Finding("label", "warning", what, "look at them, the surest first", groups)

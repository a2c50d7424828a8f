"""Images with classes, from a list of them with the names of their classes: what every table and shard comes down to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many
from framework.core.files import refuse_device
from framework.data.ascending import PIECE, Ascending
from framework.data.columns import Coded, InShards, in_full, smallest
from framework.data.folders import SPLIT_NAMES, not_learnt
from framework.data.images import Images, Split, to_draw
from framework.data.labels import class_name
from framework.data.selection import take


@dataclass(frozen=True)
class Classes:
    """The classes that can be learnt, in the order of the labels, and those of each split."""

    names: tuple[str, ...]
    inside: Mapping[str, set[str]]

    @property
    def too_few(self) -> str:
        """What to say where there is nothing to tell apart; else empty."""
        if len(self.names) > 1:
            return ""
        return f"the data has one class only: {self.names[0]}" if self.names else "the data has no labels"


def classes_of(
    cells: Sequence[Sequence[str]], in_split: Sequence[str | None], order: Sequence[str] | None = None
) -> Classes:
    """The classes of images.

    Args:
        cells: names of each image's classes; of very many images as ``Coded`` tuples.
        in_split: of each image, the same.
        order: of the names; None for that of the alphabet.
    """
    said, of = _coded(cells), Coded.of(in_split)
    there = np.zeros((len(of.values), len(said.values)), bool)
    for start in range(0, len(said), PIECE):
        there[of.codes[start : start + PIECE], said.codes[start : start + PIECE]] = True
    inside: dict[str, set[str]] = {
        split: {name for number in np.flatnonzero(there[of.values.index(split)]) for name in said.values[number]}
        for split in SPLIT_NAMES
        if split in of.values
    }
    # a class that only the test has is none that could be learnt
    found = inside.get("train", set()) | inside.get("validation", set())
    if order is None:
        return Classes(tuple(sorted(found)), inside)
    place = {name: number for number, name in enumerate(order)}
    return Classes(tuple(sorted(found, key=lambda name: (place.get(name, len(place)), name))), inside)


def classified(
    paths: Sequence[str],
    cells: Sequence[Sequence[str]],
    in_split: Sequence[str | None],
    classes: Classes,
    *,
    several: bool,
    where: str,
    origin: str,
    **more: Any,
) -> Images:
    """The images in their splits, with numbers for labels.

    Args:
        paths: of the images.
        cells: as for ``classes_of``, each of one name unless ``several``.
        in_split: of each image.
        classes: of these.
        several: whether an image may have any number of labels.
        where: the key of the config that names the data.
        origin: what the banner calls the data.
        more: attributes of ``Images``; test images of a class that is not learnt join its ``unused``.
    """
    number = {name: position for position, name in enumerate(classes.names)}
    said, of = _coded(cells), Coded.of(in_split)
    known = [[number[label] for label in cell if label in number] for cell in said.values]
    if several:
        of_cell = np.zeros((len(known), len(number)), np.float32)
        for row, some in enumerate(known):
            of_cell[row, some] = 1
    else:
        of_cell = np.array([some[0] if some else -1 for some in known], np.int32)
    learnt = np.array([bool(some) or not cell for some, cell in zip(known, said.values, strict=True)], bool)
    outside: dict[str, list[str]] = {}
    if not learnt.all():
        for place in np.flatnonzero(~learnt[said.codes]).tolist():
            outside.setdefault(said[place][0], []).append(paths[place])
    paths = in_full(paths)
    if isinstance(paths, InShards) and not several and all(said.values):
        of_cell = np.maximum(of_cell, 0).astype(smallest(len(number)))
    everything = Split(paths, of_cell[said.codes])
    splits = {}
    for split in classes.inside:
        if learnt.all() and len(of.values) == 1:  # very many images of one split are not copied
            splits[split] = everything
        elif (own := learnt[said.codes] & (of.codes == of.values.index(split))).any():
            splits[split] = take(everything, Ascending.where(own))
    return Images(
        classes.names,
        splits,
        multilabel=several,
        origin=origin,
        unused=(*more.pop("unused", ()), *not_learnt(outside)),
        faults=_faults(classes.inside, where),
        **more,
    )


def images_of(
    paths: Sequence[str],
    cells: Sequence[Sequence[str]],
    in_split: Sequence[str],
    *,
    names: Sequence[str] | None,
    apart: tuple[str, str],
    folder: str,
    validation: float,
    test: float,
    where: str,
    **more: Any,
) -> Images:
    """The images of a table or of shards, with the splits to be drawn that these do not have.

    Args:
        paths: of the images.
        cells: labels of each image, as texts.
        in_split: of each image.
        names: by number, as for ``named``.
        apart: where there is nothing to tell apart, the key to change and what would be right.
        folder: that all lie below.
        validation: share of the images to train on.
        test: the same.
        where: the key of the config that names the data.
        more: as for ``classified``.

    Raises:
        BadInput: labels have no name, or there is one class only.
    """
    cells, order, problems = named(cells, names, paths.__getitem__)
    classes = classes_of(cells, in_split, order)
    if classes.too_few:
        problems.append(Problem(classes.too_few, *apart))
    if problems:
        raise BadInput(problems)
    return to_draw(classified(paths, cells, in_split, classes, where=where, **more), folder, validation, test)


def _faults(inside: Mapping[str, set[str]], where: str) -> Callable[[Sequence[str] | None], list[Problem]]:
    def faults(chosen: Sequence[str] | None) -> list[Problem]:
        more = inside.get("validation", set()) - inside["train"]
        more = more if chosen is None else more & set(chosen)
        what = f"validation has classes that training has not: {listing(sorted(more))}"
        return [Problem(what, where, "training images of them, or data.classes without them")] if more else []

    return faults


def read_names(file: str) -> list[str]:
    """Names of classes by number: a name a line, the first that of 0, or a JSON list, or a JSON object of number to name.

    Raises:
        BadInput: it can't be read, or has a name twice.
    """
    path = os.path.abspath(os.path.expanduser(file))
    where = "data.names"
    try:
        refuse_device(path)
        with open(path, encoding="utf-8-sig") as opened:
            text = opened.read()
        if text.lstrip()[:1] in ("[", "{"):
            found = json.loads(text)
            names = found if isinstance(found, list) else [found[str(number)] for number in range(len(found))]
        else:
            names = text.strip().splitlines()
    except OSError as error:
        raise BadInput(Problem(f"{path} can't be read: {error.strerror}", where, "a file of names")) from None
    except (ValueError, KeyError, RecursionError):
        what = f"{path} is no list of names"
        raise BadInput(Problem(what, where, 'a name a line, or ["cat","dog"], or {"0":"cat","1":"dog"}')) from None
    names = [class_name(str(name).strip()) for name in names]
    if len(set(names)) < len(names) or "" in names:
        raise BadInput(Problem(f"{path} has a name twice, or an empty one", where, "each class once"))
    return names


def named(
    cells: Sequence[Sequence[str]], names: Sequence[str] | None, where: Callable[[int], str]
) -> tuple[Coded[tuple[str, ...]], list[str] | None, list[Problem]]:
    """Labels with the names in place of their numbers, the order of the classes, and what is wrong.

    Args:
        cells: labels of each image, as texts.
        names: by number; None: labels are names already, or numbers that are called so, in the order of numbers.
        where: what a message calls an image, by its place.
    """
    said = _coded(cells)
    if names is None:
        found = {label for cell in said.values for label in cell}
        order = sorted(found, key=int) if found and all(label.isdecimal() for label in found) else None
        return said, order, []
    called = {str(number): name for number, name in enumerate(names)} | {name: name for name in names}
    wrong = [[label for label in cell if label not in called] for cell in said.values]
    counts = np.array([len(some) for some in wrong], np.int64)
    problems = []
    if count := int(counts @ said.counts()):
        place = int(np.flatnonzero(counts[said.codes])[0])
        label = wrong[said.codes[place]][0]
        what = f"{many(count, 'label')} {'has' if count == 1 else 'have'} no name: '{label}' of {where(place)}"
        problems = [Problem(what, "data.names", f"names of 0 to {len(names) - 1} and more, or these names themselves")]
    return said.mapped(lambda cell: tuple(called.get(label, label) for label in cell)), list(names), problems


def _coded(cells: Sequence[Sequence[str]]) -> Coded[tuple[str, ...]]:
    return cells if isinstance(cells, Coded) else Coded.of(map(tuple, cells))

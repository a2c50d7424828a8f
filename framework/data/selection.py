"""Which of the listed images a run uses: the stratified split, a subset of classes, a yes-or-no question, a limit."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, many, suggestion
from framework.data import folders
from framework.data.columns import Coded, InShards, ShardPaths, at, joined
from framework.data.decode import look, told_depth
from framework.data.images import Images, Split
from framework.data.labels import class_name
from framework.data.rows import unreadable_problem

# Images that are fewer than such a part of their shards are known by their own bytes.
PART = 10


def stratified_split(
    names: Sequence[str], groups: Sequence[Hashable], shares: Mapping[str, float], seed: int
) -> dict[str, array[int]]:
    """Positions of the images of each split; what no share asks for is ``train``.

    Who goes where depends on the seed and each image's name alone, not on the order in which they are listed.

    Args:
        names: a name for each image that is the same on every machine.
        groups: what each split should have its share of: the label.
        shares: split to its share of all images, below 1.
        seed: another seed, another split.

    Returns:
        For each split its positions, ascending. A label with more images than there are shares has one in each
        split at least; sets of labels (tuples) have no such right, for many of them are rare.
    """
    members = by_group(names, groups, f"split/{seed}")
    splits = ["train", *shares]
    place = np.zeros(len(names), np.int8)
    asked = {split: share for split, share in shares.items() if share > 0}
    sizes = [len(positions) for positions in members]
    single = not any(isinstance(group, tuple) for group in Coded.of(groups).values)
    counts = {
        split: _apportion(sizes, round(share * len(names)), len(asked) if single else None)
        for split, share in asked.items()
    }
    for number, positions in enumerate(members):
        start = 0
        for split in asked:
            end = min(start + counts[split][number], len(positions) - 1)
            place[positions[start:end]] = splits.index(split)
            start = end
    del members
    found: dict[str, array[int]] = {}
    for number, split in enumerate(splits):
        found[split] = array("q")  # it is compared as a list is, at a fifth of the memory
        found[split].frombytes(np.flatnonzero(place == number).view(np.uint8).data)
    return found


def narrow(images: Images, classes: list[str] | None, positive: str | None, limit: int | None, seed: int) -> Images:
    """The same images with fewer classes, asked one question, or fewer of them.

    Args:
        images: what a source listed.
        classes: keep only these, in this order; None for all.
        positive: turn it into the question whether an image shows this class; the classes are then
            ``("not NAME", "NAME")`` and the labels 0 and 1.
        limit: at most so many images a split, spread over the classes as they occur.
        seed: chooses which images stay under the limit.

    Raises:
        BadInput: an unknown or repeated class, or one alone; or the data can't be used with these classes.
    """
    classes = [class_name(name) for name in classes] if classes is not None else None
    positive = class_name(positive) if positive is not None else None
    problems = _unfit(images, classes, positive)
    if images.faults:
        problems += images.faults([name for name in classes if name in images.classes] if classes else None)
    if problems:
        raise BadInput(problems)
    root = _root(images) if limit is not None else ""
    before = images
    if classes is not None:
        kept = _keep_classes(images, classes)
        gone = folders.left_out(
            "image of another class", "images of other classes", "data.classes", _gone(images, kept)
        )
        images = replace(kept, unused=(*images.unused, *gone))
    if positive is not None:
        images = _ask(images, positive)
    if limit is not None:
        splits = {
            name: _limited(split, limit, f"limit/{seed}/{name}", root, images.numbers)
            for name, split in images.splits.items()
        }
        kept = replace(images, splits=splits)
        gone = folders.left_out("image", "images", "data.limit", _gone(images, kept))
        images = replace(kept, unused=(*images.unused, *gone))
    return images if images is before else _in_full_if_few(images)


def _gone(before: Images, after: Images) -> Sequence[str]:
    """Files that were listed and are no more."""
    pairs: list[tuple[Any, Any]] = [(split.paths, after.splits[name].paths) for name, split in before.splits.items()]
    if all(isinstance(paths, InShards) for paths, _ in pairs):
        return joined([one[~np.isin(one.numbers, other.numbers)] for one, other in pairs])
    there = {path for _, paths in pairs for path in paths}
    return [path for paths, _ in pairs for path in paths if path not in there]


def _in_full_if_few(images: Images) -> Images:
    """The images by their paths where few of those in their shards are left: to know these by their shards, all of these
    would be read."""
    paths = joined([split.paths for split in images.splits.values()])
    if images.features is not None or not isinstance(paths, ShardPaths):
        return images
    if PART * len(paths) >= sum(paths.shards[number].rows for number in paths.used):
        return images
    splits = {name: replace(split, paths=tuple(split.paths)) for name, split in images.splits.items()}
    return replace(images, splits=splits)


def readable(images: Images, on_error: str, known: Mapping[str, str] | None = None) -> tuple[Images, dict[str, str]]:
    """The images that can be decoded, and those left out with the reason; all of those that are features. Loads no TensorFlow.

    Args:
        images: those that are to be looked at.
        on_error: ``stop`` or ``skip``.
        known: files that can't be read, though they may look sound, each with the reason.

    Raises:
        BadInput: some can't be decoded, and ``on_error`` says stop, or a split or a class to learn has none left.
    """
    if images.features is not None:
        return images, {}
    paths = joined([split.paths for split in images.splits.values()])
    looked = look(paths)
    found = {**dict(looked.unreadable), **(known or {})}
    bad = [(path, found[path]) for path in paths if path in found] if found else []
    if looked.deep:
        images = replace(images, notes=(*images.notes, told_depth(len(looked.deep))))
    if not bad:
        return images, {}
    if on_error == "stop":
        raise BadInput(unreadable_problem(bad))
    out = dict(bad)
    splits = {
        name: take(split, np.flatnonzero(np.fromiter((path not in out for path in split.paths), bool, len(split))))
        for name, split in images.splits.items()
    }
    if not all(len(split) for split in splits.values()) or _lost_class(images, splits["train"]):
        raise BadInput(unreadable_problem(bad))
    return replace(images, splits=splits), out


def left_out(count: int) -> str:
    """That so many images are left out since they can't be read."""
    return f"{many(count, 'image')} can't be read and {'is' if count == 1 else 'are'} left out"


def _lost_class(images: Images, train: Split) -> bool:
    if images.numbers:
        return False
    before, after = images.splits["train"].labels, train.labels
    if before.ndim == 2:
        return bool((before.any(axis=0) & ~after.any(axis=0)).any())
    return set(before.tolist()) != set(after.tolist())


def label_groups(labels: np.ndarray, numbers: bool = False) -> Coded[Hashable]:
    """One hashable value an image that says which label, or which set of labels, it has; the same where it has numbers."""
    if numbers:
        return Coded([0], np.zeros(len(labels), np.int32))
    if labels.ndim == 1:
        return Coded(range(int(labels.max(initial=-1)) + 1), labels).mapped(int)
    return Coded.of(tuple(map(int, row)) for row in labels)


def take(split: Split, positions: Sequence[int] | np.ndarray) -> Split:
    """The images of a split at these positions, in that order."""
    places = np.asarray(positions, np.int64)
    return Split(at(split.paths, places), split.labels[places])


def ascending(parts: Sequence[np.ndarray]) -> np.ndarray:
    """All positions of some parts in one array."""
    found = np.concatenate([np.zeros(0, np.int64), *parts])
    found.sort()
    return found


def below(paths: Sequence[str], folder: str) -> Sequence[str]:
    """Paths as seen from a folder."""
    return paths.below(folder) if isinstance(paths, ShardPaths) else [folders.relative(path, folder) for path in paths]


def _unfit(images: Images, classes: list[str] | None, positive: str | None) -> list[Problem]:
    if images.numbers:
        given = {"data.classes": classes, "data.positive": positive}
        what = "chooses among classes, and the labels are numbers"
        return [Problem(f"{key} {what}", key, "null") for key, value in given.items() if value is not None]
    there = images.classes if classes is None else tuple(classes)
    problems = [
        Problem(f"the data has no class '{name}'", "data.classes", suggestion(name, images.classes))
        for name in there
        if name not in images.classes
    ]
    problems += [
        Problem(f"data.classes has '{name}' {count} times", "data.classes", "each class once")
        for name, count in Counter(there).items()
        if count > 1
    ]
    if positive is not None and positive not in there:
        among = "the data" if classes is None else "data.classes"
        problems.append(Problem(f"{among} has no class '{positive}'", "data.positive", suggestion(positive, there)))
    if len(there) < 2:
        others = [name for name in images.classes if name not in there]
        right = f"data.positive={there[0]} asks for it against all others" if there else suggestion("", others)
        problems.append(Problem("data.classes keeps fewer than two classes", "data.classes", right))
    return problems


def _keep_classes(images: Images, classes: list[str]) -> Images:
    columns = [images.classes.index(name) for name in classes]
    renumbered = np.full(len(images.classes), -1, np.int32)
    renumbered[columns] = np.arange(len(columns), dtype=np.int32)

    def kept(split: Split) -> Split:
        if split.labels.ndim == 1:
            labels = renumbered[split.labels]
            stay = labels >= 0
        else:
            labels = split.labels[:, columns]
            stay = labels.any(axis=1)
        return replace(take(split, np.flatnonzero(stay)), labels=labels[stay])

    splits = {name: kept(split) for name, split in images.splits.items()}
    return replace(images, classes=tuple(classes), splits=splits)


def _ask(images: Images, positive: str) -> Images:
    column = images.classes.index(positive)

    def asked(labels: np.ndarray) -> np.ndarray:
        shown = labels == column if labels.ndim == 1 else labels[:, column] > 0
        return shown.astype(np.int32)

    splits = {name: replace(split, labels=asked(split.labels)) for name, split in images.splits.items()}
    return replace(images, classes=(f"not {positive}", positive), splits=splits, multilabel=False)


def _limited(split: Split, limit: int, purpose: str, root: str, numbers: bool) -> Split:
    if limit >= len(split):
        return split
    members = by_group(below(split.paths, root), label_groups(split.labels, numbers), purpose)
    counts = _apportion([len(positions) for positions in members], limit, 0 if limit >= len(members) else None)
    return take(split, ascending([positions[:count] for positions, count in zip(members, counts, strict=True)]))


def by_group(names: Sequence[str], groups: Sequence[Hashable], purpose: str) -> list[np.ndarray]:
    """Positions by group, groups in order of their value, members in an order that only their names decide."""

    def rank(name: str) -> int:
        text = f"{purpose}/{name}".encode(errors="surrogateescape")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")

    coded = Coded.of(groups)
    place = np.empty(len(coded.values), np.int32)
    place[sorted(range(len(place)), key=lambda number: repr(coded.values[number]))] = np.arange(len(place))
    group = place[coded.codes]
    parts = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group, minlength=len(place)))[:-1])
    del group  # of very many images this is what takes most memory: so one group after the other, each in its place
    ranks = np.fromiter(map(rank, names), np.uint64, len(names))
    for part in parts:
        part[:] = part[np.argsort(ranks[part], kind="stable")]
        same = np.diff(ranks[part]) == 0
        for tie in np.split(np.arange(len(part)), np.flatnonzero(~same) + 1) if same.any() else ():
            part[tie] = sorted(part[tie].tolist(), key=names.__getitem__)
    return [part for part in parts if len(part)]


def _apportion(sizes: Sequence[int], total: int, least: int | None) -> list[int]:
    """Shares of ``total`` in proportion to ``sizes``, summing to it, by largest remainder.

    Each group of more than ``least`` members gets one at least, at the cost of the largest: a class that a split lacks
    can't be measured there. None asks for no such thing.
    """
    everything = max(sum(sizes), 1)
    exact = [total * size / everything for size in sizes]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda number: (counts[number] - exact[number], number))
    for number in by_remainder[: total - sum(counts)]:
        counts[number] += 1
    if least is not None:
        counts = [max(count, 1) if size > least else count for count, size in zip(counts, sizes, strict=True)]
        while sum(counts) > total and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
    return counts


def _root(images: Images) -> str:
    found = {os.path.dirname(path) for split in images.splits.values() for path in split.paths}
    return os.path.commonpath(found) if found else ""

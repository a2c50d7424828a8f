"""Which of the listed images a run uses: the stratified split, a subset of classes, a yes-or-no question, a limit."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, many, suggestion
from framework.data import folders
from framework.data.ascending import PIECE, Ascending
from framework.data.columns import Coded, InShards, ShardPaths, at, joined
from framework.data.decode import look, told_depth
from framework.data.images import Images, Split
from framework.data.labels import class_name
from framework.data.rows import unreadable_problem

# Images that are fewer than such a part of their shards are known by their own bytes.
PART = 10
_GROUPS = 14  # bits of the number of groups, from which on images are not told apart by a whole byte of their hash


def stratified_split(
    names: Sequence[str], groups: Sequence[Hashable], shares: Mapping[str, float], seed: int
) -> dict[str, Ascending]:
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
    coded = _in_order(groups)
    asked = {split: share for split, share in shares.items() if share > 0}
    sizes = coded.counts()
    single = not any(isinstance(group, tuple) for group in coded.values)
    counts = [
        _apportion(sizes.tolist(), round(share * len(names)), len(asked) if single else None)
        for share in asked.values()
    ]
    ends = np.cumsum(np.array(counts, np.int64).reshape(len(asked), len(sizes)), axis=0)
    part = _parts(names, coded, f"split/{seed}", np.minimum(ends, np.maximum(sizes - 1, 0)))
    numbers = {"train": len(asked), **{split: number for number, split in enumerate(asked)}}
    return {split: Ascending.where(part == numbers.get(split, -1)) for split in ("train", *shares)}


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
        return joined([one[one.numbers.without(other.numbers)] for one, other in pairs])
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
        name: take(split, Ascending.where(np.fromiter((path not in out for path in split.paths), bool, len(split))))
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
    return set(np.unique(before)) != set(np.unique(after))


def label_groups(labels: np.ndarray, numbers: bool = False) -> Coded[Hashable]:
    """One hashable value an image that says which label, or which set of labels, it has; the same where it has numbers."""
    if numbers:
        return Coded([0], np.broadcast_to(np.uint8(0), len(labels)))
    if labels.ndim == 1:
        return Coded(range(int(labels.max(initial=0)) + 1), labels).mapped(int)
    return Coded.of(tuple(map(int, row)) for row in labels)


def take(split: Split, positions: Sequence[int] | np.ndarray | Ascending) -> Split:
    """The images of a split at these positions, in that order."""
    if isinstance(positions, Ascending) and isinstance(split.paths, InShards):
        labels, done = np.empty((len(positions), *split.labels.shape[1:]), split.labels.dtype), 0
        for some in positions.pieces():
            labels[done : done + len(some)] = split.labels[some]
            done += len(some)
        return Split(split.paths[positions], labels)
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
        return replace(take(split, Ascending.where(stay)), labels=labels[stay].astype(split.labels.dtype))

    splits = {name: kept(split) for name, split in images.splits.items()}
    return replace(images, classes=tuple(classes), splits=splits)


def _ask(images: Images, positive: str) -> Images:
    column = images.classes.index(positive)

    def asked(labels: np.ndarray) -> np.ndarray:
        if labels.ndim == 1:
            return (labels == column).astype(labels.dtype)
        return (labels[:, column] > 0).astype(np.int32)

    splits = {name: replace(split, labels=asked(split.labels)) for name, split in images.splits.items()}
    return replace(images, classes=(f"not {positive}", positive), splits=splits, multilabel=False)


def _limited(split: Split, limit: int, purpose: str, root: str, numbers: bool) -> Split:
    if limit >= len(split):
        return split
    groups = _in_order(label_groups(split.labels, numbers))
    sizes = groups.counts().tolist()
    counts = _apportion(sizes, limit, 0 if limit >= len(sizes) else None)
    part = _parts(below(split.paths, root), groups, purpose, np.array([counts], np.int64))
    return take(split, Ascending.where(part == 0))


def by_group(names: Sequence[str], groups: Sequence[Hashable], purpose: str) -> list[np.ndarray]:
    """Positions by group, groups in order of their value, members in an order that only their names decide."""
    coded = _in_order(groups)
    parts = np.split(np.argsort(coded.codes, kind="stable"), np.cumsum(coded.counts())[:-1])
    # of very many images this is what takes most memory: so one group after the other
    return [part[_order(at(names, part), purpose)] for part in parts]


def _in_order(groups: Sequence[Hashable]) -> Coded[Hashable]:
    """Groups that have members, in order of their value."""
    found = Coded.of(groups).mapped(lambda value: value)
    order = sorted(range(len(found.values)), key=lambda number: repr(found.values[number]))
    if order == list(range(len(order))):
        return found
    place = np.empty(len(order), found.codes.dtype)
    place[order] = np.arange(len(order))
    return Coded([found.values[number] for number in order], place[found.codes])


def _parts(names: Sequence[str], groups: Coded[Hashable], purpose: str, ends: np.ndarray) -> np.ndarray:
    """In which part of its group each image is, in the order that only names decide: uint8 (images,).

    Most are known by the first byte of their hash, which takes a byte an image; those about the end of a part are looked at
    more closely.

    Args:
        names: of the images.
        groups: of each.
        purpose: another one, another order.
        ends: how many of a group are in the first part, in the first two, and so on: int64 (parts - 1, groups).
    """
    shift = min(8, max(0, len(groups.values).bit_length() - _GROUPS))
    counts = np.zeros((len(groups.values), 256 >> shift), np.int64)
    found, left = np.empty(len(names), np.uint8), iter(names)
    spans = [slice(start, start + PIECE) for start in range(0, len(names), PIECE)]
    for span in spans:
        found[span] = [_hash(purpose, name)[0] >> shift for name in islice(left, PIECE)]
        np.add.at(counts, (groups.codes[span], found[span]), 1)
    after = counts.cumsum(axis=1)
    before = after - counts
    part = (before >= ends[:, :, None]).sum(axis=0, dtype=np.uint8)
    torn: np.ndarray = np.any((before < ends[:, :, None]) & (ends[:, :, None] < after), axis=0)
    closer = [(np.zeros(0, np.int64), groups.codes[:0], found[:0])]
    for span in spans:
        group, byte = groups.codes[span], found[span].copy()
        found[span] = part[group, byte]
        some = np.flatnonzero(torn[group, byte])
        closer.append((some + span.start, group[some], byte[some]))
    places, group, byte = (np.concatenate(columns) for columns in zip(*closer, strict=True))
    order = _order(at(names, places), purpose)
    order = order[np.argsort(group[order], kind="stable")]
    places, group, byte = places[order], group[order], byte[order]
    first = np.flatnonzero(np.diff(group.astype(np.int64) * 256 + byte, prepend=-1))
    inside = np.arange(len(places)) - np.repeat(first, np.diff(np.append(first, len(places))))
    found[places] = (before[group, byte] + inside >= ends[:, group]).sum(axis=0)
    return found


def _hash(purpose: str, name: str) -> bytes:
    return hashlib.blake2b(f"{purpose}/{name}".encode(errors="surrogateescape"), digest_size=8).digest()


def _order(names: Sequence[str], purpose: str) -> np.ndarray:
    """Positions in the order that the names' hashes decide, and where these are the same the names themselves."""
    ranks = np.fromiter((int.from_bytes(_hash(purpose, name), "big") for name in names), np.uint64, len(names))
    order = np.argsort(ranks, kind="stable")
    breaks = np.flatnonzero(np.diff(ranks[order])) + 1
    for tie in np.split(np.arange(len(order)), breaks) if len(breaks) < len(order) - 1 else ():
        order[tie] = sorted(order[tie].tolist(), key=names.__getitem__)
    return order


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

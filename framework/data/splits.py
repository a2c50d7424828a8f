"""Who trains and who validates, where the data do not say: shares or folds, stratified, groups that stay together, or the
latest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many, suggestion
from framework.data.columns import at
from framework.data.folders import SPLIT_NAMES, relative
from framework.data.images import Images, Split
from framework.data.selection import ascending, below, by_group, label_groups, stratified_split, take


@dataclass(frozen=True)
class Splitting:
    """What the config asks for.

    Attributes:
        seed: another seed, another split.
        group: a column, or a regular expression with a part in brackets that is found in each image's path: images of
            which this is the same are in one split. None: each image is by itself.
        folds: so many parts, of which ``fold`` validates and the others train; None: the shares that the source asks for.
        fold: from 0 on.
        time: a column or an expression as for ``group``, that says when each image was made: the latest are held out.
    """

    seed: int
    group: str | None = None
    folds: int | None = None
    fold: int = 0
    time: str | None = None


def drawn(images: Images, wanted: Splitting) -> Images:
    """The images with those splits taken out of ``train`` that the data do not have.

    Who goes where depends on the seed and each image's path from the data's folder on, not on the order in which they
    are listed, and of all folds of a cross-validation on nothing else: each image validates in one of them.

    Raises:
        BadInput: there are too few images or groups, or the data have a group on both sides already.
    """
    problems = _unfit(images, wanted)
    if problems:
        raise BadInput(problems)
    if images.draw is None:
        if wanted.group is not None:
            _refuse_leaks(images, wanted.group)
        return images
    shares = dict(images.draw.shares)
    if wanted.folds is not None:
        shares.pop("validation", None)
    if shares.get("validation") == 0:
        right = "data.validation=0.2 takes a fifth of the training images"
        raise BadInput(Problem("the data has no validation images", "data.validation", right))
    if sum(shares.values()) >= 1:
        raise BadInput(Problem("data.validation and data.test leave nothing to train on", "data.validation", "less"))
    if not any(shares.values()) and wanted.folds is None:
        return replace(images, draw=None)
    train = images.splits["train"]
    names = below(train.paths, images.draw.folder)
    groups = None if wanted.group is None else _groups(images, train, wanted.group)
    parts = (
        _by_time(images, train, wanted.time, shares)
        if wanted.time
        else _parts(names, train, images.numbers, groups, shares, wanted)
    )
    taken = {split: take(train, positions) for split, positions in parts.items() if len(positions) or split == "train"}
    if "validation" in parts and "validation" not in taken:
        raise BadInput(Problem("too few images to take validation images from", "data.validation", "more images"))
    whole = {**images.splits, **taken}
    found = replace(images, splits={split: whole[split] for split in SPLIT_NAMES if split in whole}, draw=None)
    if wanted.group is not None:
        _refuse_leaks(found, wanted.group)
    return found


def _parts(
    names: Sequence[str],
    train: Split,
    numbers: bool,
    groups: Sequence[str] | None,
    shares: Mapping[str, float],
    wanted: Splitting,
) -> dict[str, Any]:
    """Positions of the images of each split."""
    seed, labels = wanted.seed, label_groups(train.labels, numbers)
    if wanted.folds is None:
        if groups is None:
            return stratified_split(names, labels, shares, seed)
        return _grouped(groups, train.labels, numbers, {"train": 1 - sum(shares.values()), **shares}, f"split/{seed}")
    rest, parts = np.arange(len(names)), dict[str, Any]()
    if shares.get("test"):
        apart = (
            stratified_split(names, labels, shares, seed)
            if groups is None
            else _grouped(groups, train.labels, numbers, {"train": 1 - shares["test"], **shares}, f"split/{seed}")
        )
        rest, parts = np.asarray(apart["train"], np.int64), {"test": apart["test"]}
    bins = [str(fold) for fold in range(wanted.folds)]
    if groups is None:
        order = rest[np.concatenate(by_group(at(names, rest), labels[rest], f"fold/{seed}"))]
        folds = {fold: np.sort(order[number :: wanted.folds]) for number, fold in enumerate(bins)}
    else:
        even = dict.fromkeys(bins, 1 / wanted.folds)
        inside = _grouped([groups[one] for one in rest.tolist()], train.labels[rest], numbers, even, f"fold/{seed}")
        folds = {fold: rest[places] for fold, places in inside.items()}
    parts["validation"] = folds.pop(str(wanted.fold))
    parts["train"] = ascending(list(folds.values()))
    return parts


def _by_time(images: Images, train: Split, time: str, shares: Mapping[str, float]) -> dict[str, list[int]]:
    """Positions of the images of each split: the latest test, those before validate, and what was made at one time is in one.

    Raises:
        BadInput: an image has no time, or too few are different.
    """
    times = np.array([_moment(text, time) for text in _groups(images, train, time, "data.time")])
    order = np.argsort(times, kind="stable")
    parts: dict[str, list[int]] = {}
    end = len(order)
    for split in reversed([split for split in SPLIT_NAMES if shares.get(split)]):
        start = max(0, end - max(1, round(shares[split] * len(order))))
        start = int(np.searchsorted(times[order], times[order[start]]))  # all of that time
        parts[split] = sorted(order[start:end].tolist())
        end = start
    if end == 0:
        what = f"data.time={time}: too many images were made at one time to hold the latest out"
        raise BadInput(Problem(what, "data.time", "a finer time, or data.time=null"))
    return {"train": sorted(order[:end].tolist()), **parts}


def _moment(text: str, key: str) -> float:
    """A number as it is, a date as its seconds."""
    with contextlib.suppress(ValueError):
        if np.isfinite(number := float(text)):
            return number
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00").replace("/", "-"))
    except ValueError:
        right = "numbers, or times as 2024-05-31 or 2024-05-31 12:00:00"
        raise BadInput(Problem(f"data.time={key}: '{text}' is no time", "data.time", right)) from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _grouped(
    groups: Sequence[str], labels: np.ndarray, numbers: bool, shares: Mapping[str, float], purpose: str
) -> dict[str, list[int]]:
    """Positions by split, each group in one, labels spread as evenly as that allows.

    The largest groups first, each goes where most is missing of what it brings: iterative stratification (Sechidis et
    al., 2011, https://doi.org/10.1007/978-3-642-23808-6_10) of groups, as scikit-learn's StratifiedGroupKFold deals
    them, for shares of any size and for several labels an image.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    names = [name for name, share in shares.items() if share > 0]
    if len(members) < len(names):
        what = f"data.group makes {many(len(members), 'group')} of the images: {listing(sorted(members), 3)}"
        raise BadInput(Problem(what, "data.group", f"{len(names)} at least, for as many parts"))
    rows = np.ones((len(groups), 1)) if numbers else labels if labels.ndim == 2 else np.eye(labels.max() + 1)[labels]
    rows = np.concatenate([rows, np.ones((len(groups), 1))], axis=1)  # each label counts, and how many there are
    rows = rows / np.maximum(rows.sum(axis=0), 1)
    brings = {group: rows[positions].sum(axis=0) for group, positions in members.items()}

    def rank(group: str) -> tuple[int, bytes]:
        text = f"{purpose}/{group}".encode(errors="surrogateescape")
        return -len(members[group]), hashlib.blake2b(text, digest_size=8).digest()

    wanted = np.array([shares[name] for name in names])[:, None]
    missing = np.repeat(wanted, rows.shape[1], axis=1)
    found: dict[str, list[int]] = {name: [] for name in shares}
    waiting = set(range(len(names)))
    for number, group in enumerate(sorted(members, key=rank)):
        fits = (missing / wanted) @ brings[group]
        if len(members) - number <= len(waiting):  # none may stay without a group
            fits = np.where([place in waiting for place in range(len(names))], fits, -np.inf)
        chosen = int(fits.argmax())
        missing[chosen] -= brings[group]
        waiting.discard(chosen)
        found[names[chosen]] += members[group]
    return {name: sorted(positions) for name, positions in found.items()}


def _groups(images: Images, split: Split, group: str, key: str = "data.group") -> list[str]:
    """The group of each image of a split, or its time.

    Raises:
        BadInput: there is no such column, it is no regular expression, or it does not say the group of each image.
    """
    cells, root = images.column(group) if images.column is not None else None, images.root
    names = [relative(path, root).replace(os.sep, "/") for path in split.paths]
    if cells is not None:
        found: list[str | None] = [cells[path].strip() or None for path in split.paths]
    else:
        matches = (re.search(group, name) for name in names)
        found = ["/".join(map(str, match.groups())) if match else None for match in matches]
    without = [name for name, one in zip(names, found, strict=True) if one is None]
    if without:
        what = f"{key}={group} says no {key[5:]} of {many(len(without), 'image')}: {listing(without, 3)}"
        raise BadInput(Problem(what, key, "what is in each image's row or path"))
    return [str(one) for one in found]


def _refuse_leaks(images: Images, group: str) -> None:
    """See that no group is on both sides.

    Raises:
        BadInput: some are, since the data say so.
    """
    sides: dict[str, set[str]] = defaultdict(set)
    for name, split in images.splits.items():
        for one in _groups(images, split, group):
            sides[one].add(name)
    torn = sorted(one for one, names in sides.items() if len(names) > 1)
    if torn:
        what = f"{many(len(torn), 'group')} of data.group={group} "
        what += (
            f"{'lies' if len(torn) == 1 else 'lie'} in several of the splits that the data bring: {listing(torn, 3)}"
        )
        raise BadInput(Problem(what, "data.group", "data without splits of their own, or data.group=null"))


def _unfit(images: Images, wanted: Splitting) -> list[Problem]:
    problems = []
    if wanted.folds is None and wanted.fold:
        problems.append(Problem(f"data.fold={wanted.fold} needs data.folds", "data.fold", "data.folds=5"))
    if wanted.folds is not None:
        if wanted.folds < 2:
            problems.append(Problem(f"data.folds={wanted.folds}: one part can't validate", "data.folds", "2 or more"))
        elif wanted.fold >= wanted.folds:
            what = f"data.fold={wanted.fold}, and the folds of data.folds={wanted.folds} count from 0"
            problems.append(Problem(what, "data.fold", f"0 to {wanted.folds - 1}"))
        if images.draw is None or "validation" not in images.draw.shares:
            what = f"data.folds={wanted.folds} draws the validation images, and {images.origin} brings its own"
            problems.append(Problem(what, "data.folds", "null, or data without a validation split"))
        elif wanted.folds > len(images.splits["train"]):
            what = f"data.folds={wanted.folds}, and there are {many(len(images.splits['train']), 'image')}"
            problems.append(Problem(what, "data.folds", "no more than there are images"))
    if wanted.time is not None and (images.draw is None or "validation" not in images.draw.shares):
        what = f"data.time={wanted.time} draws the validation images, and {images.origin} brings its own"
        problems.append(Problem(what, "data.time", "null, or data without a validation split"))
    if wanted.time is not None and (wanted.group is not None or wanted.folds is not None):
        what = f"data.time={wanted.time} says who validates, and so does data.{'group' if wanted.group else 'folds'}"
        problems.append(Problem(what, "data.time", "one of them"))
    for key, text, example in (
        ("data.group", wanted.group, "'patient(\\d+)'"),
        ("data.time", wanted.time, "'(\\d{4}-\\d\\d-\\d\\d)'"),
    ):
        if text is not None:
            problems += _no_column(images, text, key, example)
    return problems


def _no_column(images: Images, text: str, key: str, example: str) -> list[Problem]:
    """What is wrong with a text that is to be a column, or a regular expression."""
    if images.column is not None and images.column(text) is not None:
        return []
    if images.column is not None and "(" not in text:
        what = f"{images.origin} has no column '{text}'"
        right = suggestion(text, images.columns) + f", or a regular expression as {example}"
        return [Problem(what, key, right)]
    right = f"{example}: what is in brackets is the {key[5:]}"
    try:
        found = re.compile(text).groups
    except re.error as error:
        return [Problem(f"{key}={text} is no regular expression: {error}", key, right)]
    return [] if found else [Problem(f"{key}={text} has no part in brackets", key, right)]

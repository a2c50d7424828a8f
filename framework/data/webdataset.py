"""WebDataset shards: tars in which an image and its label share a name, ``000017.jpg`` and ``000017.cls``.

The layout is that of https://github.com/webdataset/webdataset: a sample's key is its name up to the first dot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many, suggestion
from framework.data import containers, shards
from framework.data.archives import Archive
from framework.data.ascending import Ascending
from framework.data.classified import images_of, read_names
from framework.data.columns import Coded, Shard, in_shards, of_each
from framework.data.folders import EXAMPLES, EXTENSIONS, Kind, Unused, is_foreign
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.shards import WHERE

ENDING = r"\.tar$"
_ALONE = Kind("label without an image", "labels without an image")
_OTHERS = Kind("other member", "other members")


def list_webdataset(
    files: str | Sequence[str], label: str, key: str, names: str | None, validation: float, test: float
) -> Images:
    """The samples of some shards, in the splits that these are called after; arguments are those of the source.

    Raises:
        BadInput: a shard is missing or broken, or a sample has no label, several images, or a label that is none.
    """
    paths = shards.shard_files(files, ENDING)
    in_split = shards.split_of_each(paths)
    listed: list[Shard] = []
    rows: list[Ascending] = []
    cells: list[Coded[tuple[str, ...]]] = []
    several = False
    tally: dict[Kind, list[str]] = {_ALONE: [], _OTHERS: []}
    problems: list[Problem] = []
    for path in paths:
        shard = _shard(path)
        images, labels = _samples(shard, label, tally, problems)
        wanted = [name for name in images if name in labels]
        if missing := [images[name] for name in images if name not in labels]:
            problems.append(_unlabelled(path, missing, label, shard))
        tally[_ALONE] += [f"{path}/{labels[name]}" for name in labels if name not in images]
        place = {member: number for number, member in enumerate(shard.members)}
        said = shard.read_rows(place[labels[name]] for name in wanted)
        found = [
            _label(data, label, key, f"{path}/{labels[name]}", problems)
            for name, data in zip(wanted, said, strict=True)
        ]
        several = several or any(isinstance(one, list) for one in found)
        cells.append(Coded.of(tuple(one) if isinstance(one, list) else (one,) for one in found).mapped(_names))
        listed.append(Shard(path, shard.state, len(shard.names), _called(shard)))
        places = np.array([place[images[name]] for name in wanted], np.int64)
        rows.append(Ascending.of([places], len(shard.names)))
        if len(problems) > EXAMPLES:
            break
    if problems:
        raise BadInput(problems)
    references = in_shards(listed, rows)
    return images_of(
        references,
        Coded.joined(cells),
        of_each(in_split, references),
        names=read_names(names) if names else None,
        apart=("data.label", f"the ending of the members that say more than '{label}'"),
        folder=shards.common_folder(paths),
        validation=validation,
        test=test,
        where=WHERE,
        several=several,
        origin=shards.origin_of(paths),
        unused=tuple(Unused(kind, len(some), tuple(some[:EXAMPLES])) for kind, some in tally.items() if some),
    )


def _names(labels: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(class_name(str(one).strip()) for one in labels)


def _called(shard: Archive) -> Callable[[np.ndarray], Iterable[str]]:
    return lambda rows: (f"{shard.path}/{shard.names[row]}" for row in rows.tolist())


def _shard(path: str) -> Archive:
    found = containers.opened(path, WHERE)
    if not isinstance(found, Archive):
        raise BadInput(Problem(f"{path} is no tar", WHERE, "shards ending in .tar"))
    return found


def _samples(
    shard: Archive, label: str, tally: dict[Kind, list[str]], problems: list[Problem]
) -> tuple[dict[str, str], dict[str, str]]:
    """Members of images and of labels by the key of their sample; what is neither is counted."""
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    twice = []
    for member in shard.members:
        folder, _, base = member.rpartition("/")
        key, _, ending = base.partition(".")
        if not key or any(map(is_foreign, folder.split("/") if folder else ())):
            tally[_OTHERS].append(f"{shard.path}/{member}")
            continue
        name = f"{folder}/{key}"
        if ending.lower() == label:
            labels[name] = member
        elif f".{ending.rpartition('.')[2].lower()}" not in EXTENSIONS:
            tally[_OTHERS].append(f"{shard.path}/{member}")
        elif name in images:
            twice.append(f"{images[name]}, {member}")
        else:
            images[name] = member
    tally[_OTHERS] += [f"{shard.path}/{member}" for member in shard.odd]
    if twice:
        what = f"{shard.path}: {many(len(twice), 'sample')} {'has' if len(twice) == 1 else 'have'} several images"
        problems.append(Problem(f"{what}: {listing(twice, 3)}", WHERE, "one image a key, as 000017.jpg and 000017.cls"))
    return images, labels


def _unlabelled(path: str, missing: Sequence[str], label: str, shard: Archive) -> Problem:
    what = f"{path}: {many(len(missing), 'image')} {'has' if len(missing) == 1 else 'have'} no '.{label}' beside"
    there = {member.rpartition("/")[2].partition(".")[2].lower() for member in shard.members}
    others = sorted(ending for ending in there if f".{ending.rpartition('.')[2]}" not in EXTENSIONS and ending != label)
    right = f"data.label={suggestion(label, others)}" if others else f"a member KEY.{label} for each image"
    return Problem(f"{what}: {listing(missing, 3)}", "data.label", right)


def _label(data: bytes, label: str, key: str, path: str, problems: list[Problem]) -> Any:
    """A text, a whole number, or a list of such."""
    try:
        text = data.decode("utf-8-sig")
        if not label.endswith("json"):
            if text.strip():
                return text
            problems.append(Problem(f"{path} is empty", "data.label", "a class"))
            return ""
        said = json.loads(text)
    except (ValueError, RecursionError):
        problems.append(Problem(f"{path} is no {'JSON' if label.endswith('json') else 'text'}", "data.label", "UTF-8"))
        return ""
    found = said.get(key) if isinstance(said, Mapping) else None
    if isinstance(found, list) and all(isinstance(one, str | int) for one in found):
        return found
    if isinstance(found, str | int) and not isinstance(found, bool):
        return found
    there = list(said) if isinstance(said, Mapping) else []
    what = f"{path} has no class under '{key}'"
    problems.append(Problem(what, "data.label_key", suggestion(key, there) if there else '{"label": "cat"}'))
    return ""

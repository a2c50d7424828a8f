"""What an image and a data set are, by contents: the keys of features, and what a run says it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from framework.core.errors import BadInput, Problem
from framework.data import containers
from framework.data.ascending import PIECE
from framework.data.columns import Keys, ShardPaths
from framework.data.images import Images
from framework.data.memo import by_threads, remembered

CONTENTS, SHARDS = "contents", "shards"
_PIECE = 8 << 20


def contents(paths: Sequence[str]) -> list[str]:
    """Hash of each file's bytes (BLAKE2b, 16 bytes, hexadecimal); unchanged files are not read again.

    Raises:
        BadInput: a file can't be read.
    """

    return remembered(paths, CONTENTS, lambda names: by_threads("Hashing images", file_hash, names))


def note(hashes: Mapping[str, str]) -> None:
    """Remember the hashes of files that somebody else has just read."""
    remembered(list(hashes), CONTENTS, lambda names: [hashes[name] for name in names])


def files(paths: Sequence[str]) -> list[str]:
    """As ``contents``, of files of any size, which are read piece by piece.

    Raises:
        BadInput: a file can't be read.
    """
    return remembered(paths, SHARDS, lambda names: by_threads("Hashing shards", _hash_of_shard, names))


def keys(paths: Sequence[str]) -> Sequence[str]:
    """What each image is: the hash of its file; of very many in shards the hash of the shard, and its row there.

    Raises:
        BadInput: a file can't be read, or a shard is another than was listed.
    """
    if not isinstance(paths, ShardPaths):
        return contents(paths)
    names = [""] * len(paths.shards)
    for number, found in zip(paths.used, files([paths.shards[number].file for number in paths.used]), strict=True):
        shard = paths.shards[number]
        if containers.state_of(shard.file) != shard.state:  # its rows may be others
            raise BadInput(Problem(f"{shard.file} has changed since it was listed", "data", "the same command again"))
        names[number] = digest(f"{found}/{shard.part}".encode())
    return paths.keys(names)


def identities(images: Images, paths: Sequence[str]) -> Sequence[str]:
    """The same; where the data are features, the number of each image's row in them.

    Raises:
        BadInput: a file can't be read.
    """
    return keys(paths) if images.features is None else images.features.keys(paths)


def dataset(images: Images) -> str:
    """One hash of a data set: its classes, and each split's images with their labels, whatever their order and names.

    Raises:
        BadInput: a file can't be read.
    """
    total = hashlib.blake2b(digest_size=16)
    total.update(repr((images.classes, images.multilabel)).encode(errors="surrogateescape"))
    if images.features is not None:
        total.update(repr(images.features.digests()).encode())
    for name, split in sorted(images.splits.items()):
        these = identities(images, split.paths)
        if isinstance(these, Keys):
            total.update(name.encode())
            for piece in _in_one_order(these, split.labels):
                total.update(piece)
        else:
            total.update(repr((name, sorted(zip(these, split.labels.tolist(), strict=True)))).encode())
    return total.hexdigest()


def order(images: Images, known: str) -> str:
    """Hash of the images and their labels as they lie; ``known`` is what ``dataset`` says of them."""
    total = hashlib.blake2b(known.encode(), digest_size=16)
    for name, split in sorted(images.splits.items()):
        these = identities(images, split.paths)
        kind = np.dtype("<f4" if split.labels.ndim == 2 else "<i4")
        total.update(repr((name, kind, these.shards if isinstance(these, Keys) else ())).encode())
        if isinstance(these, Keys):
            for shard, _ in these.pieces():
                total.update(shard.astype("<i4").tobytes())
            for _, row in these.pieces():
                total.update(row.astype("<i8").tobytes())
        else:
            total.update(np.array(these).tobytes())
        for start in range(0, len(split), PIECE):
            total.update(split.labels[start : start + PIECE].astype(kind).tobytes())
    return total.hexdigest()


def _in_one_order(keys: Keys, labels: np.ndarray) -> Iterator[bytes]:
    """Shards, rows and labels, whatever their order was: all of one, then all of the next, some at a time."""
    ranges = keys.by_shard()
    numbers: dict[str, list[int]] = {}  # of shards, by what they are
    for number in keys.used:
        numbers.setdefault(keys.shards[number], []).append(number)
    yield "\n".join(sorted(numbers)).encode()
    kind = "<f4" if labels.ndim == 2 else "<i4"
    for column in ("shard", "row", "label"):
        for place, name in enumerate(sorted(numbers)):
            places = np.sort(np.concatenate([ranges.places(number) for number in numbers[name]]))
            if column == "shard":
                yield np.full(len(places), place, "<i4").tobytes()
                continue
            rows = keys[places].row
            order = np.lexsort((*([labels[places]] if labels.ndim == 1 else []), rows))
            yield (rows[order].astype("<i8") if column == "row" else labels[places[order]].astype(kind)).tobytes()


def file_hash(path: str) -> str:
    """Hash of a file's bytes.

    Raises:
        BadInput: it can't be read.
    """
    try:
        return digest(containers.contents(path))
    except OSError as error:
        raise BadInput(Problem(f"{path} can't be read: {error.strerror}", "data")) from None


def _hash_of_shard(path: str) -> str:
    total = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                total.update(piece)
    except OSError as error:
        raise BadInput(Problem(f"{path} can't be read: {error.strerror}", "data")) from None
    return total.hexdigest()


def digest(data: bytes) -> str:
    """Hash of a file's contents."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()

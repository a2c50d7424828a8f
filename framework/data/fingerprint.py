"""What an image and a data set are, by contents: the keys of features, and what a run says it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from framework.core.errors import BadInput, Problem
from framework.data import containers
from framework.data.images import Images
from framework.data.memo import by_threads, remembered

CONTENTS = "contents"


def contents(paths: Sequence[str]) -> list[str]:
    """Hash of each file's bytes (BLAKE2b, 16 bytes, hexadecimal); unchanged files are not read again.

    Raises:
        BadInput: a file can't be read.
    """

    return remembered(paths, CONTENTS, lambda names: by_threads("Hashing images", file_hash, names))


def note(hashes: Mapping[str, str]) -> None:
    """Remember the hashes of files that somebody else has just read."""
    remembered(list(hashes), CONTENTS, lambda names: [hashes[name] for name in names])


def identities(images: Images, paths: Sequence[str]) -> list[str]:
    """What each of these images is: the hash of its file, or where the data are features the number of its row in them.

    Raises:
        BadInput: a file can't be read.
    """
    if images.features is None:
        return contents(paths)
    return [str(images.features.rows[path]) for path in paths]


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
        rows = zip(identities(images, split.paths), split.labels.tolist(), strict=True)
        total.update(repr((name, sorted(rows))).encode())
    return total.hexdigest()


def file_hash(path: str) -> str:
    """Hash of a file's bytes.

    Raises:
        BadInput: it can't be read.
    """
    try:
        return digest(containers.contents(path))
    except OSError as error:
        raise BadInput(Problem(f"{path} can't be read: {error.strerror}", "data")) from None


def digest(data: bytes) -> str:
    """Hash of a file's contents."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()

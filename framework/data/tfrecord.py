"""TFRecord files of ``tf.train.Example``s with an image and a label, read without TensorFlow.

An image is named ``train.tfrecord/image/encoded/000017``: its file, the key of its feature, and the number of its record.
The file is read once, record by record; from then on an image's bytes are found by their place.
The format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, suggestion
from framework.data import containers, shards
from framework.data.classified import images_of, read_names
from framework.data.columns import Coded, Shard, in_shards, of_each
from framework.data.containers import MOST_BYTES, Container, Damaged
from framework.data.folders import EXAMPLES, Kind, Unused
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.shards import WHERE

ENDING = r"(\.tfrecords?|-\d{5}-of-\d{5})$"
IMAGE = "image/encoded"
_NO_LABEL = Kind("image without a label", "images without a label")
_MANY = 1 << 16  # bytes of a list of numbers from which on it is no label, and not kept
_LARGE = 256  # bytes of a feature from which on it is not kept, only its place


@dataclass(frozen=True)
class Records(Container):
    """A file of examples: of each record the place of its large features, and its small ones."""

    features: list[dict[str, Any]] = field(default_factory=list)
    images = True

    @cached_property
    def image_keys(self) -> list[str]:
        """Keys of features that are large, in the order of the alphabet."""
        return sorted({key for one in self.features[:100] for key, value in one.items() if isinstance(value, slice)})

    @property
    def members(self) -> Iterable[str]:
        """Each record's image."""
        key = IMAGE if IMAGE in self.image_keys else (self.image_keys or [IMAGE])[0]
        return (member(key, row) for row in range(len(self.features)))

    def has(self, member: str) -> bool:
        """Whether the record has such a feature."""
        key, _, row = member.rpartition("/")
        return row.isdecimal() and int(row) < len(self.features) and key in self.features[int(row)]

    def called(self, key: str) -> Callable[[np.ndarray], Iterable[str]]:
        """Paths of the images under a key, from numbers of records."""
        return lambda rows: (f"{self.path}/{member(key, row)}" for row in rows.tolist())

    def read(self, member: str) -> bytes:
        """A feature's bytes."""
        if not self.has(member):
            raise FileNotFoundError(2, "no such record", f"{self.path}/{member}")
        key, _, row = member.rpartition("/")
        place = self.features[int(row)][key]
        if not isinstance(place, slice):
            return bytes(place[0]) if place and isinstance(place[0], bytes) else b""
        with open(self.path, "rb") as file:
            file.seek(place.start)
            data = file.read(place.stop - place.start)
        if len(data) < place.stop - place.start:
            raise Damaged("damaged: the file ends before it does")
        return data


def member(key: str, row: int) -> str:
    """What a record's image is called."""
    return f"{key}/{row:06d}"


def tfrecord_file(path: str, state: tuple[int, int], where: str) -> Records:
    """The index of a file.

    Raises:
        BadInput: it is broken, compressed, or holds no examples.
    """
    try:
        return Records(path, state, features=list(_examples(path, state[0])))
    except (OSError, ValueError, IndexError, struct.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(Problem(f"{path} can't be read: {why}", where, "the file anew, from where it came")) from None


def list_tfrecord(
    files: str | Sequence[str],
    image_key: str,
    label_key: str,
    text_key: str,
    names: str | None,
    validation: float,
    test: float,
) -> Images:
    """The examples of some files, in the splits that these are called after; arguments are those of the source.

    Raises:
        BadInput: a file is missing or broken, or its examples have no such features.
    """
    paths = shards.shard_files(files, ENDING)
    in_split = shards.split_of_each(paths)
    listed: list[Shard] = []
    rows: list[np.ndarray] = []
    cells: list[Coded[tuple[str, ...]]] = []
    without: list[str] = []
    several = by_text = False
    for path in paths:
        if not containers.is_container(path):
            raise BadInput(Problem(f"{path} is no TFRecord by its name", WHERE, "files ending in .tfrecord"))
        records = containers.opened(path, WHERE)
        assert isinstance(records, Records)
        _refuse_keys(records, image_key, label_key, text_key)
        labels: list[tuple[Any, ...]] = []
        labelled: list[int] = []
        for row, features in enumerate(records.features):
            texts = features.get(text_key) if names is None else None
            found = texts or features.get(label_key) or []
            if image_key not in features or not found:
                without.append(f"{path}/{member(image_key, row)}")
                continue
            by_text = by_text or bool(texts)
            several = several or len(found) > 1
            labelled.append(row)
            labels.append(tuple(found))
        cells.append(Coded.of(labels).mapped(_names))
        listed.append(Shard(path, records.state, len(records.features), records.called(image_key), image_key))
        rows.append(np.array(labelled, np.int64))
    references = in_shards(listed, rows)
    return images_of(
        references,
        Coded.joined(cells),
        of_each(in_split, references),
        names=read_names(names) if names else None,
        apart=("data.label_key", f"another feature than '{label_key}'"),
        folder=shards.common_folder(paths),
        validation=validation,
        test=test,
        where=WHERE,
        several=several,
        origin=shards.origin_of(paths),
        unused=(Unused(_NO_LABEL, len(without), tuple(without[:EXAMPLES])),) if without else (),
        notes=(f"classes are named by '{text_key}'",) if by_text else (),
    )


def _names(labels: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(class_name(one.decode(errors="replace") if isinstance(one, bytes) else str(one)) for one in labels)


def _refuse_keys(records: Records, image_key: str, label_key: str, text_key: str) -> None:
    first = records.features[0] if records.features else {}
    problems = []
    if image_key not in first:
        what = f"the examples of {records.path} have no feature '{image_key}'"
        problems.append(Problem(what, "data.image_key", suggestion(image_key, records.image_keys or sorted(first))))
    if label_key not in first and text_key not in first:
        what = f"the examples of {records.path} have neither '{label_key}' nor '{text_key}'"
        others = sorted(key for key, value in first.items() if not isinstance(value, slice))
        problems.append(Problem(what, "data.label_key", suggestion(label_key, others) if others else "a class in each"))
    if problems:
        raise BadInput(problems)


def _examples(path: str, length: int) -> Iterator[dict[str, Any]]:
    """The features of each example by key: lists of bytes, whole numbers or numbers, and of large bytes their place."""
    with open(path, "rb") as file:
        place = 0
        while place < length:
            head = file.read(12)
            if len(head) < 12:
                raise ValueError(f"it ends within a record, at byte {place:,}")
            (size,), (checksum,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
            if _masked(head[:8]) != checksum:
                kind = "is compressed: unpack it" if head.startswith((b"\x1f\x8b", b"x")) else "is no TFRecord"
                raise ValueError(f"the record at byte {place:,} is damaged" if place else f"it {kind}")
            if size > MOST_BYTES or place + 16 + size > length:
                raise ValueError(f"it ends within the record at byte {place:,}")
            yield _features(file.read(size), place + 12)
            file.seek(4, 1)
            place += 16 + size


def _features(data: bytes, place: int) -> dict[str, Any]:
    """The features of an example whose bytes begin at a place of the file."""
    found: dict[str, Any] = {}
    for _, start, stop in _fields(data, 0, len(data)):  # Example.features
        for _, entry, end in _fields(data, start, stop):  # Features.feature, a map's entry
            parts = {number: (first, last) for number, first, last in _fields(data, entry, end)}
            if 1 not in parts:
                raise ValueError("it holds other messages than tf.train.Example")
            key = data[slice(*parts[1])].decode()
            found[key] = _values(data, *parts[2], place) if 2 in parts else []
    return found


def _values(data: bytes, start: int, stop: int, place: int) -> Any:
    for kind, first, last in _fields(data, start, stop):
        if kind == 1:  # BytesList
            values = [(one, end) for _, one, end in _fields(data, first, last)]
            if len(values) == 1 and values[0][1] - values[0][0] >= _LARGE:
                return slice(place + values[0][0], place + values[0][1])
            return [data[one:end] for one, end in values]
        if last - first > _MANY:
            return []
        if kind == 2:  # FloatList
            return np.frombuffer(b"".join(data[one:end] for _, one, end in _fields(data, first, last)), "<f4").tolist()
        return list(_whole_numbers(data, first, last))  # Int64List
    return []


def _whole_numbers(data: bytes, start: int, stop: int) -> Iterator[int]:
    for _, first, last in _fields(data, start, stop):
        while first < last:
            value, first = _varint(data, first)
            yield value - (1 << 64) * (value >> 63)


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Number, first and last place of each field of a message in the wire format of Protocol Buffers."""
    while start < stop:
        tag, start = _varint(data, start)
        if tag & 7 == 2:
            size, start = _varint(data, start)
        elif tag & 7 == 0:
            size = _varint(data, start)[1] - start
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("it holds other messages than tf.train.Example")
        if start + size > stop:
            raise ValueError("a record makes no sense")
        yield tag >> 3, start, start + size
        start += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a record makes no sense")


def _masked(data: bytes) -> int:
    """The checksum of a record's length: CRC-32C, masked as the format says."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 255] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> list[int]:
    found = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
        found.append(number)
    return found


_TABLE = _table()

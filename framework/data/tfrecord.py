"""TFRecord files of ``tf.train.Example``s with an image and a label, read without TensorFlow.

An image is named ``train.tfrecord/image/encoded/000017``: its file, the key of its feature, and the number of its record.
The file is read once, record by record; from then on it is known where each lies, and values of which few are different.
The format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from framework.core.errors import BadInput, Problem, suggestion
from framework.data import containers, shards
from framework.data.ascending import Ascending
from framework.data.classified import images_of, read_names
from framework.data.columns import Coded, Shard, in_shards, of_each, smallest
from framework.data.containers import MOST_BYTES, Container, Damaged
from framework.data.folders import EXAMPLES, Kind, Unused
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.shards import WHERE
from framework.data.spilled import Spilled, spilled

ENDING = r"(\.tfrecords?|-\d{5}-of-\d{5})$"
IMAGE = "image/encoded"
_NO_LABEL = Kind("image without a label", "images without a label")
_MANY = 1 << 16  # bytes of a list of numbers from which on it is no label, and not read
_LARGE = 256  # bytes of a feature from which on it is not kept
_MOST = 4096  # different values of a feature that are kept
_KEYS = 10_000  # features of all examples of a file
_LOOKED_AT = 100  # records whose large features count as images
_BEFORE, _BEHIND = 12, 4  # bytes of length and checksums around a record
_APART = 256  # records of which it is known where the first begins


@dataclass(frozen=True)
class Feature:
    """A feature of the records of a file.

    Attributes:
        rows: numbers of the records that have it; None where all have.
        values: those that are different, tuples of bytes, whole numbers or numbers; None where one is large or very many are
            different, which are read from the file when they are asked for.
        codes: of each of these records the number of its value.
    """

    rows: Ascending | None
    values: Sequence[tuple[Any, ...]] | None
    codes: np.ndarray | Spilled

    def has(self, row: int) -> bool:
        """Whether a record has it."""
        return self.rows is None or bool(self.rows.has(np.array([row]))[0])

    @property
    def coded(self) -> Coded[tuple[Any, ...]] | None:
        """Values of these records, where they are known."""
        return None if self.values is None else Coded(self.values, self.codes[:])


class Ends:
    """Where the records of a file lie one after the other: the length of each, and of every so many-th where it begins.

    Args:
        ends: where each record begins, and where the last one ends: int64 (records + 1,).
    """

    def __init__(self, ends: np.ndarray):
        lengths = np.diff(ends)
        self._least = int(lengths.min()) if len(lengths) else 0
        self._more = spilled((lengths - self._least).astype(smallest(int(lengths.max(initial=0)) - self._least + 1)))
        self._starts = ends[::_APART].copy()

    def __len__(self) -> int:
        """Records."""
        return len(self._more)

    def of(self, row: int) -> tuple[int, int]:
        """Where a record begins and ends."""
        first = row // _APART * _APART
        more = self._more[first : row + 1].astype(np.int64) + self._least
        start = int(self._starts[row // _APART]) + int(more[:-1].sum())
        return start, start + int(more[-1])


@dataclass(frozen=True)
class Records(Container):
    """A file of examples: where each record lies, and of features with few values these.

    Attributes:
        ends: where each record begins, and where the last one ends.
        features: by their keys.
        image_keys: keys of features that are large, in the order of the alphabet.
    """

    ends: Ends = field(default_factory=lambda: Ends(np.zeros(1, np.int64)))
    features: Mapping[str, Feature] = field(default_factory=dict)
    image_keys: tuple[str, ...] = ()
    images = True

    def __len__(self) -> int:
        """Records."""
        return len(self.ends)

    @property
    def members(self) -> Iterable[str]:
        """Each record's image."""
        key = IMAGE if IMAGE in self.image_keys else (self.image_keys or [IMAGE])[0]
        return (member(key, row) for row in range(len(self)))

    def has(self, member: str) -> bool:
        """Whether the record has such a feature."""
        key, _, row = member.rpartition("/")
        return row.isdecimal() and int(row) < len(self) and key in self.features and self.features[key].has(int(row))

    def called(self, key: str) -> Callable[[np.ndarray], Iterable[str]]:
        """Paths of the images under a key, from numbers of records."""
        return lambda rows: (f"{self.path}/{member(key, row)}" for row in rows.tolist())

    def read(self, member: str) -> bytes:
        """A feature's bytes."""
        if not self.has(member):
            raise FileNotFoundError(2, "no such record", f"{self.path}/{member}")
        key, _, row = member.rpartition("/")
        with open(self.path, "rb") as file:
            values = self._read(file, key, int(row))
        return values[0] if values and isinstance(values[0], bytes) else b""

    def column(self, key: str) -> Coded[tuple[Any, ...]]:
        """Values of a feature in all records, empty where one has none."""
        found = self.features.get(key)
        if found is None:
            return Coded([()], np.zeros(len(self), np.int32))
        rows, values = found.rows, found.coded
        if values is None:
            with open(self.path, "rb") as file:
                there: Iterable[int] = range(len(self)) if rows is None else rows
                values = Coded.of(tuple(self._read(file, key, row)) for row in there)
        if rows is None:
            return values
        codes = np.full(len(self), len(values.values), np.int32)
        codes[np.asarray(rows)] = values.codes
        return Coded([*values.values, ()], codes)

    def _read(self, file: BinaryIO, key: str, row: int) -> Sequence[Any]:
        """Values of a feature of a record that has it."""
        start, stop = self.ends.of(row)
        file.seek(start + _BEFORE)
        data = file.read(stop - start - _BEFORE - _BEHIND)
        try:
            if len(data) == stop - start - _BEFORE - _BEHIND:
                return _values(data, *dict(_entries(data))[key])
        except (ValueError, IndexError, LookupError):
            pass
        raise Damaged("damaged: the file has changed since it was listed")


def member(key: str, row: int) -> str:
    """What a record's image is called."""
    return f"{key}/{row:06d}"


def tfrecord_file(path: str, state: tuple[int, int], where: str) -> Records:
    """The index of a file.

    Raises:
        BadInput: it is broken, compressed, or holds no examples.
    """
    columns: dict[str, _Column] = {}
    large: set[str] = set()
    ends = array("q", [0])
    try:
        for row, data in enumerate(_records(path, state[0])):
            ends.append(ends[-1] + len(data) + _BEFORE + _BEHIND)
            for key, place in dict(_entries(data)).items():
                if key not in columns:
                    if len(columns) == _KEYS:
                        raise ValueError(f"its examples have more than {_KEYS:,} features")
                    columns[key] = _Column()
                if columns[key].add(row, data, *place) and row < _LOOKED_AT:
                    large.add(key)
        features = {key: column.whole(len(ends) - 1) for key, column in columns.items()}
        return Records(
            path, state, ends=Ends(np.frombuffer(ends, np.int64)), features=features, image_keys=tuple(sorted(large))
        )
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
    rows: list[Ascending] = []
    cells: list[Coded[tuple[str, ...]]] = []
    examples: list[str] = []
    without, several, by_text = 0, False, False
    for path in paths:
        if not containers.is_container(path):
            raise BadInput(Problem(f"{path} is no TFRecord by its name", WHERE, "files ending in .tfrecord"))
        records = containers.opened(path, WHERE)
        assert isinstance(records, Records)
        _refuse_keys(records, image_key, label_key, text_key)
        texts, numbers = records.column(text_key if names is None else ""), records.column(label_key)
        said = np.array([bool(one) for one in texts.values], bool)[texts.codes]
        values = [*texts.values, *numbers.values]
        codes = np.where(said, texts.codes, len(texts.values) + numbers.codes.astype(np.int32))
        image = np.zeros(len(records), bool)
        image[slice(None) if (having := records.features[image_key].rows) is None else np.asarray(having)] = True
        there = image & np.array([bool(one) for one in values], bool)[codes]
        by_text = by_text or bool(said[there].any())
        several = several or any(len(values[code]) > 1 for code in np.unique(codes[there]))
        shard = Shard(path, records.state, len(records), records.called(image_key), image_key)
        labelled = Ascending.where(there)
        missing = np.flatnonzero(~there)
        without += len(missing)
        examples += shard.called(missing[: EXAMPLES - len(examples)])
        cells.append(Coded(values, codes[there]).mapped(_names))
        listed.append(shard)
        rows.append(labelled)
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
        unused=(Unused(_NO_LABEL, without, tuple(examples)),) if without else (),
        notes=(f"classes are named by '{text_key}'",) if by_text else (),
    )


def _names(labels: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(class_name(one.decode(errors="replace") if isinstance(one, bytes) else str(one)) for one in labels)


def _refuse_keys(records: Records, image_key: str, label_key: str, text_key: str) -> None:
    first = {key: one for key, one in records.features.items() if len(records) and one.has(0)}
    problems = []
    if image_key not in first:
        what = f"the examples of {records.path} have no feature '{image_key}'"
        problems.append(Problem(what, "data.image_key", suggestion(image_key, records.image_keys or sorted(first))))
    if label_key not in first and text_key not in first:
        what = f"the examples of {records.path} have neither '{label_key}' nor '{text_key}'"
        small = sorted(set(first) - set(records.image_keys))
        problems.append(Problem(what, "data.label_key", suggestion(label_key, small) if small else "a class in each"))
    if problems:
        raise BadInput(problems)


class _Column:
    """A feature as it is found, record by record."""

    def __init__(self) -> None:
        self._rows, self._codes = array("q"), array("H")
        self._known: dict[tuple[Any, ...], int] | None = {}

    def add(self, row: int, data: bytes, start: int, stop: int) -> bool:
        """Take notice of a record's value, and say whether it may be an image: one value of many bytes."""
        self._rows.append(row)
        large = stop - start >= _LARGE
        if self._known is not None and not large:
            value = tuple(_values(data, start, stop))
            self._codes.append(self._known.setdefault(value, len(self._known)))
        if large or (self._known is not None and len(self._known) > _MOST):
            self._known, self._codes = None, array("H")
        if not large:
            return False
        kind, first, last = next(_fields(data, start, stop))
        return kind == 1 and next((end for _, _, end in _fields(data, first, last)), first) == last > first

    def whole(self, count: int) -> Feature:
        """All of it, of so many records."""
        rows = None if len(self._rows) == count else Ascending.of([np.array(self._rows)], count)
        if self._known is None:
            return Feature(rows, None, np.zeros(0, np.uint8))
        return Feature(rows, list(self._known), spilled(np.array(self._codes).astype(smallest(len(self._known)))))


def _records(path: str, length: int) -> Iterator[bytes]:
    """The bytes of each example in a file of this length."""
    with open(path, "rb") as file:
        place = 0
        while place < length:
            head = file.read(_BEFORE)
            if len(head) < _BEFORE:
                raise ValueError(f"it ends within a record, at byte {place:,}")
            (size,), (checksum,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
            if _masked(head[:8]) != checksum:
                kind = "is compressed: unpack it" if head.startswith((b"\x1f\x8b", b"x")) else "is no TFRecord"
                raise ValueError(f"the record at byte {place:,} is damaged" if place else f"it {kind}")
            if size > MOST_BYTES or place + _BEFORE + size + _BEHIND > length:
                raise ValueError(f"it ends within the record at byte {place:,}")
            yield file.read(size)
            file.seek(_BEHIND, 1)
            place += _BEFORE + size + _BEHIND


def _entries(data: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """The features of an example by key, and where the values of each lie in it."""
    for _, start, stop in _fields(data, 0, len(data)):  # Example.features
        for _, entry, end in _fields(data, start, stop):  # Features.feature, a map's entry
            parts = {number: (first, last) for number, first, last in _fields(data, entry, end)}
            if 1 not in parts:
                raise ValueError("it holds other messages than tf.train.Example")
            yield data[slice(*parts[1])].decode(), parts.get(2, (0, 0))


def _values(data: bytes, start: int, stop: int) -> Sequence[Any]:
    """Bytes, whole numbers or numbers of a feature; none of very many numbers, which are no label."""
    for kind, first, last in _fields(data, start, stop):
        if kind == 1:  # BytesList
            return [data[one:end] for _, one, end in _fields(data, first, last)]
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

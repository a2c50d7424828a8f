"""ZIP and tar as containers: indexed without unpacking, each member then read by its place in the file.

Nothing is written anywhere, and a name that leads out of the archive is refused; links are not followed. A member
unpacks to no more than its index says, and that to no more than ``containers.MOST_BYTES``, or a hundred times what is stored.
"""

from __future__ import annotations

import bz2
import contextlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many
from framework.core.files import is_bomb
from framework.core.names import short
from framework.data.columns import Texts
from framework.data.containers import MOST_BYTES, Container, Damaged
from framework.data.spilled import Spilled, spilled

_BLOCK = 512
_END = bytes(_BLOCK)
_DEEPEST = 100  # folders in each other
_NAMES = 2**20  # bytes that a header of a long name may have
_LINK, _SPECIAL = "link", "special file"
_TYPES = {b"0": "", b"\0": "", b"7": "", b"5": "", b"1": _LINK, b"2": _LINK, b"S": "sparse file"}
_LARGE, _BOMB = "oversized file", "decompression bomb"
_PLAIN, _DEFLATED, _BZIP2 = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2


class _Row(NamedTuple):
    """Where a member lies: for a ZIP where its own header begins, for a tar its first byte; what a tar has not is 0."""

    name: str
    start: int = 0
    stored: int = 0
    size: int = 0
    method: int = 0
    checksum: int = 0
    folder: bool = False
    odd: str = ""


@dataclass(frozen=True)
class Archive(Container):
    """Files in folders in one file.

    Attributes:
        names: of its members, in the order of the file.
        rows: int64 (members, numbers), where each lies, as ``take`` reads it.
        take: a member's bytes, from the opened archive and its row.
    """

    names: Texts = field(default_factory=Texts)
    rows: np.ndarray | Spilled = field(default_factory=lambda: np.empty((0, 5), np.int64))
    take: Callable[[BinaryIO, list[int]], bytes] = field(default=lambda file, row: b"")

    @property
    def members(self) -> Iterable[str]:
        """In the order of the file."""
        return self.names

    def has(self, member: str) -> bool:
        """Whether there is a file of this name."""
        return self.names.find(member) >= 0

    def read(self, member: str) -> bytes:
        """Its bytes; a ZIP's against their checksum."""
        return next(self.read_all([member]))

    def read_all(self, members: Iterable[str]) -> Iterator[bytes]:
        """The bytes of many, by one opened file."""
        return self.read_rows(map(self._place, members))

    def read_rows(self, places: Iterable[int]) -> Iterator[bytes]:
        """The same, by their places among the members."""
        with open(self.path, "rb") as file:
            for place in places:
                yield self.take(file, self.rows[place].tolist())

    def _place(self, member: str) -> int:
        place = self.names.find(member)
        if place < 0:
            raise FileNotFoundError(2, f"not in {os.path.basename(self.path)}", f"{self.path}/{member}")
        return place


def zip_file(path: str, state: tuple[int, int], where: str) -> Archive:
    """The index of a ZIP.

    Raises:
        BadInput: it is broken, has a name twice, or one that leads out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            rows = [_of_zip(entry) for entry in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        _broken(path, where, getattr(error, "strerror", None) or str(error))
    return _archive(path, state, where, rows, _unzip)


def tar_file(path: str, state: tuple[int, int], where: str) -> Archive:
    """The index of a tar that is not compressed.

    Raises:
        BadInput: as for ``zip_file``.
    """
    try:
        rows = list(_of_tar(path, state[0]))
    except (OSError, ValueError) as error:
        _broken(path, where, getattr(error, "strerror", None) or str(error))
    return _archive(path, state, where, rows, _untar, 2)


def _broken(path: str, where: str, why: str) -> NoReturn:
    raise BadInput(Problem(f"{path} can't be read: {why}", where, "the file anew, from where it came")) from None


def _archive(
    path: str,
    state: tuple[int, int],
    where: str,
    rows: list[_Row],
    take: Callable[[BinaryIO, list[int]], bytes],
    numbers: int = 5,
) -> Archive:
    """The archive of these; of each row so many numbers are kept."""
    names = [_plain(row.name) for row in rows]
    outside = [row.name for row, name in zip(rows, names, strict=True) if name is None]
    if deep := [str(name) for name in names if name and name.count("/") > _DEEPEST]:
        what = f"{path} has {many(len(deep), 'name')} more than {_DEEPEST} folders deep: {short(deep[0], 80)}"
        raise BadInput(Problem(what, where, "an archive of a folder"))
    if outside:
        what = f"{path} has {many(len(outside), 'name')} that {'leads' if len(outside) == 1 else 'lead'} out of it"
        right = "an archive of names inside its folder; no program of good will makes others"
        raise BadInput(Problem(f"{what}: {listing(outside, 3)}", where, right))
    places: dict[str, int] = {}
    folders: dict[str, None] = {}
    odd: dict[str, str] = {}
    again = []
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        if row.folder:
            if name:
                folders[name] = None
        elif not name or name in places or name in odd:
            again.append(row.name)
        elif row.odd:
            odd[name] = row.odd
        else:
            places[name] = number
    if again:
        what = f"{path} has {many(len(again), 'name')} twice: {listing(again, 3)}"
        raise BadInput(Problem(what, where, "an archive with each name once, made anew from its folder"))
    kept = np.array([rows[number][1 : 1 + numbers] for number in places.values()], np.int64).reshape(-1, numbers)
    return Archive(path, state, tuple(folders), odd, Texts(places), spilled(kept), take)


def _plain(name: str) -> str | None:
    """A name with ``/`` between its parts, none of them ``.``; None if it leads out, or no file can have it."""
    name = name.replace("\\", "/")
    if name.startswith("/") or "\0" in name or name[1:3] == ":/":
        return None
    if "./" not in name and "//" not in name and not name.endswith((".", "/")):
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def _of_zip(entry: zipfile.ZipInfo) -> _Row:
    name = entry.filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        # older programs don't say that their names are UTF-8
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    mode = entry.external_attr >> 16
    odd = ""
    if entry.flag_bits & 1:
        odd = "encrypted file"
    elif stat.S_ISLNK(mode):
        odd = _LINK
    elif stat.S_IFMT(mode) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        odd = _SPECIAL
    elif entry.compress_type not in (_PLAIN, _DEFLATED, _BZIP2):
        odd = "otherwise compressed file"
    elif entry.file_size > MOST_BYTES:
        odd = _LARGE
    elif is_bomb(entry.file_size, entry.compress_size):
        odd = _BOMB
    place = entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
    return _Row(name, *place, folder=name.endswith(("/", "\\")), odd=odd)


def _unzip(file: BinaryIO, row: list[int]) -> bytes:
    start, stored, size, method, checksum = row
    file.seek(start)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise Damaged("damaged: the archive has no file where its index says")
    file.seek(start + 30 + sum(struct.unpack("<HH", header[26:30])))
    data = file.read(min(stored, MOST_BYTES))
    try:
        if method == _DEFLATED:
            data = zlib.decompressobj(-15).decompress(data, size + 1)
        elif method == _BZIP2:
            data = bz2.BZ2Decompressor().decompress(data, size + 1)
    except (zlib.error, OSError, EOFError):
        raise Damaged("damaged: its compressed data make no sense") from None
    if len(data) != size or zlib.crc32(data) != checksum:
        raise Damaged("damaged: it is not what the archive's checksum says")
    return data


def _of_tar(path: str, length: int) -> Iterator[_Row]:
    """Members of a tar, up to its end mark: its headers are read, and nothing between them.

    ``tarfile`` takes eight times as long, which is the whole of the time that data take to be listed.
    """
    with open(path, "rb", buffering=0) as file:
        place, long_name, more = 0, b"", {}
        while (block := file.read(_BLOCK)) and block != _END:
            start = place + _BLOCK
            size, kind = _header(block, place), block[156:157]
            if kind in b"LKxg":
                if size > _NAMES:
                    raise ValueError(f"the header at byte {place:,} makes no sense")
                said = file.read(size)
                if kind == b"L":
                    long_name = said.rstrip(b"\0")
                elif kind == b"x":
                    more = _extended(said)
            else:
                name = long_name or _name(block)
                odd = _TYPES.get(kind, _SPECIAL)
                if more:
                    name, size = more.get(b"path", name), int(more.get(b"size", size))
                    odd = "sparse file" if b"GNU.sparse.major" in more else odd
                if kind in b"123456":
                    size = 0  # what they say is of what they stand for
                if size < 0:
                    raise ValueError(f"the header at byte {place:,} makes no sense")
                if start + size > length:
                    raise ValueError(f"it ends within {name.decode(errors='replace')}: {length:,} bytes are there")
                if size > MOST_BYTES:
                    odd = _LARGE
                folder = kind == b"5" or name.endswith(b"/")
                yield _Row(name.decode("utf-8", "surrogateescape"), start, size, size, 0, 0, folder, odd)
                long_name, more = b"", {}
            place = start + -(-size // _BLOCK) * _BLOCK
            file.seek(place)
    if not block:
        raise ValueError(f"its end is missing, after {length:,} bytes")


def _header(block: bytes, place: int) -> int:
    """The size in a header whose checksum is right."""
    if len(block) < _BLOCK:
        raise ValueError(f"it ends within a header, at byte {place:,}")
    try:
        stated = int(block[148:156].strip(b" \0"), 8)
        size = (
            int.from_bytes(block[125:136], "big")
            if block[124] == 0x80
            else int(block[124:136].strip(b" \0") or b"0", 8)
        )
    except ValueError:
        stated = size = -1
    # the sum of all bytes, its own eight taken for blanks; Adler-32 has it in its lower half, modulo a prime
    if size < 0 or zlib.adler32(block) & 0xFFFF != (1 + stated - 8 * 32 + sum(block[148:156])) % 65521:
        raise ValueError(f"the header at byte {place:,} makes no sense" if place else "it is no tar")
    return size


def _name(block: bytes) -> bytes:
    name = block[:100].rstrip(b"\0")
    if block[345] and block[257:263] == b"ustar\0":
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.split(b"\0", 1)[0]


def _extended(said: bytes) -> dict[bytes, Any]:
    """Records ``length key=value`` of a header of POSIX.1-2001."""
    found, place = {}, 0
    while place < len(said) and said[place : place + 1] != b"\0":
        digits = said[place : place + 20].split(b" ", 1)[0]
        length = int(digits)
        key, _, value = said[place + len(digits) + 1 : place + length - 1].partition(b"=")
        if length < 5 or not key:
            raise ValueError("a header of names makes no sense")
        found[key] = value
        place += length
    return found


def _untar(file: BinaryIO, row: list[int]) -> bytes:
    start, size = row[:2]
    file.seek(start)
    data = file.read(size)
    if len(data) < size:
        raise Damaged("damaged: the archive ends before it does")
    return data

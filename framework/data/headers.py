"""What the bytes of JPEG and PNG files say of themselves, without decoding them."""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

_ORIENTATION = 0x0112
_PIXELS = 2**27
# What may not follow FF inside a JPEG's entropy-coded data: anything but a stuffed zero, a restart or padding.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SEGMENTS = frozenset({0xC4, 0xDA, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})


class Jpeg(NamedTuple):
    """What a JPEG file's header says."""

    width: int
    height: int
    plain: bool  # baseline or progressive, 8 bits, grey or three colours, of a size that photos have
    orientation: int


def jpeg_header(data: bytes) -> Jpeg | None:
    """Walk the segments up to the frame header; None if there is none."""
    position, orientation = 2, 1
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body[6:])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(body) < 6:
                return None
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            plain = marker in (0xC0, 0xC1, 0xC2) and precision == 8 and components in (1, 3)
            plain = plain and 0 < width * height <= _PIXELS
            return Jpeg(width, height, plain, orientation)
        elif marker in (0xD9, 0xDA):
            return None
        position += 2 + length
    return None


def _exif_orientation(exif: bytes) -> int:
    """Orientation from the first directory of an EXIF block; 0, which is none, if the block is broken."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value
    except (KeyError, struct.error):
        return 0
    return 1


def jpeg_is_whole(data: bytes) -> bool:
    """Whether all segments and scans follow each other up to the end marker."""
    header = jpeg_header(data)
    if header is None or not header.plain:
        return False
    position, scans = 2, 0
    while found := _MARKER.search(data, position):
        marker = found.group(1)[0]
        if marker == 0xD9:
            return scans > 0
        if scans and marker not in _SEGMENTS:
            return False
        scans += marker == 0xDA
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker == 0xC4 and not _huffman_is_sound(data[found.end() + 2 : position]):
            return False
    return False


def _huffman_is_sound(tables: bytes) -> bool:
    """Whether the code lengths of Huffman tables can be those of codes."""
    position = 0
    while position < len(tables):
        lengths = tables[position + 1 : position + 17]
        position += 17 + sum(lengths)
        codes = 0
        for bits, count in enumerate(lengths, 1):
            codes = 2 * codes + count
            if codes > 2**bits:
                return False
        if position > len(tables) or sum(lengths) > 256:
            return False
    return True


def png_is_whole(data: bytes) -> bool:
    """Whether every chunk is there, with the checksum it states."""
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[position + 4 : end])):
            return False
        if data[position + 4 : position + 8] == b"IEND":
            return b"IDAT" in data
        position = end + 4
    return False

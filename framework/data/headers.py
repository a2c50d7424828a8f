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


# What files begin with.
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"\0\0\x01\0": "ICO",
    b"%PDF-": "PDF",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"\x1aE\xdf\xa3": "video",
}
# ISO media files hold "ftyp" and these brands after a length of four bytes.
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|script)", re.IGNORECASE)
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", re.IGNORECASE | re.DOTALL)


def format_of(head: bytes) -> str | None:
    """What a file really is, whatever its ending says.

    Args:
        head: its first bytes; 64 do for pictures, some hundred for texts.

    Returns:
        ``JPEG``, ``PNG``, ``GIF``, ``BMP``, ``TIFF``, ``WebP``, ``AVIF``, ``PPM``; what isn't read here: ``HEIC``,
        ``JPEG XL``, ``JPEG 2000``, ``Photoshop``, ``ICO``, ``SVG``, ``PDF``, ``HTML``, ``ZIP``, ``gzip``, ``video``;
        ``text`` and ``empty``. None: none of these.
    """
    if not head:
        return "empty"
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head.startswith(b"BM") and b"\0" in head[2:18]:  # a text may begin so too
        return "BMP"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head.startswith(b"RIFF"):
        return "WebP" if head[8:12] == b"WEBP" else "video" if head[8:12] == b"AVI " else None
    if re.match(rb"P[1-6]\s", head):
        return "PPM"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(text):
        return "HTML"
    if _SVG.match(text):
        return "SVG"
    return "text" if _is_text(text) else None


def _iso_media(head: bytes) -> str:
    """AVIF and HEIC share general brands: one that says which of them counts before one that doesn't."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, end, 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "video" if not names else "AVIF" if "AVIF" in names else "HEIC"


def _is_text(head: bytes) -> bool:
    """Whether it reads as UTF-8 without control characters; its last character may be cut."""
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True

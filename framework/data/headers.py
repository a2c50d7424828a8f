"""What the bytes of files say of themselves, without decoding them: their format, and whether JPEG and PNG are sound."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_ORIENTATION, _BITS = 0x0112, 0x0102
_PIXELS = 2**27
_PROPERTIES = 1 << 16  # bytes in which an ISO file says what its image is
_PNG_START = b"\x89PNG\r\n\x1a\n"
# What may not follow FF inside a JPEG's entropy-coded data: anything but a stuffed zero, a restart or padding.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_XMP_UPRIGHT = re.compile(rb'tiff:Orientation(="|>)1')
_PNM = re.compile(rb"P[2356]\s+(?:#[^\n]*\s+)*\d+\s+(?:#[^\n]*\s+)*\d+\s+(?:#[^\n]*\s+)*(\d{1,5})\s")
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SEGMENTS = frozenset({0xC4, 0xDA, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})


class Jpeg(NamedTuple):
    """What a JPEG file's header says."""

    width: int
    height: int
    plain: bool  # baseline or progressive, 8 bits, grey or three colours, of a size that photos have
    upright: bool  # neither EXIF nor XMP says that it is turned, or anything unclear


class Png(NamedTuple):
    """What a PNG file's chunks say."""

    width: int
    height: int
    plain: bool  # 8 bits, grey or RGB, without transparency, animation, or anything that may turn it


def jpeg_header(data: bytes) -> Jpeg | None:
    """Walk the segments up to the frame header; None if there is none."""
    if not data.startswith(b"\xff\xd8"):
        return None
    position, upright = 2, True
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            upright &= _exif_orientation(body[6:]) == 1
        elif marker == 0xE1 and b"Orientation" in body:
            upright &= _XMP_UPRIGHT.search(body) is not None
        elif marker in _FRAMES:
            if len(body) < 6:
                return None
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            plain = marker in (0xC0, 0xC1, 0xC2) and precision == 8 and components in (1, 3)
            plain = plain and 0 < width * height <= _PIXELS
            return Jpeg(width, height, plain, upright)
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


def jpeg_skeleton(data: bytes) -> bytes | None:
    """The segments of a plain JPEG without what its scans hold, as a JPEG of one block.

    A decoder that takes it takes the file's tables and frame, for a thousandth of the work. None: the file is not plain,
    or its segments and scans do not follow each other up to the end marker.
    """
    header = jpeg_header(data)
    if header is None or not header.plain:
        return None
    skeleton, position, scans = data[:2], 2, 0
    while found := _MARKER.search(data, position):
        marker = found.group(1)[0]
        if marker == 0xD9:
            return skeleton + data[found.start() : found.end()] if scans else None
        if scans and marker not in _SEGMENTS:
            return None
        scans += marker == 0xDA
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        segment = data[found.start() : position]
        if marker in _FRAMES:
            segment = segment[:5] + b"\0\x08\0\x08" + segment[9:]
        if not 0xE0 <= marker <= 0xFE:  # what applications and comments say
            skeleton += segment
    return None


def png_header(data: bytes) -> Png | None:
    """Walk the chunks to the last; None if there is no header."""
    if not data.startswith(_PNG_START) or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    plain = (depth, colour) in {(8, 0), (8, 2)}
    for kind, body in _chunks(data):
        plain = plain and kind not in (b"tRNS", b"eXIf", b"acTL")
        plain = plain and not body.startswith((b"XML:com.adobe.xmp", b"Raw profile type"))
    return Png(width, height, plain)


def png_is_whole(data: bytes) -> bool:
    """Whether every chunk is there, with the checksum it states, and the image is of a size that photos have."""
    header = png_header(data)
    if header is None or not 0 < header.width * header.height <= _PIXELS:
        return False
    kinds, position = [], len(_PNG_START)
    for kind, body in _chunks(data):
        position += len(body) + 12
        if data[position - 4 : position] != struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))):
            return False
        kinds.append(kind)
    return kinds[:1] == [b"IHDR"] and b"IDAT" in kinds and kinds[-1] == b"IEND"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and contents of a PNG file's chunks, up to its end or to one that is cut."""
    position = len(_PNG_START)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            return
        kind = data[position + 4 : position + 8]
        yield kind, data[position + 8 : position + 8 + length]
        if kind == b"IEND":
            return
        position += 12 + length


def is_deep(data: bytes) -> bool:
    """Whether a PNG, a TIFF, an AVIF, a HEIC, or a PGM or PPM says of itself that it has more than 8 bits a channel."""
    if data.startswith(_PNG_START):
        return data[24:25] == b"\x10"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_bits(data) > 8
    if data[4:8] == b"ftyp":
        # the property "pixi" (ISO/IEC 23008-12, 6.5.6): version, flags, channels, and the bits of each
        at = data.find(b"pixi", 0, _PROPERTIES)
        return at >= 0 and data[at + 9 : at + 10] > b"\x08"
    numbers = _PNM.match(data)
    return numbers is not None and int(numbers.group(1)) > 255


def _tiff_bits(data: bytes) -> int:
    """Bits of a channel in the first directory of a TIFF; 8 if that is broken."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, start)
        for entry in range(entries):
            place = start + 2 + 12 * entry
            tag, _, count = struct.unpack_from(order + "HHI", data, place)
            if tag == _BITS:
                at = place + 8 if count <= 2 else struct.unpack_from(order + "I", data, place + 8)[0]
                return struct.unpack_from(order + "H", data, at)[0]
    except struct.error:
        pass
    return 8


HEAD = 512  # bytes that tell a file's format
# What files begin with.
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    _PNG_START: "PNG",
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
        head: its first bytes; 64 do for images, ``HEAD`` for texts.

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

"""Images that are bombs, and others that no camera makes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(size: tuple[int, int] = (40, 30), format: str = "JPEG", **more: object) -> bytes:
    """A small sound image."""
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, format, **more)
    return file.getvalue()


def class_folders(*names: str, side: int = 32, count: int = 2) -> None:
    """``photos`` in the current folder: so many sound images of each class, to train on and to validate by."""
    for name in names:
        for split in ("train", "validation"):
            folder = Path("photos", split, name)
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(jpeg((side, side)))


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few kilobytes that would decode to any number of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(min(height * (3 * width + 1), 1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bombs(side: int = 60_000) -> dict[str, bytes]:
    """A small file of each format whose header says that it is so large, or that holds far more than it is."""
    sides = struct.pack("<HH", min(side, 65_535), min(side, 65_535))
    small = jpeg()
    place = small.index(b"\xff\xc0") + 5
    text = zlib.compress(bytes(50 << 20))
    tiff = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 8)
    for tag, kind, value in (
        (256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 200), (278, 4, side), (279, 4, 90),
    ):  # fmt: skip
        tiff += struct.pack("<HHII", tag, kind, 1, value)
    return {
        "PNG": bomb(side, side),
        "PNG of text": small_png(_chunk(b"zTXt", b"Comment\0\0" + text)),
        "PNG of colours": small_png(_chunk(b"iCCP", b"icc\0\0" + text)),
        "JPEG": small[:place] + struct.pack(">HH", 65_500, 65_500) + small[place + 4 :],
        "JPEG of scans": scans(500),
        "GIF": b"GIF89a" + sides + b"\x80\0\0" + bytes(6) + b"," + bytes(4) + sides + b"\0\2\2L\1\0;",
        "GIF of frames": gif(2000),
        "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 1, 1, 0, 0),
        "TIFF": tiff + struct.pack("<I", 0) + zlib.compress(bytes(1 << 20))[:200],
        "WebP": b"RIFF"
        + struct.pack("<I", 30)
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + b"\x10\0\0\0"
        + b"\xff\xff\0" * 2
        + bytes(8),
        "PPM": b"P6 %d %d 255\n" % (side, side) + bytes(1000),
        "PPM without end": b"P6 " + b"#" * 100_000,
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(1000),
    }


def small_png(*more: bytes) -> bytes:
    """A sound PNG of 2 × 2 pixels with more chunks."""
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            *more,
            _chunk(b"IDAT", zlib.compress(bytes(14))),
            _chunk(b"IEND", b""),
        ]
    )


def scans(count: int) -> bytes:
    """A progressive JPEG that says its last scan again and again."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def gif(frames: int) -> bytes:
    """An animation of so many frames."""
    file = io.BytesIO()
    some = [Image.fromarray(np.full((2, 2), number % 256, np.uint8)) for number in range(min(frames, 256))]
    some[0].save(file, "GIF", save_all=True, append_images=some[1:] * (frames // 256))
    return file.getvalue()


def programs(command: str) -> dict[str, bytes]:
    """Files that some reader of images hands to another program, each with a command in it."""
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%{command}) (w) file\nshowpage\n".encode()
    mvg = f"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://x\"|{command}\"'\npop graphic-context".encode()
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><image href='msl:{command}'/><script>{command}</script></svg>".encode()
    return {
        "EPS": postscript,
        "MVG": mvg,
        "SVG": svg,
        "pickle": b"\x80\x04.",
        "shell": f"#!/bin/sh\n{command}\n".encode(),
    }

"""What first bytes say of a file, whatever it is called."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from framework.data.headers import format_of, is_deep


def box(brand, *others):
    body = b"ftyp" + brand + b"\0\0\0\0" + b"".join(others)
    return (4 + len(body)).to_bytes(4, "big") + body


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP", "AVIF", "PPM"])
def test_what_pillow_writes(name):
    data = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(data, format=name)
    assert format_of(data.getvalue()[:64]) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "empty"),
        (box(b"heic", b"mif1", b"heic"), "HEIC"),
        (box(b"mif1", b"mif1", b"heic", b"hevc"), "HEIC"),
        (box(b"mif1", b"mif1", b"avif", b"miaf"), "AVIF"),
        (box(b"qt  ", b"qt  "), "video"),
        (box(b"isom", b"mp42"), "video"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b"\n<!DOCTYPE HTML>\n<html>", "HTML"),
        (b"<html lang='en'><head>", "HTML"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b"path,label\na.jpg,hat\n", "text"),
        (b"BMW,hat\n", "text"),
        ("größe".encode()[:4], "text"),  # cut within its "ö" or "ß"
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (bytes(64), None),
        (b"\x93NUMPY\x01\0", None),
    ],
)
def test_other_files(head, name):
    assert format_of(head) == name


@pytest.mark.parametrize(("mode", "deep"), [("L", False), ("RGB", False), ("I;16", True)])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_depth_is_told_by_the_header(mode, deep, format):
    image = Image.fromarray(np.full((4, 4), 7, np.uint16)) if mode == "I;16" else Image.new(mode, (4, 4), 7)
    file = io.BytesIO()
    image.save(file, format)
    assert is_deep(file.getvalue()) == deep


def test_sixteen_bits_of_colours_are_seen_though_pillow_reads_eight(tmp_path):
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    rows = zlib.compress(b"".join(b"\0" + bytes(12) for _ in range(2)))
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    assert is_deep(data)
    for ppm, deep in ((b"P6\n# made\n1 1\n65535\n" + bytes(6), True), (b"P5 1 1 255\n\0", False)):
        assert is_deep(ppm) == deep
    for broken in (b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"P6 "):
        assert not is_deep(broken)


def test_depth_of_an_avif_is_told_by_its_properties():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "AVIF")
    data = file.getvalue()
    assert not is_deep(data)
    at = data.index(b"pixi") + 9
    assert is_deep(data[:at] + b"\x0a" * 3 + data[at + 3 :])
    assert not is_deep(data[:16])

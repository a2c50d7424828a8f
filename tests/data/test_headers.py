"""What first bytes say of a file, whatever it is called."""

import io

import numpy as np
import pytest
from PIL import Image

from framework.data.headers import format_of


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

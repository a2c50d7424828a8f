"""Images that can't be read are found before training, each with its reason."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from framework.core.errors import BadInput
from framework.core.geometry import Geometry
from framework.data import decode
from framework.data.decode import image, look, pixels, unreadable
from framework.data.images import Images, Split
from framework.data.rows import Undecodable, image_rows, undecodable, unreadable_problem
from framework.data.selection import readable
from framework.data.sources import image_folder
from framework.data.upright import bilinear
from framework.evaluation.forward import batches
from tests.conftest import CLONE, bash, make_images, write


@pytest.fixture
def damaged(photos):
    """Three bad files among the training images, of three kinds."""
    first, second, third = sorted((photos / "train" / "red").iterdir())[:3]
    first.write_bytes(first.read_bytes()[:-200])
    second.write_bytes(b"")
    third.write_text("a text called jpg")
    return image_folder(1, dir=str(photos), validation=0.2, test=0.0), [str(first), str(second), str(third)]


def test_each_bad_file_has_its_reason(damaged):
    images, bad = damaged
    paths = images.splits["train"].paths
    assert unreadable(paths) == [
        (bad[0], "truncated"),
        (bad[1], "empty, 0 bytes"),
        (bad[2], "not an image but text"),
    ]
    assert unreadable(paths, Geometry((16, 16))) == unreadable(paths)
    problem = unreadable_problem(unreadable(paths))
    assert problem.what.startswith("3 images can't be read:")
    assert all(path in problem.what for path in bad)


FORMATS = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "restarts.jpg": ("JPEG", {"restart_marker_rows": 1}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WebP", {}),
    "tiff": ("TIFF", {}),
    "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """Files of every format, each cut or overwritten somewhere, half of them near the beginning."""
    folder = tmp_path_factory.mktemp("fuzzed")
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (24, 31, 3), np.uint8)).resize((93, 72), Image.Resampling.NEAREST)
    paths = []
    for ending, (format, how) in FORMATS.items():
        noise.save(folder / "whole", format, **how)
        data = (folder / "whole").read_bytes()
        for number in range(80):
            damaged = bytearray(data)
            if number % 4 == 0:
                del damaged[rng.integers(0, len(data)) :]
            else:
                reach = min(700, len(data)) if number % 2 else len(data)
                for place in rng.integers(0, reach, rng.integers(1, 4)):
                    damaged[place] = rng.integers(0, 256)
            path = folder / f"{number}.{ending}"
            path.write_bytes(damaged)
            os.utime(path, (1_000_000_000, 1_000_000_000))
            paths.append(str(path))
    return paths


@pytest.mark.slow
def test_what_is_called_unreadable_is_what_the_pipeline_fails_on(fuzzed):
    looked = dict(unreadable(fuzzed))
    size, geometry = (16, 16), Geometry((16, 16))
    read, said = {}, {}
    for path in fuzzed:
        try:
            read[path] = image(path, geometry)
        except ValueError as error:
            said[path] = str(error)
    assert all(text.startswith(f"{path}: ") for path, text in said.items())
    reasons = {text.removeprefix(f"{path}: ") for path, text in said.items()}
    assert not [why for why in reasons if re.search("node|tensorflow|decod|stream", why, re.IGNORECASE)]
    assert sorted(looked) == sorted(set(fuzzed) - set(read))
    assert len(read) > 200
    assert len(looked) > 200
    assert dict(unreadable(fuzzed, geometry)).keys() == looked.keys()
    # the same by what goes forward, and in a training pipeline
    bad = []
    names = [name for some, _ in batches(fuzzed, geometry, 32, bad) for name in some]
    assert names == list(read)
    assert dict(bad).keys() == looked.keys()
    rows = image_rows(list(read), geometry, 100)
    np.testing.assert_array_equal(rows.images, np.stack(list(read.values())))
    # and Pillow alone, as call.py reads: the same pixels of damaged files too
    for path, ours in read.items():
        np.testing.assert_array_equal(ours, bilinear(pixels(path, size), size))


def badly_compressed(path):
    """A PNG whose checksums are right and whose compressed data are not."""
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    data = path.read_bytes()
    place = data.index(b"IDAT")
    length = int.from_bytes(data[place - 4 : place], "big")
    body = data[place : place + 4 + length // 2] + b"\xff" * (length - length // 2)
    path.write_bytes(data[: place - 4] + struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body)))
    with path.open("ab") as file:
        file.write(data[place + 8 + length :])
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return str(path)


def test_what_only_reading_shows_is_remembered_for_every_question(photos):
    bad = badly_compressed(photos / "train" / "red" / "a.png")
    train = [str(path) for path in sorted((photos / "train").rglob("*.*"))]
    every = [*train, *(str(path) for path in sorted((photos / "validation").rglob("*.*")))]
    assert unreadable(every) == []
    with pytest.raises(Undecodable) as error:
        image_rows(train, Geometry((16, 16)), 100)
    assert list(error.value.reasons) == [bad]
    assert [path for path, _ in unreadable(every)] == [bad]
    assert [path for path, _ in unreadable([bad])] == [bad]


def test_more_pixels_than_any_photo_has(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert unreadable([str(path)]) == [(str(path), "more pixels than any photo has")]


def test_more_than_eight_bits_are_told(tmp_path):
    for name, deep in (("a.png", True), ("b.png", False), ("c.tif", True)):
        Image.fromarray(np.full((9, 9), 70, np.uint16 if deep else np.uint8)).save(tmp_path / name)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.tif")]
    images = Images(("a", "b"), {"train": Split(tuple(paths), np.array([0, 1, 0], np.int32))}, False, "here")
    for _ in ("looked at", "remembered"):
        found, left_out = readable(images, "stop")
        assert found.notes == ("2 images have more than 8 bits a channel, and 8 of them are read",)
        assert not left_out
    assert look(paths, Geometry((8, 8))) == ([], [paths[0], paths[2]])


STAND_IN = """
from io import BytesIO
from PIL import Image, ImageFile

class Heif(ImageFile.ImageFile):
    format = "HEIF"

    def _open(self):
        self.inner = Image.open(BytesIO(self.fp.read()[24:]))
        self._mode, self._size = self.inner.mode, self.inner.size

    def load(self):
        self.im = self.inner.convert("RGB").im

def register_heif_opener():
    Image.register_open("HEIF", Heif, lambda head: head[4:12] == b"ftypheic")
    Image.register_extension("HEIF", ".heic")
"""


def test_heic_is_read_where_its_library_is_installed(tmp_path, own_cache):
    """By a stand-in: any image behind HEIC's beginning. What was said of the files before is not what is said then."""
    photos = make_images(tmp_path / "photos", count=4, size=12)
    for name, file in (("a.heic", "red"), ("b.jpg", "blue")):  # by its ending, and by another
        data = next((photos / file).iterdir()).read_bytes()
        (photos / file / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + data)
    line = f"python -m framework.check data=image_folder data.dir={photos} data.validation=0.5"
    without = bash(line, tmp_path)
    assert without.returncode == 2
    assert "1 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG)" in without.stderr
    assert "b.jpg: HEIC, as iPhones write it: pip install 'framework[heif]', or convert to JPEG" in without.stderr
    write(tmp_path / "site", {"pillow_heif.py": STAND_IN})
    installed = bash(line, tmp_path, PYTHONPATH=f"{tmp_path}/site{os.pathsep}{CLONE}")
    assert (installed.returncode, installed.stderr) == (0, "all right\n")


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_is_called_heic_whatever_its_ending(tmp_path, brand):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"heic" + bytes(200))
    assert unreadable([str(path)]) == [
        (str(path), "HEIC, as iPhones write it: pip install 'framework[heif]', or convert to JPEG")
    ]


def test_files_that_change_while_they_are_read(photos):
    error = undecodable([str(path) for path in photos.rglob("*.jpg")], Geometry((16, 16)))
    assert "files change while they are read" in str(error)


def test_verdicts_are_remembered_until_the_file_changes(photos, monkeypatch):
    paths = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    looked = []
    real = decode._first_look
    monkeypatch.setattr(decode, "_first_look", lambda path, hashes: (looked.append(path), real(path, hashes))[1])
    assert unreadable(paths) == []
    assert sorted(looked) == paths
    looked.clear()
    assert unreadable(paths) == []
    assert looked == []
    with open(paths[3], "wb"):
        pass
    assert unreadable(paths) == [(paths[3], "empty, 0 bytes")]
    assert looked == [paths[3]]


def test_what_fails_only_when_decoded_is_named_too(damaged):
    images, bad = damaged
    with pytest.raises(BadInput) as error:
        image_rows(images.splits["train"].paths, Geometry((16, 16)), 100)
    assert all(path in str(error.value) for path in bad)

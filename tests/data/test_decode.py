"""Every kind of image file is read as Pillow reads it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from framework.core.backend import tf
from framework.core.geometry import Geometry
from framework.data.decode import pixels, plan, read_image
from framework.data.upright import bilinear, upright
from tests.data import deep

SIZE = (40, 60)


def scene(width=120, height=80):
    """A smooth image without symmetry, so that decoders agree closely and a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return Image.fromarray(
        np.stack([x / width * 255, y / height * 255, (x + y) / (width + height) * 255], axis=2).astype(np.uint8)
    )


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def with_alpha():
    image = scene().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def sixteen_bits():
    return Image.fromarray((np.asarray(scene())[..., 0].astype(np.uint16)) * 257)


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def text(keyword, value):
    info = PngInfo()
    info.add_itxt(keyword, value)
    return info


def behind_pixels(path, xmp):
    """XMP in a chunk that follows the pixels, as some programs write it."""
    scene().save(path, pnginfo=text("XML:com.adobe.xmp", xmp))
    data = Path(path).read_bytes()
    start = data.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    Path(path).write_bytes(data[:start] + data[end:last] + data[start:end] + data[last:])


FILES = {
    "plain.jpg": (lambda path: scene().save(path, quality=95), True),
    "progressive.jpg": (lambda path: scene().save(path, quality=95, progressive=True), True),
    "grey.jpg": (lambda path: scene().convert("L").save(path, quality=95), True),
    "large.jpg": (lambda path: scene(960, 640).save(path, quality=95), True),
    "huge.jpg": (lambda path: scene(2880, 1920).save(path), False),  # more than an eighth's work
    "plain.png": (lambda path: scene().save(path), True),
    "grey.png": (lambda path: scene().convert("L").save(path), True),
    "large.png": (lambda path: scene(960, 640).save(path), False),
    "cmyk.jpg": (lambda path: scene().convert("CMYK").save(path, quality=95), False),
    "palette.png": (lambda path: scene().quantize(64).save(path), False),
    "transparent_palette.png": (lambda path: scene().quantize(64).save(path, transparency=3), False),
    "alpha.png": (lambda path: with_alpha().save(path), False),
    "grey_alpha.png": (lambda path: with_alpha().convert("LA").save(path), False),
    "key.png": (lambda path: scene().save(path, transparency=(0, 0, 0)), False),
    "bits16.png": (lambda path: sixteen_bits().save(path), False),
    "bits16.tiff": (lambda path: sixteen_bits().save(path), False),
    "bilevel.png": (lambda path: scene().convert("1").save(path), False),
    "animated.gif": (
        lambda path: scene().save(path, save_all=True, append_images=[Image.new("RGB", (120, 80))]),
        False,
    ),
    "plain.webp": (lambda path: scene().save(path, quality=95), False),
    "plain.bmp": (lambda path: scene().save(path), False),
    "plain.tiff": (lambda path: scene().save(path), False),
    "png_called.jpg": (lambda path: scene().save(path, format="PNG"), True),
    **{f"turned{n}.jpg": (lambda path, n=n: scene().save(path, quality=95, exif=exif(n)), n == 1) for n in range(1, 9)},
    "turned.png": (lambda path: scene().save(path, exif=exif(6)), False),
    "turned_by_xmp.png": (lambda path: scene().save(path, pnginfo=text("XML:com.adobe.xmp", XMP % 6)), False),
    "turned_by_xmp_behind.png": (lambda path: behind_pixels(path, XMP % 6), False),
    "upright_by_xmp.png": (lambda path: scene().save(path, pnginfo=text("XML:com.adobe.xmp", XMP % 1)), False),
    "text.png": (lambda path: scene().save(path, pnginfo=text("Title", "a scene")), True),
    "turned_by_xmp.jpg": (lambda path: scene().save(path, quality=95, xmp=(XMP % 6).encode()), False),
    "upright_by_xmp.jpg": (lambda path: scene().save(path, quality=95, xmp=(XMP % 1).encode()), True),
    "turned_by_xmp.webp": (lambda path: scene().save(path, lossless=True, xmp=(XMP % 6).encode()), False),
    "turned_large.jpg": (lambda path: scene(960, 640).save(path, quality=95, exif=exif(6)), False),
    "turned_large_by_xmp.png": (
        lambda path: scene(960, 640).save(path, pnginfo=text("XML:com.adobe.xmp", XMP % 6)),
        False,
    ),
    "broken_exif.jpg": (lambda path: scene().save(path, quality=95, exif=b"Exif\0\0nonsense"), False),
}


def reference(path):
    """The rule, written plainly: upright, on white, 16 bits to 8, RGB."""
    with Image.open(path) as opened:
        opened.load()
        broken = "broken_exif" in path
        image = opened if broken else ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).astype(float) / 257).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", FILES)
def test_read_as_pillow_reads(tmp_path, name):
    write, in_graph = FILES[name]
    path = str(tmp_path / name)
    write(path)
    (reader,) = plan([path], Geometry(SIZE))
    assert (reader != 0) == in_graph
    expected = reference(path)
    if in_graph is False and not {"large", "huge"} & set(name.split(".")[0].split("_")):
        np.testing.assert_array_equal(pixels(path), expected)
    read = read_image(tf.constant(path), tf.constant(reader), Geometry(SIZE)).numpy()
    assert read.shape == (*SIZE, 3)
    assert read.dtype == np.uint8
    resized = tf.image.resize(expected, SIZE).numpy()
    difference = np.abs(read.astype(float) - resized)
    assert difference.mean() < 1.5, difference.mean()
    # whoever decodes it, the pixels are those of Pillow and NumPy alone
    np.testing.assert_array_equal(read, bilinear(upright(path, SIZE), SIZE))
    # inside a pipeline too
    dataset = tf.data.Dataset.from_tensors((path, reader)).map(
        lambda path, reader: read_image(path, reader, Geometry(SIZE))
    )
    np.testing.assert_array_equal(next(iter(dataset)).numpy(), read)


def test_resizing_is_tensorflows_to_the_bit():
    rng = np.random.default_rng(0)
    for _ in range(100):
        (height, width), size = rng.integers(1, 400, 2), tuple(rng.integers(1, 300, 2).tolist())
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        expected = tf.round(tf.image.resize(image, size)).numpy()
        np.testing.assert_array_equal(bilinear(image, size), expected)


def test_large_jpegs_are_decoded_small_but_no_less_than_twice_the_size(tmp_path):
    path = str(tmp_path / "large.jpg")
    scene(960, 640).save(path)
    assert plan([path], Geometry((40, 60)))[0] == 4  # an eighth
    assert plan([path], Geometry((41, 60)))[0] == 3
    assert plan([path], Geometry((320, 480)))[0] == 1
    assert pixels(path, (40, 60)).shape == (80, 120, 3)


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no image")
    assert plan([str(path), str(tmp_path / "missing.jpg")], Geometry(SIZE)).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"text\.jpg: not an image"):
        pixels(str(path))


def test_a_header_full_of_nonsense_is_left_to_pillow(tmp_path):
    rng = np.random.default_rng(0)
    good = tmp_path / "good.jpg"
    scene().save(good, exif=exif(3))
    data = np.frombuffer(good.read_bytes(), np.uint8)
    for _ in range(200):
        damaged = data.copy()
        damaged[rng.integers(0, 400, 8)] = rng.integers(0, 256, 8)
        (tmp_path / "damaged.jpg").write_bytes(damaged[: rng.integers(3, len(data))].tobytes())
        plan([str(tmp_path / "damaged.jpg")], Geometry(SIZE))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_no_file_is_handed_to_another_program(tmp_path, ending):
    """Pillow would give PostScript to Ghostscript, whatever the file is called."""
    file = tmp_path / f"a{ending}"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match="not an image"):
        pixels(str(file))


def test_sixteen_bits_are_scaled_by_their_whole_range_however_dark_they_are(tmp_path):
    levels = np.array([[0, 200], [30_000, 65_535]], np.uint16)
    expected = np.repeat(np.round(levels / 257).astype(np.uint8)[..., None], 3, axis=2)
    for name, dark in (("a.png", False), ("b.png", True), ("c.tif", True), ("d.pgm", False), ("e.pgm", True)):
        path, stored = str(tmp_path / name), np.minimum(levels, 255) if dark else levels
        if name.endswith("pgm"):
            Path(path).write_bytes(b"P5\n2 2\n65535\n" + stored.astype(">u2").tobytes())
        else:
            Image.fromarray(stored).save(path)
        np.testing.assert_array_equal(pixels(path), np.minimum(expected, 1) if dark else expected, name)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_of_sixteen_bits_of_colours_the_upper_byte_is_read(tmp_path, channels):
    levels = np.random.default_rng(0).integers(0, 65_536, (5, 4, channels), np.uint16)
    if channels != 3:
        levels[..., -1] = 65_535
    file = tmp_path / "a.png"
    file.write_bytes(deep.png(levels))
    colours = (levels >> 8).astype(np.uint8)[..., :3] if channels > 2 else np.repeat(levels[..., :1] >> 8, 3, axis=2)
    np.testing.assert_array_equal(pixels(str(file)), colours)
    found = []
    assert plan([str(file), str(file)], Geometry((4, 4)), found).tolist() == [0, 0]
    assert found == [str(file)] * 2

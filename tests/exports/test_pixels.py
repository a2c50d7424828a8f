"""A file has the same pixels wherever it is read: training, predict, serve, and call.py beside an export."""

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from framework.core.backend import tf
from framework.core.geometry import Geometry
from framework.data.rows import image_rows
from framework.evaluation.forward import batches
from framework.exports import decoding
from framework.exports.calling import load, script
from framework.exports.formats import Request, write
from framework.serving.decoding import Decoder
from framework.serving.limits import Limits
from tests.data import deep
from tests.data.test_decode import XMP, exif, scene
from tests.evaluation.common import CLASSES, SIZE, colour_network

MODES = ("1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16", "CMYK")
FORMATS = {
    "JPEG": {"1", "L", "RGB", "CMYK"},
    "PNG": {"1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16"},
    "WebP": {"L", "RGB", "RGBA"},
    "TIFF": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"},
    "GIF": {"1", "L", "P", "P+tRNS", "RGB", "RGBA"},
    "BMP": {"1", "L", "P", "RGB"},
    "AVIF": {"RGB", "RGBA"},
}
SIZES = {"small": (31, 23), "between": (63, 77), "large": (460, 300)}
TURNS = {"": {}} | {f"exif{number}": {"exif": exif(number)} for number in range(1, 9)} | {"xmp": {}}


def in_mode(mode, width, height):
    image = scene(width, height)
    opaque = Image.linear_gradient("L").resize(image.size)
    match mode:
        case "LA" | "RGBA":
            image = image.convert(mode)
            image.putalpha(opaque)
        case "P" | "P+tRNS":
            image = image.quantize(64)
        case "I;16":
            image = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 250)
        case _:
            image = image.convert(mode)
    return image


def made(folder, format):
    """Files of a format in every mode, turn and size that it has."""
    for mode in sorted(FORMATS[format]):
        for size, (width, height) in SIZES.items():
            for turn, how in TURNS.items():
                if turn and format in ("GIF", "BMP"):
                    continue
                extra = dict(how)
                if mode == "P+tRNS":
                    extra["transparency"] = 3
                if turn == "xmp" and format == "PNG":
                    extra["pnginfo"] = PngInfo()
                    extra["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP % 6)
                elif turn == "xmp" and format in ("JPEG", "WebP", "AVIF"):
                    extra["xmp"] = (XMP % 6).encode()
                elif turn == "xmp":
                    continue
                path = folder / f"{mode}-{size}-{turn}.{format.lower()}"
                in_mode(mode, width, height).save(path, format, **extra)
                yield str(path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What call.py beside a SavedModel defines."""
    folder = tmp_path_factory.mktemp("exported")
    file = write("saved_model", Request(colour_network(), "logits", CLASSES), folder)
    (folder / "call.py").write_text(
        script("saved_model", file, Geometry((SIZE, SIZE)), CLASSES, 3, "logits", "none", None)
    )
    return load(folder / "call.py")


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_one_rule(tmp_path, exported, format):
    paths, geometry, bad = list(made(tmp_path, format)), Geometry((SIZE, SIZE)), []
    trained = image_rows(paths, geometry, 100).images
    predicted = np.concatenate([batch.numpy() for _, batch in batches(paths, geometry, 32, bad)])
    assert not bad
    np.testing.assert_array_equal(predicted, trained)
    decoder = Decoder(geometry, Limits())
    for path, image in zip(paths, trained, strict=True):
        np.testing.assert_array_equal(exported["pixels"](path), image, path)
        with open(path, "rb") as file:
            np.testing.assert_array_equal(decoder(file.read(), path), image, path)
    decoder.close()


GEOMETRIES = [
    Geometry((20, 32), "crop"),
    Geometry((32, 20), "pad", fill=114),
    Geometry((24, 24), "stretch", channels=1),
    Geometry((24, 25), "pad", channels=1),
]


def odd(folder):
    """Files that are long, tall, large, turned, and read by each of the decoders."""
    for format in ("JPEG", "PNG", "WebP"):
        for width, height in ((31, 23), (9, 200), (640, 41), (460, 300), (201, 333)):
            for turn in ("", "exif3", "exif6"):
                for mode in sorted(FORMATS[format] & {"RGB", "L", "RGBA"}):
                    path = folder / f"{mode}-{width}x{height}-{turn}.{format.lower()}"
                    in_mode(mode, width, height).save(path, format, **TURNS[turn])
                    yield str(path)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda one: one.key)
def test_one_rule_whatever_becomes_of_the_aspect(tmp_path, exported, geometry):
    paths, bad = list(odd(tmp_path)), []
    trained = image_rows(paths, geometry, 100).images
    assert trained.shape[1:] == geometry.shape
    predicted = np.concatenate([batch.numpy() for _, batch in batches(paths, geometry, 32, bad)])
    assert not bad
    np.testing.assert_array_equal(predicted, trained)
    text = script("saved_model", exported["HERE"] / "saved_model", geometry, CLASSES, 3, "logits", "none", None)
    (exported["HERE"] / "other.py").write_text(text)
    called, decoder = load(exported["HERE"] / "other.py"), Decoder(geometry, Limits())
    in_graph = tf.function(lambda data: decoding.decoded(data, geometry), [tf.TensorSpec((), tf.string)])
    for path, image in zip(paths, trained, strict=True):
        np.testing.assert_array_equal(called["pixels"](path), image, path)
        with open(path, "rb") as file:
            data = file.read()
        np.testing.assert_array_equal(decoder(data, path), image, path)
        if not path.endswith("webp") or ("exif" not in path and "RGBA" not in path):
            assert np.abs(in_graph(tf.constant(data)).numpy() - image).max() <= 1, path
    decoder.close()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "GIF", "BMP"])
def test_a_saved_model_reads_bytes_alike_but_for_what_it_says(tmp_path, exported, format):
    paths, geometry = list(made(tmp_path, format)), Geometry((SIZE, SIZE))
    read = tf.function(lambda data: decoding.decoded(data, geometry), [tf.TensorSpec((), tf.string)])
    for path in paths:
        clear = "RGBA" in path or "tRNS" in path
        excused = path.endswith(f"xmp.{format.lower()}") or (clear and format in ("GIF", "WebP"))
        if format == "WebP" and "exif" in path:
            excused = True
        if format == "BMP":
            excused = "/RGB-" not in path
        if not excused:
            with open(path, "rb") as file:
                found = read(tf.constant(file.read())).numpy()
            assert np.abs(found - exported["pixels"](path)).max() <= 1, path


def test_the_script_says_what_bytes_are_read_otherwise(exported):
    said = " ".join(exported["answer_to_bytes"].__doc__.split())
    assert decoding.LIMITS in said


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_read_by_one_rule(tmp_path, exported, channels):
    """What a pipeline, call.py, serve and the graph of a SavedModel make of them, to the bit."""
    levels = np.random.default_rng(0).integers(0, 65_536, (SIZE, SIZE, channels), np.uint16)
    if channels in (2, 4):
        levels[..., -1] = 65_535
    file, geometry = tmp_path / "a.png", Geometry((SIZE, SIZE))
    file.write_bytes(deep.png(levels))
    (trained,) = image_rows([str(file)], geometry, 100).images
    np.testing.assert_array_equal(exported["pixels"](str(file)), trained)
    decoder = Decoder(geometry, Limits())
    np.testing.assert_array_equal(decoder(file.read_bytes(), "a"), trained)
    decoder.close()
    np.testing.assert_array_equal(decoding.decoded(tf.constant(file.read_bytes()), geometry).numpy(), trained)

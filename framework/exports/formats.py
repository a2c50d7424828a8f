"""The formats: how each is written.

Every file takes raw RGB images, 0-255, of the size that the classifier was trained on: preprocessing is inside.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np

from framework.core.backend import hushed, keras, tf
from framework.core.errors import BadInput, Problem
from framework.core.keras_private import layers_within
from framework.exports.answering import INPUT, Answer
from framework.exports.decoding import LIMITS, decoded

Format = Literal["keras", "saved_model", "litert", "onnx"]
Quantize = Literal["none", "dynamic", "int8"]

NAMES: dict[Format, str] = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "litert": "model.tflite",
    "onnx": "model.onnx",
}
LABELS = "labels.txt"
# the converter leaves smaller kernels in float: MLIR's quantisation passes, minimum_elements_for_weights
SMALLEST: dict[Quantize, int] = {"dynamic": 1024, "int8": 0}
PACKAGES: dict[Format, tuple[str, ...]] = {"litert": ("ai_edge_litert",), "onnx": ("tf2onnx", "onnx", "onnxruntime")}


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Attributes:
        model: from raw images, float32 0-255 (batch, height, width, 3), to the answer.
        answer: what that is called.
        classes: names, in the order of its columns.
        quantize: ``none``; ``dynamic``: weights of 8 bits; ``int8``: all arithmetic in 8 bits, images go in and
            answers come out as uint8.
        samples: images to calibrate ``int8`` with, uint8 (images, height, width, 3).
    """

    model: keras.Model
    answer: Answer
    classes: tuple[str, ...]
    quantize: Quantize = "none"
    samples: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.model.input_shape[1:3]


def check(format: Format, quantize: Quantize) -> None:
    """See whether a format can be written here, before anything heavy is loaded.

    Raises:
        BadInput: it has no such quantisation, or its packages are missing.
    """
    if quantize != "none" and format != "litert":
        what = f"format={format} is not quantised here"
        raise BadInput(Problem(what, f"command line: quantize={quantize}", "format=litert, or quantize=none"))
    missing = [name for name in PACKAGES.get(format, ()) if find_spec(name) is None]
    if missing:
        what = f"format={format} needs {' and '.join(missing)}"
        raise BadInput(Problem(what, f"command line: format={format}", f"pip install 'framework[{format}]'"))


def write(format: Format, request: Request, folder: Path) -> Path:
    """Write the model and its labels into a folder; the file, for SavedModel the folder, that holds the model.

    Raises:
        BadInput: the format can't express the model.
    """
    path = folder / NAMES[format]
    try:
        with hushed():
            _WRITERS[format](request, path)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        what = f"this model can't be written as {format}: {type(error).__name__}: {reason[0][:200]}"
        raise BadInput(Problem(what, f"command line: format={format}", "another format")) from error
    (folder / LABELS).write_text("".join(f"{name}\n" for name in request.classes), encoding="utf-8")
    return path


def _write_keras(request: Request, path: Path) -> None:
    request.model.save(path)


def _write_saved_model(request: Request, path: Path) -> None:
    """Two signatures: ``serving_default`` takes pixels, ``from_bytes`` the bytes of image files, as far as
    ``decoding.LIMITS`` says."""
    model, answer, size = request.model, request.answer, request.size

    def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {answer: model(image, training=False)}

    def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        kind = tf.TensorSpec((*size, 3), tf.float32)
        images = tf.map_fn(lambda data: decoded(data, size), image_bytes, fn_output_signature=kind)
        return {answer: model(images, training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, *size, 3), tf.float32, name=INPUT)
    archive.add_endpoint("serving_default", serving_default, input_signature=[pixels])
    texts = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("from_bytes", from_bytes, input_signature=[texts])
    archive.write_out(str(path), verbose=False)
    # where TensorFlow Serving keeps what belongs to a model and is no part of its graph
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / LABELS).write_text("".join(f"{name}\n" for name in request.classes), encoding="utf-8")


def _write_litert(request: Request, path: Path) -> None:
    """One image at a time, as a phone asks; labels travel in the file as a ZIP's entry, where LiteRT's tools look."""
    model, answer, samples = request.model, request.answer, request.samples
    one = tf.TensorSpec((1, *request.size, 3), tf.float32, name=INPUT)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", lambda image: {answer: model(image, training=False)}, input_signature=[one])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if request.quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if request.quantize == "int8" and samples is not None:
            converter.representative_dataset = lambda: ([sample[None].astype(np.float32)] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as attached:
        attached.writestr(LABELS, "".join(f"{name}\n" for name in request.classes))


def _write_onnx(request: Request, path: Path) -> None:
    import onnx

    model = _for_onnx(request.model)
    # Keras asks of a model that it was called once
    model(np.zeros((1, *request.size, 3), np.float32))
    with mock.patch.object(tf.nn, "gelu", _gelu):
        model.export(str(path), format="onnx", verbose=False)
    written = onnx.load(str(path))
    about = {"classes": json.dumps(list(request.classes)), "answer": request.answer}
    onnx.helper.set_model_props(written, about)
    onnx.save(written, str(path))


def _for_onnx(model: keras.Model) -> keras.Model:
    """A copy of layers that the converter knows.

    A normalisation's mean and variance would become inputs of the graph. A convolution in groups is a call of XLA there;
    with a group for each channel, as in ConvNeXt, it is a depthwise one. A tensor that a layer keeps beside its weights,
    as the numbers of its positions, would become an input, too.
    """

    def copied(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer
        return _substitute(layer) or type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=copied)
    for layer in model.layers:
        twin, weights = copy.get_layer(layer.name), layer.get_weights()
        if type(twin) is keras.layers.DepthwiseConv2D is not type(layer):
            weights[0] = np.swapaxes(weights[0], 2, 3)
        if twin.weights:
            twin.set_weights(weights)
    for layer in layers_within(copy):
        for name, kept in list(vars(layer).items()):
            if isinstance(kept, tf.Tensor):
                setattr(layer, name, np.asarray(kept))
    return copy


def _gelu(features: tf.Tensor, approximate: bool = False, name: str | None = None) -> tf.Tensor:
    """As ``tf.nn.gelu``, whose erfc ONNX has not."""
    if approximate:
        return 0.5 * features * (1 + tf.tanh((2 / math.pi) ** 0.5 * (features + 0.044715 * features**3)))
    return 0.5 * features * (1 + tf.math.erf(features * 0.5**0.5))


def _substitute(layer: Any) -> keras.Layer | None:
    if isinstance(layer, keras.layers.Normalization):
        scale = 1 / np.maximum(np.sqrt(np.ravel(layer.variance)), keras.config.epsilon())
        offset = -np.ravel(layer.mean) * scale
        return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)
    if isinstance(layer, keras.layers.Conv2D) and 1 < layer.groups == layer.filters == layer.input.shape[-1]:
        return keras.layers.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            activation=layer.activation,
            use_bias=layer.use_bias,
            name=layer.name,
        )
    return None


_WRITERS: Mapping[Format, Callable[[Request, Path], None]] = {
    "keras": _write_keras,
    "saved_model": _write_saved_model,
    "litert": _write_litert,
    "onnx": _write_onnx,
}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def about(format: Format, request: Request, path: Path, more: Mapping[str, Any]) -> str:
    """``export.json``: what the file takes and gives, and what was measured of it."""
    small = request.quantize == "int8"
    into = f"{'uint8' if small else 'float32'} RGB 0-255, not scaled, (batch, height, width, 3)"
    told = {
        "format": format,
        "file": path.name,
        "bytes": size_of(path),
        "quantize": request.quantize,
        "input": {"what": into, "batch": 1 if format == "litert" else None, "size": list(request.size)},
        "output": {"what": request.answer, "classes": list(request.classes)},
        **({"from_bytes": LIMITS} if format == "saved_model" else {}),
        **more,
    }
    text = io.StringIO()
    json.dump(told, text, indent=2, ensure_ascii=False)
    return text.getvalue() + "\n"

"""Backbones of Keras Hub as a base: a package that only this recipe needs, imported when the model is built."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.registry import base
from framework.core.schema import PathOrName


@base("keras_hub", minimum_size=32)
def keras_hub(images: keras.KerasTensor, *, preset: PathOrName | None) -> keras.KerasTensor:
    """A backbone of Keras Hub by preset, behind the scaling that its own converter does (https://keras.io/keras_hub).

    Raises:
        BadInput: Keras Hub is not installed, or the preset is no backbone that ends in feature maps.
    """
    if find_spec("keras_hub") is None:
        right = "pip install 'framework[keras-hub]'"
        raise BadInput(Problem("base 'keras_hub' needs the package keras-hub, which is not installed", "model", right))
    backbone, scale, offset = _small(images) if preset is None else _preset(preset, images)
    scaled = keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess_rescale")(images)
    # call, not __call__: the layers are applied one by one and stay layers of the whole model
    maps = backbone.call(scaled)
    if len(getattr(maps, "shape", ())) != 4:
        # Keras Hub 0.32 saves its vision transformers, and can't load what it saved
        what = f"preset {preset} gives no feature maps"
        raise BadInput(Problem(what, "model.preset", "a convolutional one, such as resnet_18_imagenet"))
    return maps


def _preset(preset: str, images: keras.KerasTensor) -> tuple[keras.Model, Any, Any]:
    """Backbone, scale and offset of a preset, for images of this size."""
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, image_shape=tuple(images.shape[1:]))
    except (ValueError, TypeError, OSError) as error:
        what = f"preset {preset} can't be used: {str(error).strip().splitlines()[0]}"
        raise BadInput(Problem(what, "model.preset", "the name of a preset for images, or its folder")) from error
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except (ValueError, OSError):
        return backbone, 1.0, 0.0
    return backbone, _or(converter.scale, 1.0), _or(converter.offset, 0.0)


def _or(value: Any, otherwise: float) -> Any:
    return otherwise if value is None else value


def _small(images: keras.KerasTensor) -> tuple[keras.Model, float, float]:
    """A ResNet of two blocks with random weights."""
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=tuple(images.shape[1:]),
    )
    return backbone, 1 / 255, 0.0

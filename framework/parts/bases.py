"""Bases: every network of ``keras.applications``, and a small convolutional one built from config.

A base takes raw RGB images, float32 0-255 of shape (batch, height, width, 3), and gives feature maps of shape
(batch, rows, columns, channels). What prepares the images for it comes first: operations, or layers whose names
start with ``preprocess``. The graph is flat: the layers of the network are layers of the whole model.

Source: https://keras.io/api/applications/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.outputs import MAPS, Output
from framework.core.registry import base
from framework.core.schema import Count, Positive, Share, show
from framework.parts.blocks import Activation, Normalization, drop, normalize

Mode = Literal["tf", "tf128", "torch", "clip", "caffe", "efficientnet"]
Size = tuple[int, int]

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
BLUE_GREEN_RED = (103.939, 116.779, 123.68)
PREPROCESS = "preprocess"


def preprocess(images: keras.KerasTensor, mode: Mode) -> keras.KerasTensor:
    """Images of 0-255 as the base was trained on them, in steps that a saved model keeps.

    - ``tf``: from -1 to 1; ``tf128``: the same, by 128 in place of 127.5
    - ``torch``: less ImageNet's mean, by its deviation, for each channel
    - ``clip``: the same with the mean and deviation that CLIP was trained with
    - ``caffe``: less ImageNet's mean, in the order blue, green, red
    - ``efficientnet``: see below

    Float32 at any precision, since half precision has no fractions near 255.
    Layers, so that the model can be saved in either format; only ``caffe`` needs an operation, which .h5 can't hold.
    Source: ``keras.applications.imagenet_utils.preprocess_input``.
    """

    def rescale(scale: Any, offset: Any) -> keras.KerasTensor:
        return keras.layers.Rescaling(scale, offset, dtype="float32", name=f"{PREPROCESS}_rescale")(images)

    if mode == "caffe":
        images = images[..., ::-1]
        return rescale(1, [-mean for mean in BLUE_GREEN_RED])
    if mode == "tf":
        return rescale(1 / 127.5, -1)
    if mode == "tf128":
        return rescale(1 / 128, -1)
    if mode in ("torch", "clip"):
        means, deviations = (MEAN, DEVIATION) if mode == "torch" else (CLIP_MEAN, CLIP_DEVIATION)
        offsets = [-mean / deviation for mean, deviation in zip(means, deviations, strict=True)]
        return rescale([1 / (255 * deviation) for deviation in deviations], offsets)
    # EfficientNet normalizes inside, by the root of the deviation where it should be the deviation. Keras makes up
    # for that with a second division behind, but only in a graph that it builds with weights="imagenet". Moved in
    # front of its x / 255 - mean, that division reads as here, and the graph is the same for any weights.
    # https://github.com/tensorflow/tensorflow/issues/49930
    roots = [math.sqrt(deviation) for deviation in DEVIATION]
    offsets = [255 * mean * (1 - 1 / root) for mean, root in zip(MEAN, roots, strict=True)]
    return rescale([1 / root for root in roots], offsets)


def application(name: str) -> Callable[..., keras.Model]:
    """The constructor in ``keras.applications`` whose name in lower case is ``name``."""
    # the modules there have lower-case names themselves
    constructor = next(found for found in dir(keras.applications) if found.lower() == name != found)
    return getattr(keras.applications, constructor)


def feature_maps(name: str, preprocessed: keras.KerasTensor, **parameters: Any) -> keras.KerasTensor:
    """What the network without its top makes of ``preprocessed``; its weights are random."""
    return application(name)(include_top=False, weights=None, input_tensor=preprocessed, **parameters).output


def gives_maps(size: Size, parameters: Mapping[str, Any]) -> Output:
    """What every base here gives."""
    return MAPS


class Outline(NamedTuple):
    """What a file of a base's weights shows, whatever its format, known without building the base.

    Attributes:
        numbers: how many there are in all weights, None where that is not said.
        shapes: some that are among those of its weights.
    """

    numbers: int | None
    shapes: tuple[tuple[int, ...], ...] = ()


class _Family(NamedTuple):
    """Networks without parameters of their own, and the file that Keras publishes of each, without top."""

    source: str
    mode: Mode
    files: Mapping[str, str]
    minimum_size: int = 32
    fixed: Mapping[str, Any] = {}


_NOTOP = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_OWN_PREPROCESSING = {"include_preprocessing": False}

_FAMILIES = (
    _Family("Chollet, 2017, https://arxiv.org/abs/1610.02357", "tf", {"Xception": _NOTOP.format("xception")}, 71),
    _Family(
        "Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556",
        "caffe",
        {f"VGG{depth}": _NOTOP.format(f"vgg{depth}") for depth in (16, 19)},
    ),
    _Family(
        "He et al., 2016, https://arxiv.org/abs/1512.03385",
        "caffe",
        {f"ResNet{depth}": _NOTOP.format(f"resnet{depth}") for depth in (50, 101, 152)},
    ),
    _Family(
        "He et al., 2016, https://arxiv.org/abs/1603.05027",
        "tf",
        {f"ResNet{depth}V2": _NOTOP.format(f"resnet{depth}v2") for depth in (50, 101, 152)},
    ),
    _Family(
        "Szegedy et al., 2016, https://arxiv.org/abs/1512.00567",
        "tf",
        {"InceptionV3": _NOTOP.format("inception_v3")},
        75,
    ),
    _Family(
        "Szegedy et al., 2017, https://arxiv.org/abs/1602.07261",
        "tf",
        {"InceptionResNetV2": _NOTOP.format("inception_resnet_v2")},
        75,
    ),
    _Family(
        "Huang et al., 2017, https://arxiv.org/abs/1608.06993",
        "torch",
        {f"DenseNet{depth}": _NOTOP.format(f"densenet{depth}") for depth in (121, 169, 201)},
    ),
    _Family(
        "Zoph et al., 2018, https://arxiv.org/abs/1707.07012",
        "tf",
        {f"NASNet{size}": f"nasnet_{size.lower()}_no_top.h5" for size in ("Mobile", "Large")},
    ),
    _Family(
        "Tan and Le, 2019, https://arxiv.org/abs/1905.11946",
        "efficientnet",
        {f"EfficientNetB{size}": f"efficientnetb{size}_notop.h5" for size in range(8)},
    ),
    _Family(
        "Tan and Le, 2021, https://arxiv.org/abs/2104.00298",
        "torch",
        {f"EfficientNetV2B{size}": f"efficientnetv2-b{size}_notop.h5" for size in range(4)},
        fixed=_OWN_PREPROCESSING,
    ),
    _Family(
        "Tan and Le, 2021, https://arxiv.org/abs/2104.00298",
        "tf128",
        {f"EfficientNetV2{size}": f"efficientnetv2-{size.lower()}_notop.h5" for size in ("S", "M", "L")},
        fixed=_OWN_PREPROCESSING,
    ),
    _Family(
        "Liu et al., 2022, https://arxiv.org/abs/2201.03545",
        "torch",
        {
            f"ConvNeXt{size}": f"convnext_{size.lower()}_notop.h5"
            for size in ("Tiny", "Small", "Base", "Large", "XLarge")
        },
        fixed=_OWN_PREPROCESSING,
    ),
)


# Numbers in the weights of each, without top.
_NUMBERS = {
    "Xception": 20_861_480,
    "VGG16": 14_714_688,
    "VGG19": 20_024_384,
    "ResNet50": 23_587_712,
    "ResNet101": 42_658_176,
    "ResNet152": 58_370_944,
    "ResNet50V2": 23_564_800,
    "ResNet101V2": 42_626_560,
    "ResNet152V2": 58_331_648,
    "InceptionV3": 21_802_784,
    "InceptionResNetV2": 54_336_736,
    "DenseNet121": 7_037_504,
    "DenseNet169": 12_642_880,
    "DenseNet201": 18_321_984,
    "NASNetMobile": 4_269_716,
    "NASNetLarge": 84_916_818,
    "EfficientNetB0": 4_049_571,
    "EfficientNetB1": 6_575_239,
    "EfficientNetB2": 7_768_569,
    "EfficientNetB3": 10_783_535,
    "EfficientNetB4": 17_673_823,
    "EfficientNetB5": 28_513_527,
    "EfficientNetB6": 40_960_143,
    "EfficientNetB7": 64_097_687,
    "EfficientNetV2B0": 5_919_312,
    "EfficientNetV2B1": 6_931_124,
    "EfficientNetV2B2": 8_769_374,
    "EfficientNetV2B3": 12_930_622,
    "EfficientNetV2S": 20_331_360,
    "EfficientNetV2M": 53_150_388,
    "EfficientNetV2L": 117_746_848,
    "ConvNeXtTiny": 27_820_128,
    "ConvNeXtSmall": 49_454_688,
    "ConvNeXtBase": 87_566_464,
    "ConvNeXtLarge": 196_230_336,
    "ConvNeXtXLarge": 348_147_968,
}


def _register(family: _Family, constructor: str, file: str) -> None:
    """Register one network of a family under its name in lower case."""
    name = constructor.lower()

    def build(images: keras.KerasTensor) -> keras.KerasTensor:
        return feature_maps(name, preprocess(images, family.mode), **family.fixed)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{constructor} ({family.source})."
    outline = Outline(_NUMBERS[constructor])
    base(
        name,
        minimum_size=family.minimum_size,
        imagenet=lambda size, parameters: file,
        outline=lambda parameters: outline,
        gives=gives_maps,
    )(build)


for _family in _FAMILIES:
    for _constructor, _file in _family.files.items():
        _register(_family, _constructor, _file)


def _published(base: str, parameters: Mapping[str, Any], **choices: tuple[Any, ...]) -> None:
    """Raise BadInput where a parameter is none of the values that Keras publishes ImageNet weights for."""
    problems = [
        Problem(
            f"'{base}' has no ImageNet weights for {key}={show(parameters[key])}",
            f"model.{key}",
            f"model.{key} one of {', '.join(map(show, values))}, or model.weights=null",
        )
        for key, values in choices.items()
        if parameters[key] not in values
    ]
    if problems:
        raise BadInput(problems)


def _trained_side(size: Size, sides: tuple[int, ...]) -> int:
    """The side of the images that the published weights were trained on: ours where it is one, else 224."""
    return size[0] if size[0] == size[1] and size[0] in sides else 224


def _mobilenet_file(size: Size, parameters: Mapping[str, Any]) -> str:
    _published("mobilenet", parameters, alpha=(0.25, 0.5, 0.75, 1.0), depth_multiplier=(1,))
    width = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}[parameters["alpha"]]
    return f"mobilenet_{width}_{_trained_side(size, (128, 160, 192, 224))}_tf_no_top.h5"


def _ends(first: int, last_in: int, last_out: int) -> Outline:
    """Of a MobileNet: its first kernel and its last, by their channels."""
    return Outline(None, ((3, 3, 3, first), (1, 1, last_in, last_out)))


def _eights(channels: float) -> int:
    """Channels as MobileNetV2 and V3 round them: to eights, by no more than a tenth down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _mobilenet_outline(parameters: Mapping[str, Any]) -> Outline:
    width = int(1024 * parameters["alpha"])
    return _ends(int(32 * parameters["alpha"]), width * parameters["depth_multiplier"], width)


@base("mobilenet", minimum_size=32, imagenet=_mobilenet_file, outline=_mobilenet_outline, gives=gives_maps)
def mobilenet(images: keras.KerasTensor, *, alpha: Positive, depth_multiplier: Count) -> keras.KerasTensor:
    """MobileNet (Howard et al., 2017, https://arxiv.org/abs/1704.04861)."""
    return feature_maps("mobilenet", preprocess(images, "tf"), alpha=alpha, depth_multiplier=depth_multiplier)


def _mobilenetv2_file(size: Size, parameters: Mapping[str, Any]) -> str:
    _published("mobilenetv2", parameters, alpha=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4))
    side = _trained_side(size, (96, 128, 160, 192, 224))
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(parameters['alpha'])}_{side}_no_top.h5"


def _mobilenetv2_outline(parameters: Mapping[str, Any]) -> Outline:
    alpha = parameters["alpha"]
    return _ends(_eights(32 * alpha), _eights(int(320 * alpha)), _eights(1280 * max(alpha, 1)))


@base("mobilenetv2", minimum_size=32, imagenet=_mobilenetv2_file, outline=_mobilenetv2_outline, gives=gives_maps)
def mobilenetv2(images: keras.KerasTensor, *, alpha: Positive) -> keras.KerasTensor:
    """MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381)."""
    return feature_maps("mobilenetv2", preprocess(images, "tf"), alpha=alpha)


def _mobilenetv3_file(kind: str, parameters: Mapping[str, Any]) -> str:
    minimalistic = parameters["minimalistic"]
    _published(f"mobilenetv3{kind}", parameters, alpha=(1.0,) if minimalistic else (0.75, 1.0))
    variant = f"{kind}_minimalistic" if minimalistic else kind
    return f"weights_mobilenet_v3_{variant}_224_{float(parameters['alpha'])}_float_no_top_v2.h5"


def _mobilenetv3_outline(channels: int, parameters: Mapping[str, Any]) -> Outline:
    last = _eights(channels * parameters["alpha"])
    return _ends(16, last, _eights(6 * last))


@base(
    "mobilenetv3small",
    minimum_size=32,
    imagenet=lambda size, parameters: _mobilenetv3_file("small", parameters),
    outline=lambda parameters: _mobilenetv3_outline(96, parameters),
    gives=gives_maps,
)
def mobilenetv3small(images: keras.KerasTensor, *, alpha: Positive, minimalistic: bool) -> keras.KerasTensor:
    """MobileNetV3Small (Howard et al., 2019, https://arxiv.org/abs/1905.02244)."""
    preprocessed = preprocess(images, "tf")
    return feature_maps("mobilenetv3small", preprocessed, alpha=alpha, minimalistic=minimalistic, **_OWN_PREPROCESSING)


@base(
    "mobilenetv3large",
    minimum_size=32,
    imagenet=lambda size, parameters: _mobilenetv3_file("large", parameters),
    outline=lambda parameters: _mobilenetv3_outline(160, parameters),
    gives=gives_maps,
)
def mobilenetv3large(images: keras.KerasTensor, *, alpha: Positive, minimalistic: bool) -> keras.KerasTensor:
    """MobileNetV3Large (Howard et al., 2019, https://arxiv.org/abs/1905.02244)."""
    preprocessed = preprocess(images, "tf")
    return feature_maps("mobilenetv3large", preprocessed, alpha=alpha, minimalistic=minimalistic, **_OWN_PREPROCESSING)


def _cnn_outline(parameters: Mapping[str, Any]) -> Outline:
    side, widths = parameters["kernel"], parameters["filters"]
    ends = zip([3, *widths], widths, strict=False)
    return Outline(None, tuple((side, side, before, after) for before, after in ends))


@base("cnn", minimum_size=8, outline=_cnn_outline, gives=gives_maps)
def cnn(
    images: keras.KerasTensor,
    *,
    filters: list[Count],
    convolutions: Count,
    kernel: Count,
    activation: Activation,
    normalization: Normalization,
    pooling: Literal["max", "avg"],
    dropout: Share,
) -> keras.KerasTensor:
    """A small convolutional network: for each of ``filters`` a block that halves the height and width.

    A block is ``convolutions`` times convolution, normalisation and activation, then pooling and dropout.
    """
    pool = {"max": keras.layers.MaxPooling2D, "avg": keras.layers.AveragePooling2D}[pooling]
    x = preprocess(images, "tf")
    for block, width in enumerate(filters, start=1):
        for index in range(1, convolutions + 1):
            # a normalisation has a bias of its own
            bias = normalization == "none"
            x = keras.layers.Conv2D(width, kernel, padding="same", use_bias=bias, name=f"block{block}_conv{index}")(x)
            x = normalize(x, normalization, f"block{block}_norm{index}")
            x = keras.layers.Activation(activation, name=f"block{block}_{activation}{index}")(x)
        x = pool(2, padding="same", name=f"block{block}_pool")(x)
        x = drop(x, dropout, f"block{block}_dropout")
    return x

"""Bases of Keras Hub, https://keras.io/keras_hub: vision transformers, image towers, and convolutional networks by preset.

Each is one layer, ``backbone``, of the whole model, with what prepares the images before it. A vision transformer's sizes
come from config, in Keras Hub's own words, so that it is built without any file; a convolutional network's architecture
is what its preset says. Weights are read in ``model.hub_weights``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.keras_hub_private import load_hub
from framework.core.outputs import VECTOR, Output
from framework.core.registry import base
from framework.core.schema import Count, Depth, PathOrName, Share, Whole, show
from framework.parts import presets
from framework.parts.bases import PREPROCESS, Size, gives_maps, preprocess
from framework.parts.presets import Backbone

VIT = Backbone("ViTBackbone", "vit", model_types=("vit",))
DEIT = Backbone("DeiTBackbone", "deit", model_types=("deit",))
SWIN = Backbone("SwinTransformerBackbone", "swin_transformer", model_types=("swin",))
DINOV2 = Backbone("DINOV2Backbone", "dinov2", model_types=("dinov2", "dinov2_with_registers"))
DINOV3 = Backbone("DINOV3Backbone", "dinov3", model_types=("dinov3_vit",))
SIGLIP = Backbone("SigLIPVisionEncoder", "siglip", whole="SigLIPBackbone")
CLIP = Backbone("CLIPVisionEncoder", "clip", whole="CLIPBackbone")


def _called(network: keras.Model, images: keras.KerasTensor) -> Any:
    """What a network of Keras Hub gives, called as one layer; some name their input."""
    names = list(network.input) if isinstance(network.input, dict) else []
    return network({names[0]: images} if names else images)


def _built(backbone: Backbone, images: keras.KerasTensor, **arguments: Any) -> keras.KerasTensor:
    kind = getattr(load_hub().models, backbone.kind)
    return _called(kind(image_shape=tuple(images.shape[1:]), name=presets.LAYER, **arguments), images)


def _grid(size: Size, side: int, of: str) -> tuple[int, int]:
    """Rows and columns of patches.

    Raises:
        BadInput: height or width is no multiple of the patch's side.
    """
    if any(length % side for length in size):
        near = [max(1, round(length / side)) * side for length in size]
        what = f"data.image_size={show(list(size))}: base '{of}' takes multiples of {side} pixels, its patch's side"
        right = f"data.image_size={near[0] if near[0] == near[1] else show(near)}"
        raise BadInput(Problem(what, "data.image_size", right))
    return size[0] // side, size[1] // side


def _gives_tokens(name: str, before: Callable[[Mapping[str, Any]], int], square: bool = False) -> Callable[..., Output]:
    """What a vision transformer with a class token gives; ``before`` says how many tokens come before its patches."""

    def gives(size: Size, parameters: Mapping[str, Any]) -> Output:
        if square:
            _square(size, name)
        grid = _grid(size, parameters["patch_size"], name)
        return Output("tokens", grid, before(parameters), class_token=True)

    return gives


def _square(size: Size, name: str) -> None:
    if size[0] != size[1]:
        what = f"data.image_size={show(list(size))}: base '{name}' takes square images only"
        raise BadInput(Problem(what, "data.image_size", f"data.image_size={min(size)}"))


@base("vit", minimum_size=1, gives=_gives_tokens("vit", lambda parameters: 1), backbone=VIT)
def vit(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    mlp_dim: Count,
    dropout_rate: Share,
) -> keras.KerasTensor:
    """Vision Transformer (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929): (batch, 1 + patches, channels)."""
    return _built(
        VIT,
        preprocess(images, "tf"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        mlp_dim=mlp_dim,
        dropout_rate=dropout_rate,
    )


@base("deit", minimum_size=1, gives=_gives_tokens("deit", lambda parameters: 2), backbone=DEIT)
def deit(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    intermediate_dim: Count,
    dropout_rate: Share,
) -> keras.KerasTensor:
    """DeiT, distilled (Touvron et al., 2021, https://arxiv.org/abs/2012.12877): (batch, 2 + patches, channels).

    Its second token is that of the distillation.
    """
    return _built(
        DEIT,
        preprocess(images, "torch"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        dropout_rate=dropout_rate,
    )


def _gives_swin(size: Size, parameters: Mapping[str, Any]) -> Output:
    """The last stage's patches, a side of which is a patch's doubled by each stage after the first.

    Raises:
        BadInput: a side is no multiple of that, or the last stage's map is smaller than a window.
    """
    side, window = parameters["patch_size"] * 2 ** (len(parameters["depths"]) - 1), parameters["window_size"]
    grid = _grid(size, side, "swin")
    if min(grid) < window:
        what = f"data.image_size={show(list(size))} is too small for windows of {window} patches"
        raise BadInput(Problem(what, "data.image_size", f"data.image_size={side * window}"))
    return Output("tokens", grid)


@base("swin", minimum_size=1, gives=_gives_swin, backbone=SWIN)
def swin(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    embed_dim: Count,
    depths: list[Count],
    num_heads: list[Count],
    window_size: Count,
    drop_path: Share,
) -> keras.KerasTensor:
    """Swin Transformer (Liu et al., 2021, https://arxiv.org/abs/2103.14030): (batch, patches, channels)."""
    return _built(
        SWIN,
        preprocess(images, "torch"),
        patch_size=patch_size,
        embed_dim=embed_dim,
        depths=tuple(depths),
        num_heads=tuple(num_heads),
        window_size=window_size,
        drop_path=drop_path,
    )


def _with_registers(parameters: Mapping[str, Any]) -> int:
    return 1 + parameters["num_register_tokens"]


@base("dinov2", minimum_size=1, gives=_gives_tokens("dinov2", _with_registers, square=True), backbone=DINOV2)
def dinov2(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    intermediate_dim: Count,
    use_swiglu_ffn: bool,
    num_register_tokens: Whole,
    drop_path_rate: Share,
) -> keras.KerasTensor:
    """DINOv2 (Oquab et al., 2023, https://arxiv.org/abs/2304.07193): (batch, 1 + registers + patches, channels).

    Its positions, learned at 518 pixels, are interpolated to any other size when the weights are read.
    """
    return _built(
        DINOV2,
        preprocess(images, "torch"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        use_swiglu_ffn=use_swiglu_ffn,
        num_register_tokens=num_register_tokens,
        drop_path_rate=drop_path_rate,
        # positions of our own size: interpolated once, when weights are read, and saved as they are trained
        position_embedding_shape=tuple(images.shape[1:]),
        # as the two kinds were trained
        antialias_in_interpolation=num_register_tokens > 0,
    )


@base("dinov3", minimum_size=1, gives=_gives_tokens("dinov3", _with_registers, square=True), backbone=DINOV3)
def dinov3(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    intermediate_dim: Count,
    hidden_activation: Literal["gelu", "silu"],
    use_gated_mlp: bool,
    use_query_bias: bool,
    use_key_bias: bool,
    use_value_bias: bool,
    num_register_tokens: Whole,
    drop_path_rate: Share,
) -> keras.KerasTensor:
    """DINOv3 (Siméoni et al., 2025, https://arxiv.org/abs/2508.10104): (batch, 1 + registers + patches, channels).

    Its positions are rotations, which hold at any size; of other than square images Keras Hub 0.32 counts the patches
    wrongly.
    """
    return _built(
        DINOV3,
        preprocess(images, "torch"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        hidden_activation=hidden_activation,
        use_gated_mlp=use_gated_mlp,
        use_query_bias=use_query_bias,
        use_key_bias=use_key_bias,
        use_value_bias=use_value_bias,
        num_register_tokens=num_register_tokens,
        drop_path_rate=drop_path_rate,
    )


def _gives_vector(size: Size, parameters: Mapping[str, Any]) -> Output:
    _square(size, "siglip")
    _grid(size, parameters["patch_size"], "siglip")
    return VECTOR


@base("siglip", minimum_size=1, gives=_gives_vector, backbone=SIGLIP)
def siglip(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    intermediate_dim: Count,
) -> keras.KerasTensor:
    """The image tower of SigLIP (Zhai et al., 2023, https://arxiv.org/abs/2303.15343) and SigLIP 2: (batch, channels).

    It ends in attention pooling of its own.
    """
    return _built(
        SIGLIP,
        preprocess(images, "tf"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
    )


@base("clip", minimum_size=1, gives=_gives_tokens("clip", lambda parameters: 1, square=True), backbone=CLIP)
def clip(
    images: keras.KerasTensor,
    *,
    preset: PathOrName | None,
    patch_size: Count,
    num_layers: Depth,
    num_heads: Count,
    hidden_dim: Count,
    intermediate_dim: Count,
    intermediate_activation: Literal["quick_gelu", "gelu"],
) -> keras.KerasTensor:
    """The image tower of CLIP (Radford et al., 2021, https://arxiv.org/abs/2103.00020): (batch, 1 + patches, channels)."""
    return _built(
        CLIP,
        preprocess(images, "clip"),
        patch_size=patch_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        intermediate_activation=intermediate_activation,
    )


_CONVOLUTIONAL = {
    "hub_resnet": ("ResNetBackbone", "resnet", "ResNet, ResNetV2 and ResNet-vd, https://arxiv.org/abs/1512.03385"),
    "hub_densenet": ("DenseNetBackbone", "densenet", "DenseNet, https://arxiv.org/abs/1608.06993"),
    "hub_vgg": ("VGGBackbone", "vgg", "VGG, https://arxiv.org/abs/1409.1556"),
    "hub_xception": ("XceptionBackbone", "xception", "Xception, https://arxiv.org/abs/1610.02357"),
    "hub_mobilenet": ("MobileNetBackbone", "mobilenet", "MobileNetV3, https://arxiv.org/abs/1905.02244"),
    "hub_efficientnet": ("EfficientNetBackbone", "efficientnet", "EfficientNet, https://arxiv.org/abs/1905.11946"),
    "hgnetv2": ("HGNetV2Backbone", "hgnetv2", "HGNetV2, https://github.com/PaddlePaddle/PaddleClas"),
    "cspnet": ("CSPNetBackbone", "cspnet", "CSPNet and DarkNet, https://arxiv.org/abs/1911.11929"),
    "mobilenetv5": ("MobileNetV5Backbone", "mobilenetv5", "MobileNetV5, https://ai.google.dev/gemma/docs/gemma-3n"),
    "mit": ("MiTBackbone", "mit", "The Mix Transformer of SegFormer, https://arxiv.org/abs/2105.15203"),
}  # fmt: skip


def _register(name: str, backbone: Backbone, what: str) -> None:
    """Register a network whose architecture is what its preset says."""

    def build(images: keras.KerasTensor, *, preset: PathOrName) -> keras.KerasTensor:
        from framework.parts import hub_presets

        folder = hub_presets.fetched(preset, name, backbone)
        said = presets.stated(folder, name, backbone, {})
        network = hub_presets.network(folder, said, name, tuple(images.shape[1:]))
        output = _called(network, _scaled(images, folder, said))
        # some give the maps of every stage by name
        return list(output.values())[-1] if isinstance(output, dict) else output

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{what}; its architecture is what the preset says."
    base(name, minimum_size=32, gives=gives_maps, backbone=backbone)(build)


def _scaled(images: keras.KerasTensor, folder: Path, said: presets.Stated) -> keras.KerasTensor:
    """Images as the preset's own converter scales them; as ImageNet's usual mean and deviation say where it has none."""
    scaling = presets.scaling(folder, said)
    if scaling is None:
        return preprocess(images, "torch")
    scale, offset = scaling
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=f"{PREPROCESS}_rescale")(images)


for _name, (_kind, _family, _what) in _CONVOLUTIONAL.items():
    _register(_name, Backbone(_kind, _family, described=False), _what)

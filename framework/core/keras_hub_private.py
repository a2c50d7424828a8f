"""All that is used of Keras Hub beyond its documented interface, and the one place where it is imported.

Its built-in presets stand in plain dicts that are read here without importing it, since that would load TensorFlow.
``pyproject.toml`` names the first release that this was tried with.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from framework.core.backend import hushed, keras, load_tensorflow

PACKAGE = "keras_hub"


def installed() -> bool:
    """Whether the package is there; imports nothing."""
    return find_spec(PACKAGE) is not None


@functools.cache
def load_hub() -> ModuleType:
    """Keras Hub, imported quietly, with what is mended in it.

    Version 0.32 saves the positions of a DINOv2 that were trained only where the sum of their changes is positive
    (``DINOV2Embedding._is_interpolated_position_embeddings_updated``); here they are saved always.
    """
    load_tensorflow()
    with hushed():
        hub = import_module(PACKAGE)
    # of a Swin's masks, which it computes itself, and of a weight that only the first training of a DINO needed
    for told in ("Layer 'attn' .*was passed an input with a mask", r"Gradients do not exist .*mask_token'\]"):
        warnings.filterwarnings("ignore", told, UserWarning)
    embedding = import_module(f"{PACKAGE}.src.models.dinov2.dinov2_layers").DINOV2Embedding
    embedding._is_interpolated_position_embeddings_updated = lambda self: True
    for family in ("dinov2", "dinov3"):
        _mend_drop_path(
            getattr(import_module(f"{PACKAGE}.src.models.{family}.{family}_layers"), f"{family.upper()}DropPath")
        )
    _mend_swin(import_module(f"{PACKAGE}.src.models.swin_transformer.swin_transformer_layers"))
    return hub


def _mend_drop_path(kind: Any) -> None:
    """Let a DINO's drop path drop whole paths of some images, as DINOv2's own does.

    Version 0.32 makes its noise of the batch size that is known when the layer is built, which is none, does not round it
    to 0 and 1, and draws from a generator that no model holds, so that a run that goes on would draw other numbers.
    """

    def build(self: Any, input_shape: Any) -> None:
        self.generator = keras.random.SeedGenerator()

    def call(self: Any, inputs: Any, training: bool | None = None) -> Any:
        if not training or not self.rate:
            return inputs
        shape = (keras.ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))
        kept = keras.ops.floor(1 - self.rate + keras.random.uniform(shape, dtype=inputs.dtype, seed=self.generator))
        return inputs / (1 - self.rate) * kept

    kind.build, kind.call = build, call


def _mend_swin(module: ModuleType) -> None:
    """Give a Swin's blocks names of their own and configs that they can be made of again.

    Version 0.32 names the blocks of every stage alike, leaves out of a block's config what it was made with, and can't
    serialize the class that stands in the config of the patches' layer.
    """
    stage, block, patches = module.SwinTransformerStage, module.SwinTransformerBlock, module.PatchEmbedding
    made, of_block, of_patches = stage.__init__, block.get_config, keras.Layer.get_config

    def init(self: Any, *values: Any, **named: Any) -> None:
        made(self, *values, **named)
        for place, inner in enumerate(self.blocks, 1):
            inner.name = f"{self.name}_block_{place}"
        if self.downsample is not None:
            self.downsample.name = f"{self.name}_downsample"

    def block_config(self: Any) -> dict[str, Any]:
        attention = self.attn
        return of_block(self) | {
            "qkv_bias": attention.qkv_bias,
            "attention_dropout": attention.attn_drop_rate,
            "dropout_rate": attention.proj_drop_rate,
            "drop_path": getattr(self.drop_path, "drop_prob", 0.0),
        }

    def patches_config(self: Any) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in ("patch_size", "embed_dim", "data_format")}
        return of_patches(self) | own | {"norm_layer": self.norm is not None}

    def patches_from(kind: Any, config: dict[str, Any]) -> Any:
        return kind(**config | {"norm_layer": keras.layers.LayerNormalization if config["norm_layer"] else None})

    stage.__init__, block.get_config = init, block_config
    patches.get_config, patches.from_config = patches_config, classmethod(patches_from)


@functools.cache
def presets(family: str) -> Mapping[str, str]:
    """Names of the built-in presets of a family of networks, each with its handle, ``kaggle://…``; none uninstalled.

    Args:
        family: the name of its folder in ``keras_hub/src/models``.
    """
    found: dict[str, str] = {}
    if not installed():
        return found
    for file in sorted((_models() / family).glob("*_presets.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                found |= dict(_handles(node.value))
    return found


def _handles(presets: ast.Dict) -> Iterator[tuple[str, str]]:
    """Name and handle of each preset that is written out in a dict."""
    for name, entry in zip(presets.keys, presets.values, strict=True):
        if isinstance(name, ast.Constant) and isinstance(entry, ast.Dict):
            for key, value in zip(entry.keys, entry.values, strict=True):
                if getattr(key, "value", None) == "kaggle_handle" and isinstance(value, ast.Constant):
                    yield str(name.value), str(value.value)


def families() -> list[str]:
    """Every family of networks that the installed version has presets of."""
    return sorted(file.parent.name for file in _models().glob("*/*_presets.py")) if installed() else []


def _models() -> Path:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "src" / "models"


def downloaded(preset: str, file: str) -> Path:
    """A file of a preset, downloaded by Keras Hub to the cache of its host if it is not there yet.

    Raises:
        FileNotFoundError: the preset has no such file.
        Exception: whatever Kaggle's or Hugging Face's client raises.
    """
    load_hub()
    return Path(import_module(f"{PACKAGE}.src.utils.preset_utils").get_file(preset, file))


def converted(folder: Path, image_shape: tuple[int, ...] | None = None) -> Any:
    """The network of a folder in the format of Hugging Face Transformers or of timm, with its weights.

    For images of this shape, or of its own where that is None.

    Its ``config.json`` is read as data: the class is one of Keras Hub's, chosen by ``model_type`` or ``architecture``.

    Raises:
        ValueError: it is none that Keras Hub converts.
        ImportError: the package safetensors is missing.
    """
    load_hub()
    loader = import_module(f"{PACKAGE}.src.utils.preset_utils").get_preset_loader(str(folder))
    shape = {} if image_shape is None else {"image_shape": tuple(image_shape)}
    return loader.load_backbone(loader.check_backbone_class(), load_weights=True, **shape)


class Encoder(NamedTuple):
    """A layer that is a row of blocks.

    Attributes:
        layers: those in it, in the order that it calls them.
        before: how many come before the blocks.
        blocks: how many blocks there are.
        pairs: whether a block gives something beside what the next one takes.
        after: what the layers after the blocks take beside what comes through.
    """

    layers: tuple[Any, ...]
    before: int
    blocks: int
    pairs: bool = False
    after: Mapping[str, Any] = {}


def encoder_of(layer: Any) -> Encoder | None:
    """The blocks in a transformer's encoder, where one layer holds them; None for any other layer."""
    kind = type(layer).__name__ if type(layer).__module__.startswith(f"{PACKAGE}.") else ""
    if kind == "ViTEncoder":
        return Encoder((layer.dropout, *layer.encoder_layers, layer.layer_norm), 1, len(layer.encoder_layers))
    if kind == "DeiTEncoder":
        return Encoder((*layer.encoder_layers, layer.layer_norm), 0, len(layer.encoder_layers), pairs=True)
    if kind in ("DINOV2Encoder", "DINOV3Encoder"):
        return Encoder(tuple(layer.layers), 0, len(layer.layers))
    if kind == "SwinTransformerStage":
        merging = () if layer.downsample is None else (layer.downsample,)
        height, width = layer.input_resolution
        return Encoder((*layer.blocks, *merging), 0, len(layer.blocks), after={"H": height, "W": width})
    return None


def is_block(layer: Any) -> bool:
    """Whether a layer is one of a transformer's blocks."""
    return type(layer).__name__ in ("CLIPEncoderLayer", "SigLIPEncoderLayer")


def first_token(block: Any) -> Callable[[Any], Any] | None:
    """What computes the first token alone of what a transformer's block gives, from all tokens that it is given.

    None for other layers, for blocks of a kind that this is not written for, and for those that draw at random, since
    they would draw other numbers.
    """
    first = _FIRST_TOKEN.get(type(block).__name__) if type(block).__module__.startswith(f"{PACKAGE}.") else None
    if first is None or len(block.variables) > len(block.weights) or getattr(block, "use_causal_mask", False):
        return None
    return functools.partial(first, block)


def _first_of_vit(block: Any, tokens: Any) -> Any:
    normed = block.layer_norm_1(tokens)
    x = block.mha(normed[:, :1], normed) + tokens[:, :1]
    return x + block.mlp(block.layer_norm_2(x))


def _first_of_deit(block: Any, tokens: Any) -> Any:
    normed = block.layer_norm_1(tokens)
    x = block.mha(normed[:, :1], normed) + tokens[:, :1]
    return block.output_layer(block.mlp(block.layer_norm_2(x)), x)


def _first_of_dinov2(block: Any, tokens: Any) -> Any:
    normed = block.norm1(tokens)
    x = block.layer_scale1(block.attention.attention(normed[:, :1], normed)) + tokens[:, :1]
    return block.layer_scale2(block.mlp(block.norm2(x))) + x


def _first_of_clip(block: Any, tokens: Any) -> Any:
    normed = block.layer_norm_1(tokens)
    x = block.attention(normed[:, :1], normed) + tokens[:, :1]
    return x + block.dense_2(block.activation(block.dense_1(block.layer_norm_2(x))))


_FIRST_TOKEN = {
    "ViTEncoderBlock": _first_of_vit,
    "DeiTEncoderBlock": _first_of_deit,
    "DINOV2Layer": _first_of_dinov2,
    "CLIPEncoderLayer": _first_of_clip,
}


def depends_on_size_alone(layer: Any) -> bool:
    """Whether what a layer gives is the same for all images of a size, as the rotations of a DINOv3's positions are."""
    return type(layer).__name__ == "DINOV3RopePositionEmbedding"


def config_of(layer: Any) -> dict[str, Any]:
    """A layer's config as its class takes it: some of Keras Hub's say more in theirs than they can be made of."""
    config = layer.get_config()
    if not type(layer).__module__.startswith(f"{PACKAGE}."):
        return config
    if type(layer).__name__ == "HierarchicalTransformerEncoder":  # a MiT's block, which leaves these out
        config |= {"sr_ratio": layer.attn.sr_ratio, "layer_norm_epsilon": layer.norm1.epsilon}
    taken = {*inspect.signature(type(layer).__init__).parameters, "name", "trainable", "dtype"}
    return {key: value for key, value in config.items() if key in taken}


def attentions_of(layer: Any) -> list[Any]:
    """The attention layers in a layer whose shares ``watched`` can have: Keras's own, and those of a DINOv3."""
    return [
        inner
        for inner in layer._flatten_layers()
        if isinstance(inner, keras.layers.MultiHeadAttention) or type(inner).__name__ == "DINOV3Attention"
    ]


@contextlib.contextmanager
def watched(layers: Iterable[Any]) -> Iterator[list[np.ndarray]]:
    """Yields a list that gets what each query attends to, float (batch, heads, queries, keys), as layers are called.

    They must be called eagerly, and each gives what it gave before.
    """
    seen: list[np.ndarray] = []

    def of_keras(call: Any) -> Any:
        def instead(*tensors: Any, return_attention_scores: bool = False, **named: Any) -> Any:
            output, shares = call(*tensors, return_attention_scores=True, **named)
            seen.append(np.asarray(shares, np.float32))
            return (output, shares) if return_attention_scores else output

        return instead

    def of_dino(layer: Any, call: Any) -> Any:
        def instead(inputs: Any, **named: Any) -> Any:
            shape = (len(inputs), inputs.shape[1], layer.num_heads, layer.head_dim)
            q, k = (keras.ops.reshape(dense(inputs), shape) for dense in (layer.query_dense, layer.key_dense))
            if named.get("position_embeddings") is not None:
                q, k = layer._apply_rotary(q, k, *named["position_embeddings"], named.get("num_prefix_tokens", 0))
            products = keras.ops.einsum("bqhc,bkhc->bhqk", q, k) * layer.scale
            seen.append(np.asarray(keras.ops.softmax(products, axis=-1), np.float32))
            return call(inputs, **named)

        return instead

    changed = list(layers)
    for layer in changed:
        is_dino = type(layer).__name__ == "DINOV3Attention"
        layer.call = of_dino(layer, layer.call) if is_dino else of_keras(layer.call)
    try:
        yield seen
    finally:
        for layer in changed:
            del layer.call

"""What a kept feature depends on: a description of the prefix, its images and the machine, and the key made of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.keras_private import is_functional, nodes_of
from framework.features.shortcuts import first_tokens

# By precision: raise it with any change of how a prefix is run that changes bits.
COMPUTE_VERSIONS = {"float32": 2, "bfloat16": 4}
# What a layer's config says that its output in inference does not depend on once its weights are there.
_WITHOUT_EFFECT = ("_initializer", "_regularizer", "_constraint")
_LEFT_OUT = ("trainable", "seed", "build_config", "shared_object_id")
_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def describe(prefix: keras.Model, *, decoding: str, precision: str, dtype: str) -> dict[str, Any]:
    """Everything that could change a feature, in plain values.

    Args:
        prefix: from images to the tensors that are kept; the images' size is part of it.
        decoding: how a file becomes an image, with the decoder's version.
        precision: in which numbers the prefix is run.
        dtype: in which numbers its output is kept.
    """
    nodes = nodes_of(prefix) if is_functional(prefix) else []
    return {
        # only where it says something: caches of before are read on
        **({"tokens": "the first"} if first_tokens(nodes, prefix.outputs) else {}),
        "prefix": fingerprint(prefix),
        "decoding": decoding,
        "precision": precision,
        "dtype": dtype,
        "compute": COMPUTE_VERSIONS[precision],
        "versions": {name: version(name) for name in ("tensorflow", "keras")},
        "machine": _machine(),
    }


def digest(description: Mapping[str, Any]) -> str:
    """The key: 32 hexadecimal digits."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint(model: keras.Model) -> str:
    """Hash of a functional model's graph, layer configs and weights, whatever its layers are called.

    Names are left out because Keras numbers them by what else the process has built. The source of layers that are
    not Keras's own is part of it.
    """
    config = model.get_config()
    numbers = {entry["name"]: number for number, entry in enumerate(config["layers"])}
    total = hashlib.blake2b(digest_size=16)
    layers = [{**entry, "name": "", "config": {**entry["config"], "name": ""}} for entry in config["layers"]]
    graph = _plain([layers, config["input_layers"], config["output_layers"]], numbers)
    total.update(json.dumps(graph, sort_keys=True, default=str).encode())
    for source in sorted({_source(type(operation)) for operation in model.operations}):
        total.update(source.encode())
    _add_weights(total, model)
    return total.hexdigest()


def weights_of(model: keras.Model) -> str:
    """Hash of a model's weights in their order: of one network the same in every version of this project."""
    total = hashlib.blake2b(digest_size=16)
    _add_weights(total, model)
    return total.hexdigest()


def _add_weights(total: Any, model: keras.Model) -> None:
    for weight in model.weights:
        value = np.ascontiguousarray(weight)
        total.update(f"{value.shape} {value.dtype}".encode())
        total.update(value.view(np.uint8).data)


def instructions() -> list[str]:
    """The processor's instruction sets that decide how a network is computed, as Linux names them; else none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    words = {word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()}
    return [name for name in _INSTRUCTIONS if name in words]


def bfloat16_supported() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(instructions())


def _machine() -> dict[str, Any]:
    """What of the machine changes bits; the number of cores was seen not to."""
    from framework.core.backend import tf

    return {
        "processor": [platform.machine(), *instructions()],
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "accelerators": [
            tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices()
            if device.device_type != "CPU"
        ],
    }


def _plain(value: Any, numbers: Mapping[str, int]) -> Any:
    """A part of a model's config with numbers in place of layer names, and without what has no effect."""
    if isinstance(value, Mapping):
        left_out = (
            {*_LEFT_OUT, "name"} if "trainable" in value else _LEFT_OUT
        )  # other names, as a dtype policy's, count
        return {
            key: _plain(item, numbers)
            for key, item in value.items()
            if key not in left_out and not str(key).endswith(_WITHOUT_EFFECT)
        }
    if isinstance(value, list | tuple):
        if len(value) == 3 and isinstance(value[0], str) and value[0] in numbers:  # a tensor: layer, call, output
            return [numbers[value[0]], *value[1:]]
        return [_plain(item, numbers) for item in value]
    return value


def _source(kind: type) -> str:
    """Hash of the file that defines a class, empty for Keras's own."""
    if kind.__module__.split(".")[0] == "keras":
        return ""
    try:
        return hashlib.blake2b(inspect.getsource(inspect.getmodule(kind) or kind).encode(), digest_size=16).hexdigest()
    except (OSError, TypeError):
        return kind.__qualname__

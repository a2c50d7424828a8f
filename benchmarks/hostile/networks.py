"""Model files as Keras saves them, and those that somebody has changed: each public way to have one do more than compute.

Written without TensorFlow, so that they can be made in no time: a tiny network of Keras's own layers.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.hostile.canary import Canary

SIDE, UNITS = 4, 2
CLASSES = ("no", "yes")
Change = Callable[[list[dict[str, Any]]], None]


def layer(
    kind: str, name: str, config: Mapping[str, Any], after: str = "", shape: tuple[int, ...] = (), **more: Any
) -> dict:
    """A layer as a config lists it, called on the one before it."""
    tensor = {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, *shape], "dtype": "float32", "keras_history": [after, 0, 0]},
    }
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if after else [],
        **more,
    }


def network(side: int = SIDE, units: int = UNITS) -> dict[str, Any]:
    """Image, flattened, dense."""
    plain = {"trainable": True, "dtype": "float32"}
    layers = [
        layer("InputLayer", "image", {"batch_shape": [None, side, side, 3], "dtype": "float32", "sparse": False}),
        layer("Flatten", "flatten", {**plain, "data_format": "channels_last"}, "image", (side, side, 3)),
        layer(
            "Dense",
            "logits",
            {**plain, "units": units, "activation": "linear", "use_bias": True},
            "flatten",
            (side * side * 3,),
        ),
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["logits", 0, 0]]}
    inside = {"name": "small", "trainable": True, "layers": layers, **ends}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": inside,
        "registered_name": "Functional",
    }


def arrays(value: float = 0.1, units: int = UNITS) -> dict[str, np.ndarray]:
    """The weights of the last layer."""
    return {"0": np.full((SIDE * SIDE * 3, units), value, np.float32), "1": np.zeros(units, np.float32)}


def write_arrays(file: h5py.File, value: float = 0.1, units: int = UNITS) -> None:
    """In the layout of ``.weights.h5``."""
    for name, array in arrays(value, units).items():
        file[f"layers/dense/vars/{name}"] = array


def hdf5(write: Callable[[h5py.File], None] = write_arrays) -> bytes:
    """The bytes of an HDF5 file."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        write(file)
    return held.getvalue()


def keras_file(
    file: Path,
    config: Any = None,
    weights: bytes | None = None,
    members: Mapping[str, bytes] | None = None,
    deflated: bool = False,
) -> Path:
    """A ``.keras`` file."""
    text = config if isinstance(config, bytes) else json.dumps(network() if config is None else config).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.0", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", hdf5() if weights is None else weights)
        for name, data in (members or {}).items():
            archive.writestr(name, data)
    return file


def h5_file(file: Path, config: Any = None, write: Callable[[h5py.File], None] | None = None) -> Path:
    """A whole model in the older format."""
    with h5py.File(file, "w") as made:
        made.attrs["model_config"] = json.dumps(network() if config is None else config)
        made.attrs["keras_version"], made.attrs["backend"] = "3.15.0", "tensorflow"
        (write or older_arrays)(made)
    return file


def older_arrays(file: h5py.File, value: float = 0.1) -> None:
    """In the layout of ``.h5``."""
    group = file.create_group("model_weights")
    group.attrs["layer_names"] = [b"image", b"flatten", b"logits"]
    for name in ("image", "flatten", "logits"):
        group.create_group(name).attrs["weight_names"] = np.array([], "S1")
    group["logits"].attrs["weight_names"] = [b"kernel", b"bias"]
    for name, array in zip(("kernel", "bias"), arrays(value).values(), strict=True):
        group[f"logits/{name}"] = array
    file.create_group("model_weights/top_level_model_weights").attrs["weight_names"] = np.array([], "S1")


def changed(change: Change, **more: int) -> dict[str, Any]:
    """The network with its layers changed."""
    config = network(**more)
    change(config["config"]["layers"])
    return config


def between(kind: str, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The network with another layer before the last."""

    def change(layers: list[dict[str, Any]]) -> None:
        layers.insert(2, layer(kind, "evil", config, "flatten", (SIDE * SIDE * 3,), **more))
        layers[3]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "evil"

    return changed(change)


def activated(by: Any) -> dict[str, Any]:
    """The network whose last layer calls something."""
    return changed(lambda layers: layers[2]["config"].update(activation=by))


def function(module: str | None, name: str, registered: str | None = None) -> dict[str, Any]:
    """How a config names a function."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


def left_to_keras(name: str) -> bool:
    """Whether an evil config names what only Keras can look for, and finds none, since it is registered nowhere."""
    return "registered as" in name or "builtins." in name


def evil_configs(canary: Canary) -> Iterator[tuple[str, Any]]:
    """Each public way to have a config run code or read files since 2024, and their like."""
    code = {"class_name": "__lambda__", "config": {"code": canary.code, "defaults": None, "closure": None}}
    address, secret = f"http://127.0.0.1:{canary.port}/evil", str(canary.secret_file)
    yield "Lambda of marshalled code (CVE-2024-3660)", between("Lambda", {"function": code, "arguments": {}})
    yield (
        "Lambda of the older format",
        between("Lambda", {"function": [canary.code, None, None], "function_type": "lambda"}),
    )
    yield "Lambda that names its shape by code", between("Lambda", {"function": "relu", "output_shape": code})
    yield "a lambda as an activation", activated(code)
    yield "a lambda as an initializer", changed(lambda layers: layers[2]["config"].update(kernel_initializer=code))
    for module, name in (
        ("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("builtins", "exec"),
        ("builtins", "__import__"), ("pickle", "loads"), ("marshal", "loads"), ("importlib", "import_module"),
        ("keras.utils", "get_file"), ("keras.src.utils.file_utils", "get_file"), ("keras.utils", "deserialize_keras_object"),
        ("keras.config", "enable_unsafe_deserialization"), ("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"),
        ("keras.src.utils.python_utils", "func_load"), ("keras.saving", "load_model"), ("keras.models", "load_model"),
        ("keras.utils", "image_dataset_from_directory"), ("numpy", "load"), ("tensorflow", "io.read_file"),
        ("keras_hub.src.utils.preset_utils", "get_file"), ("framework.core.files", "write_whole"),
    ):  # fmt: skip
        yield (
            f"{module}.{name} as an activation (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906)",
            activated(function(module, name)),
        )
        yield (
            f"{module}.{name} as a layer",
            between(name, {"fname": "sung", "origin": address, "args": canary.shell}, module=module),
        )
    for package in (
        "os>system",
        "builtins>eval",
        "keras>Lambda",
        "framework>os.system",
        "Custom>Popen",
        ">system",
        "Lambda",
    ):
        yield f"registered as {package}", between("Dense", {"units": 2}, registered_name=package, module=None)
        yield f"a function registered as {package}", activated(function(None, package.rpartition(">")[2], package))
    body = {"module": pickle.dumps(None).hex(), "model": canary.pickled.hex(), "filepath": secret}
    for kind in ("TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"):
        yield f"{kind} (CVE-2025-49655)", between(kind, body)
        yield f"{kind} by its module", between(kind, body, module=f"keras.src.utils.{kind.lower()}")
    for kind in ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"):
        for where in (secret, address, f"file://{secret}"):
            yield (
                f"{kind} that reads {where.partition(':')[0][:9]} (CVE-2025-12058)",
                between(kind, {"vocabulary": where}),
            )
    spec = {
        "class_name": "__typespec__",
        "spec_name": "TensorSpec",
        "module": "tensorflow",
        "registered_name": None,
        "config": [canary.shell],
    }
    yield "a type specification", activated(spec)
    yield (
        "a tokenizer that reads a file",
        between("SentencePieceTokenizer", {"proto": secret}, module="keras_hub.tokenizers"),
    )


def absurd_configs() -> Iterator[tuple[str, Any]]:
    """Configs that would take all memory or all time."""
    for units in (10**6, 10**9, 10**12, 10**20, -1, 0):
        yield f"a layer of {units} units", changed(lambda layers, units=units: layers[2]["config"].update(units=units))  # type: ignore[misc]
    yield "two layers of 100,000", _wide(100_000)
    for side in (10**5, 10**9, -1, 0):
        yield f"images of {side} pixels a side", network(side=side)
    yield "an image repeated", between("RepeatVector", {"n": 10**9})
    yield "an image padded", changed(_padded)
    yield "5,000 layers", changed(_long(5_000))
    yield "layers that call each other in a circle", changed(_circle)
    yield "a layer that calls itself", changed(lambda layers: _call(layers[1], "flatten", 0))
    yield "a call of a call that is never made", changed(lambda layers: _call(layers[2], "flatten", 10**9))
    yield "a call of no layer", changed(lambda layers: _call(layers[2], "nobody", 0))
    yield "10^9 blocks", between("ViTBackbone", {"num_layers": 10**9}, module="keras_hub.src.models.vit.vit_backbone")
    yield "one object for all layers", changed(_shared)
    yield "10^9 layers by reference", _doubled(30)
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "nested 100,000 times", deep
    yield "lists nested 100,000 times", b"[" * 100_000 + b"]" * 100_000
    for text in (
        b"",
        b"null",
        b"[]",
        b"3",
        b"{}",
        b'{"config": null}',
        b'{"class_name": 3, "config": {"layers": 3}}',
        b"\xff\xfe",
        b"{" * 9,
    ):
        yield f"the text {text[:30]!r}", text
    yield "a number of 5,000 digits", b'{"config": {"layers": [], "name": ' + b"9" * 5000 + b"}}"
    yield (
        "layers that are none",
        {**network(), "config": {"layers": [None, 3, "x"], "input_layers": [], "output_layers": []}},
    )


def _wide(units: int) -> dict[str, Any]:
    config = between("Dense", {"units": units})
    layers = config["config"]["layers"]
    layers.insert(3, layer("Dense", "wide", {"units": units}, "evil", (units,)))
    _call(layers[4], "wide", 0)
    return config


def _padded(layers: list[dict[str, Any]]) -> None:
    layers.insert(1, layer("ZeroPadding2D", "evil", {"padding": [[10**6, 10**6]] * 2}, "image", (SIDE, SIDE, 3)))
    layers.insert(2, layer("GlobalAveragePooling2D", "mean", {}, "evil", (None, None, 3)))  # type: ignore[arg-type]
    _call(layers[4], "mean", 0)


def _long(count: int) -> Change:
    def change(layers: list[dict[str, Any]]) -> None:
        more = [
            layer("Activation", f"a{number}", {"activation": "relu"}, f"a{number - 1}" if number else "flatten", (48,))
            for number in range(count)
        ]
        layers[2:2] = more
        _call(layers[-1], more[-1]["name"], 0)

    return change


def _circle(layers: list[dict[str, Any]]) -> None:
    layers[2:2] = [
        layer("Activation", one, {"activation": "relu"}, other, (48,)) for one, other in (("a", "b"), ("b", "a"))
    ]
    _call(layers[-1], "b", 0)


def _call(one: dict[str, Any], name: str, number: int) -> None:
    _call_by(one["inbound_nodes"][0], name, number)


def _call_by(node: dict[str, Any], name: str, number: int = 0) -> None:
    node["args"][0]["config"]["keras_history"] = [name, number, 0]


def _doubled(depth: int) -> dict[str, Any]:
    """A network within a network, each called twice by the one around it: 2^depth calls of a layer in a few kilobytes."""
    shape = (SIDE * SIDE * 3,)
    inner = layer("Activation", "a", {"activation": "relu"}, "flatten", shape)
    for number in range(depth):
        start = layer("InputLayer", f"i{number}", {"batch_shape": [None, *shape], "dtype": "float32", "sparse": False})
        again = {**copy.deepcopy(inner["inbound_nodes"][0]), "kwargs": {}}
        _call_by(inner["inbound_nodes"][0], f"i{number}")
        _call_by(again, inner["name"])
        inner["inbound_nodes"].append(again)
        ends = {"input_layers": [[f"i{number}", 0, 0]], "output_layers": [[inner["name"], 1, 0]]}
        within = {"name": f"m{number}", "trainable": True, "layers": [start, inner], **ends}
        inner = layer("Functional", f"m{number}", within, "flatten", shape, module="keras.src.models.functional")

    def change(layers: list[dict[str, Any]]) -> None:
        layers.insert(2, inner)
        _call(layers[3], inner["name"], 0)

    return changed(change)


def _shared(layers: list[dict[str, Any]]) -> None:
    for one in layers:
        one["shared_object_id"] = 1


def evil_arrays(canary: Canary, folder: Path) -> Iterator[tuple[str, Callable[[h5py.File], None]]]:
    """HDF5 files that read others, or unpack to far more than they are; ``folder`` is for those."""
    elsewhere = folder / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as file:
        write_arrays(file)
        older_arrays(file)

    def linked(kind: Callable[[str], Any], older: bool) -> Callable[[h5py.File], None]:
        def write(file: h5py.File) -> None:
            write_arrays(file)
            older_arrays(file)
            for name in ("model_weights/logits/kernel",) if older else ("layers/dense/vars/0", "layers/dense"):
                if name in file:
                    del file[name]
                    file[name] = kind(name)

        return write

    for older in (False, True):
        told = " of the older format" * older
        yield f"an external link{told}", linked(lambda name: h5py.ExternalLink(str(elsewhere), name), older)
        yield (
            f"an external link to a secret{told}",
            linked(lambda name: h5py.ExternalLink(str(canary.secret_file), name), older),
        )
        yield f"a soft link{told}", linked(lambda name: h5py.SoftLink("/layers"), older)
        yield f"a soft link to itself{told}", linked(lambda name: h5py.SoftLink(f"/{name}"), older)

    def replaced(make: Callable[[h5py.File, str], Any]) -> Callable[[h5py.File], None]:
        def write(file: h5py.File) -> None:
            write_arrays(file)
            older_arrays(file)
            for name in ("layers/dense/vars/0", "model_weights/logits/kernel"):
                del file[name]
                make(file, name)

        return write

    def external(file: h5py.File, name: str) -> None:
        file.create_dataset(
            name, (SIDE * SIDE * 3, UNITS), "f4", external=[(str(canary.secret_file), 0, h5py.h5f.UNLIMITED)]
        )

    def virtual(file: h5py.File, name: str) -> None:
        layout = h5py.VirtualLayout((SIDE * SIDE * 3, UNITS), "f4")
        layout[:] = h5py.VirtualSource(str(elsewhere), "layers/dense/vars/0", (SIDE * SIDE * 3, UNITS))
        file.create_virtual_dataset(name, layout)

    def never_written(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000))

    def packed(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (1 << 24,), "f4", data=np.zeros(1 << 24, np.float32), compression="gzip")

    yield "an array in another file", replaced(external)
    yield "an array made of another file's", replaced(virtual)
    yield "an array of 10^12 numbers that were never written", replaced(never_written)
    yield "an array of zeros, packed", replaced(packed)
    yield (
        "an array of texts",
        replaced(lambda file, name: file.create_dataset(name, data=np.array([b"x" * 100] * 96).reshape(48, 2))),
    )
    yield (
        "an array of another shape",
        replaced(lambda file, name: file.create_dataset(name, data=np.zeros((3, 3), np.float32))),
    )
    yield "a group in place of an array", replaced(lambda file, name: file.create_group(name))
    yield "no arrays", lambda file: None
    yield (
        "a group within itself",
        lambda file: (write_arrays(file), file.__setitem__("layers/again", file["layers"]))[0],
    )


def evil_archives(canary: Canary, folder: Path) -> Iterator[tuple[str, Path]]:
    """ZIPs that write elsewhere, or unpack to far more than they are."""
    sung = str(canary.file)
    for number, name in enumerate(
        (f"../{canary.file.name}", sung, f"assets/../../../{canary.file.name}", "assets\\..\\..\\sung", "C:/sung")
    ):
        yield (
            f"a member {name}",
            keras_file(folder / f"member{number}.keras", members={name: b"x", "assets/a.txt": b"x"}),
        )
    with zipfile.ZipFile(keras_file(folder / "link.keras"), "a") as archive:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, sung)
        archive.writestr("assets/link/sung", "x")
    yield "a member behind a link", folder / "link.keras"
    yield "a description of 40 MB", keras_file(folder / "large.keras", b" " * (40 << 20), deflated=True)
    yield "weights of 40 MB", keras_file(folder / "bomb.keras", weights=hdf5() + bytes(40 << 20), deflated=True)
    yield (
        "another member of 40 MB",
        keras_file(folder / "other.keras", members={"assets/a": bytes(40 << 20)}, deflated=True),
    )
    text = copy.deepcopy(network())
    with zipfile.ZipFile(keras_file(folder / "twice.keras"), "a") as archive:
        archive._didModify = True  # type: ignore[attr-defined]
        archive.filelist.append(archive.getinfo("config.json"))
    yield "a description twice", folder / "twice.keras"
    text["config"]["layers"].append("not a layer")
    yield "a layer that is a text", keras_file(folder / "text.keras", text)
    whole = keras_file(folder / "whole.keras").read_bytes()
    (folder / "prefixed.keras").write_bytes(whole.replace(b"PK\x05\x06", b"PK\x05\x07"))
    yield "an archive without its end", folder / "prefixed.keras"


def other_files(canary: Canary, folder: Path) -> Iterator[tuple[str, Path]]:
    """What is no model, called one."""
    for ending in ("keras", "h5"):
        for name, data in (
            ("pickle", canary.pickled),
            ("text", b"hello"),
            ("nothing", b""),
            ("python", canary.python.encode()),
        ):
            file = folder / f"{name}.{ending}"
            file.write_bytes(data)
            yield f"{name} called .{ending}", file
    (folder / "wrong.keras").write_bytes(h5_file(folder / "right.h5").read_bytes())
    yield "an .h5 called .keras", folder / "wrong.keras"
    (folder / "wrong.h5").write_bytes(keras_file(folder / "right.keras").read_bytes())
    yield "a .keras called .h5", folder / "wrong.h5"

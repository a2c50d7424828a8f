"""Model and weights files from anywhere, looked at before Keras reads them: what they say is read as data, nothing is run.

A file is refused that would run code, read or write another file, or unpack to far more than it holds. Keras refuses much
of it too, some of it since a release later than the oldest that is used here, and no weights file of a base at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from framework.core.console import amount
from framework.core.errors import listing
from framework.core.files import is_bomb, refuse_bomb

if TYPE_CHECKING:
    import h5py

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MOST_CONFIG = 64 << 20  # bytes of a model's description, ten times as many as the largest base's
MOST_LAYERS = 4000  # four times as many as the base with the most
MOST_CALLS = 4 * MOST_LAYERS
DEEPEST = 1000  # blocks of a transformer
# what reading a file raises that is damaged, or another than it says
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
# rooms of Keras that a network is made of; what lies in others reads files, asks the network, or changes how Keras works
_OF_NETWORKS = frozenset(
    (
        *("layers", "models", "activations", "initializers", "regularizers", "constraints", "losses", "metrics"),
        *("optimizers", "dtype_policies", "quantizers", "ops", "nn", "random", "engine", "trainers"),
    )
)
# layers that run what another library has saved
_RUNS = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__")
# what a layer reads from disk where it is a text
_READS = ("vocabulary", "idf_weights", "merges", "proto", "filepath")
_BLOCKS = ("num_layers", "num_blocks", "depth", "stackwise", "repeats")


def open_archive(file: Path) -> zipfile.ZipFile:
    """A ``.keras`` file, opened; no member leads out of it, stands there twice, or unpacks to far more than it is.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it can't be opened, or a member does.
    """
    archive = zipfile.ZipFile(file)
    try:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("it has a member twice")
        for name in names:
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in name:
                raise ValueError(f"its member {name!r} leads out of it")
        refuse_bomb(archive)
        if archive.getinfo(CONFIG).file_size > MOST_CONFIG:
            raise ValueError(f"its {CONFIG} is larger than {amount(MOST_CONFIG)}")
    except BaseException:
        archive.close()
        raise
    return archive


@contextlib.contextmanager
def weights_in(archive: zipfile.ZipFile, file: Path) -> Iterator[h5py.File]:
    """The HDF5 file in a ``.keras`` file, where it lies if it is stored as it is; checked by ``check_arrays``.

    Raises:
        OSError, ValueError, KeyError: there is none, or it is not fit to be read.
    """
    import h5py

    entry = archive.getinfo(WEIGHTS)
    with open(file, "rb") as opened:
        if entry.compress_type == zipfile.ZIP_STORED:
            opened.seek(entry.header_offset + 26)
            lengths = opened.read(4)
            start = entry.header_offset + 30 + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
            inside: Any = io.BufferedReader(_Window(opened, start, entry.file_size))
        else:
            inside = io.BytesIO(archive.read(entry))
        with h5py.File(inside, "r") as weights:
            check_arrays(weights)
            yield weights


class _Window(io.RawIOBase):
    """A part of an opened file as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int):
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        self._file.seek(self._start + self._place)
        data = self._file.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def check_arrays(file: h5py.File) -> None:
    """Let an HDF5 file pass that holds all that it names, and no array that is far larger than what is stored of it.

    Raises:
        ValueError: a link or an array leads elsewhere, or unpacks to far more than it is.
    """
    import h5py

    seen, waiting = set(), [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(
                    f"its {group.name}/{name} is a link to elsewhere: {getattr(link, 'filename', link.path)}"
                )
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise ValueError(f"its {item.name} lies in another file")
                size, stored = item.size * item.dtype.itemsize if item.shape else 0, item.id.get_storage_size()
                if is_bomb(size, stored):
                    raise ValueError(f"its {item.name} would take {amount(size)}, and {amount(stored)} of it are there")


def read_config(text: str | bytes) -> Any:
    """What a model says of itself, from JSON.

    Raises:
        ValueError: it is no JSON, or more than a model can say.
    """
    if len(text) > MOST_CONFIG:
        raise ValueError(f"its description is larger than {amount(MOST_CONFIG)}")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its description is nested too deeply") from None


def nodes_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a JSON value, depth first from the end."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def more_than_data(described: Any) -> str:
    """Why a model that says this of itself is not opened: it would run code, read files, or be built without end; empty if it
    may."""
    nodes = list(nodes_of(described))
    lambdas = [name for node in nodes if (name := _lambda(node)) is not None]
    if lambdas or any(node.get("class_name") == "__lambda__" for node in nodes):
        return f"has code in it (Lambda: {listing(lambdas)})"
    named = [node for node in nodes if "class_name" in node]
    if len(named) > MOST_LAYERS * 8 or sum("inbound_nodes" in node for node in named) > MOST_LAYERS:
        return f"describes more than {MOST_LAYERS:,} layers"
    if _has_more_calls(described, MOST_CALLS):
        return f"calls its layers more than {MOST_CALLS:,} times, those of networks within it each time that these are called"
    for node in named:
        name, config = str(node["class_name"]), node.get("config")
        module = str(node.get("module") or "")
        if name in _RUNS:
            return f"has code of another library in it ({name})"
        if not _makes_networks(module, name, str(node.get("registered_name"))):
            what = config if name == "function" else name
            return f"names {module}.{what}, which is no part of a network"
        if not isinstance(config, Mapping):
            continue
        for key in _READS:
            if isinstance(config.get(key), str):
                return f"names a file to be read ({name}: {key}={config[key]})"
        for key, value in config.items():
            most = max((one for one in _whole_numbers(value)), default=0) if key.startswith(_BLOCKS) else 0
            if most > DEEPEST:
                return f"describes {most:,} blocks ({name}: {key})"
    return ""


def _has_more_calls(described: Any, most: int) -> bool:
    """Whether layers are called more often than this where a network that is called twice calls its own layers twice."""
    waiting, calls = [(described, 1)], 0
    while waiting and calls <= most:
        value, times = waiting.pop()
        if isinstance(value, dict):
            if isinstance(made := value.get("inbound_nodes"), list):
                times *= max(1, len(made))
                calls += times
            waiting += ((inner, times) for key, inner in value.items() if key != "inbound_nodes")
        elif isinstance(value, list):
            waiting += ((inner, times) for inner in value)
    return calls > most


def _makes_networks(module: str, kind: str, registered: str) -> bool:
    """Whether a class, or a function (``kind`` is ``function``), is of what networks are made of.

    What is neither Keras's nor Keras Hub's must be registered, as ``package>name``, to be found here.
    """
    root, *rooms = module.split(".")
    if root in ("", "builtins"):
        return True  # looked up among Keras's own, and those that are registered
    if root not in ("keras", "keras_hub"):
        return ">" in registered
    if kind != "function" and kind[:1].islower():
        return False  # a function in a class's place
    if root == "keras_hub":
        return kind != "function"
    rooms = rooms[1:] if rooms[:1] == ["src"] else rooms
    return not rooms or rooms[0] in (_OF_NETWORKS if kind != "function" else _OF_NETWORKS - {"models", "layers"})


def _whole_numbers(value: Any) -> Iterator[int]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and not isinstance(one, bool):
            yield one


def _lambda(node: Mapping[str, Any]) -> str | None:
    """Name of the layer, where a node describes code."""
    config = node.get("config")
    if node.get("class_name") != "Lambda" or not isinstance(config, dict):
        return None
    by_name = isinstance(config.get("function"), str) and config.get("function_type") != "lambda"
    return None if by_name else str(config.get("name"))

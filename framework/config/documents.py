"""Reads a YAML file that anyone may have written: bounded, plain, with the line and the comment of every key."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from framework.config.folders import conf_folder, shown
from framework.config.hydra_private import yaml_loader
from framework.core.errors import BadInput, Problem

MOST_BYTES = 100_000
MOST_NODES = 10_000
DEEPEST = 40


@dataclass(frozen=True)
class Key:
    """A key of a YAML file: its value as written, its line (from 1), and what the comment at it says."""

    value: Any
    line: int
    comment: str


@dataclass(frozen=True)
class Document:
    """A YAML file of keys and values.

    Attributes:
        file: where it was read.
        content: its values, in plain containers.
        keys: each by its dotted path; those inside lists are left out.
        purpose: what the comment in its first line says.
    """

    file: Path
    content: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    purpose: str = ""

    def place(self, path: str) -> str:
        """``conf/train.yaml:12`` of a key, or of the nearest key around it."""
        while path and path not in self.keys:
            path = path.rpartition(".")[0]
        return f"{shown(self.file)}:{self.keys[path].line}" if path else shown(self.file)


def header(file: Path) -> list[str]:
    """The sentences of the comment lines that a YAML file begins with; none where it can't be read."""
    found: list[str] = []
    try:
        with open(file, encoding="utf-8") as stream:
            while (line := stream.readline(1000)).startswith("#"):
                found.append(line.lstrip("# ").strip())
    except (OSError, UnicodeDecodeError):
        pass
    return found


def purpose(file: Path) -> str:
    """The sentence in a YAML file's first line; empty where there is none."""
    return next(iter(header(file)), "")


def read(file: Path) -> Document:
    """The document in a file.

    Raises:
        BadInput: it can't be read, is no UTF-8 or no valid YAML, is no mapping of texts to values, has a key twice,
            has a value that no config can have, or grows beyond ``MOST_NODES`` values, as one that repeats itself by
            aliases does.
    """
    text = _text(file)
    try:
        loader = yaml_loader()(text)
        node = loader.get_single_node()
        _measure(node, file)
        content = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{shown(file)}:{mark.line + 1}" if mark else shown(file)
        raise BadInput(Problem(f"no valid YAML: {getattr(error, 'problem', None) or error}", where)) from None
    except (ValueError, OverflowError) as error:
        raise BadInput(Problem(f"no valid YAML: {error}", shown(file))) from None
    except RecursionError:
        raise BadInput(Problem("nested too deeply to be a config", shown(file))) from None
    if content is None:
        content, node = {}, None
    if not isinstance(content, dict):
        raise BadInput(Problem("no mapping of keys to values", shown(file), "lines of key: value"))
    lines = text.splitlines()
    keys: dict[str, Key] = {}
    if node is not None:
        _collect(node, content, "", lines, keys)
    _refuse_unfit(content, keys, file)
    first = lines[0] if lines else ""
    return Document(file, content, keys, first.lstrip("# ").strip() if first.startswith("#") else "")


@functools.cache
def primary() -> Document:
    """``conf/train.yaml``, read once a process: several checks and all variants of a sweep ask for it."""
    return read(conf_folder() / "train.yaml")


def shipped(node: str) -> dict[str, Any]:
    """A node of ``conf/train.yaml`` as it is where nobody says anything; not to be changed."""
    found: dict[str, Any] = primary().content[node]
    return found


def read_option(file: Path) -> Document:
    """An option as it is composed: its own keys over those of the files beside it that its defaults name.

    Raises:
        BadInput: as ``read`` does.
    """
    own = read(file)
    content: dict[str, Any] = {}
    keys: dict[str, Key] = {}
    for name in own.content.get("defaults") or ["_self_"]:
        if name == "_self_":
            part = own
        elif isinstance(name, str):
            part = read_option(_option_file(name, file))
        else:
            continue  # an option of another group, which is an option of its own
        _lay_over(content, part.content)
        # a key that is set again keeps the sentence at it where the new place has none
        keys |= {
            path: replace(key, comment=key.comment or getattr(keys.get(path), "comment", ""))
            for path, key in part.keys.items()
        }
    content.pop("defaults", None)
    return replace(own, content=content, keys={path: one for path, one in keys.items() if path != "defaults"})


def _option_file(name: str, file: Path) -> Path:
    """The file of another option of the same group: beside this one, or, for one of a recipe, the shipped one."""
    beside = file.with_name(f"{name}.yaml")
    group = file.parent.as_posix().rpartition("/conf/")[2]
    return beside if beside.is_file() else conf_folder() / group / beside.name


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            below[key] = dict(below[key])
            _lay_over(below[key], value)
        else:
            below[key] = value


def _refuse_unfit(content: dict[str, Any], keys: Mapping[str, Key], file: Path) -> None:
    """Raise BadInput for a value that no config can have: a set, half an interpolation, a key that is no text."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        OmegaConf.create(content)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", None) or "")
        reason = str(error).split("\n", 1)[0]
        what = f"{key}: {reason}" if key else reason
        raise BadInput(Problem(what, Document(file, keys=dict(keys)).place(key))) from None


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            raise BadInput(Problem("not a file", shown(file)))
        with open(file, "rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(Problem(f"can't be read: {error.strerror}", shown(file))) from None
    if len(raw) > MOST_BYTES:
        raise BadInput(Problem(f"larger than a config can be ({MOST_BYTES:,} bytes)", shown(file)))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput(Problem("not in UTF-8", f"{shown(file)}:{line}", "save it as UTF-8")) from None


def _measure(node: Any, file: Path) -> None:
    """Raise BadInput for cycles, too much depth, and more values than a config can have, aliases written out."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def refused(what: str, node: Any) -> BadInput:
        return BadInput(Problem(what, f"{shown(file)}:{node.start_mark.line + 1}"))

    def size(node: Any, depth: int) -> int:
        if id(node) in open_nodes:
            raise refused("a value that contains itself", node)
        if depth > DEEPEST:
            raise refused("nested too deeply to be a config", node)
        if id(node) not in sizes:
            open_nodes.add(id(node))
            children: list[Any] = []
            if isinstance(node, yaml.MappingNode):
                children = [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
            open_nodes.remove(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise refused(f"more than {MOST_NODES:,} values: no config is that large", node)
        return sizes[id(node)]

    if node is not None:
        size(node, 0)


def _collect(node: Any, content: Any, prefix: str, lines: list[str], keys: dict[str, Key]) -> None:
    for key, value in node.value:
        name = key.value
        if name not in content:
            continue
        path = f"{prefix}.{name}" if prefix else str(name)
        number = key.start_mark.line
        keys[path] = Key(content[name], number + 1, _comment(lines, number, value))
        if isinstance(value, yaml.MappingNode) and isinstance(content[name], dict):
            _collect(value, content[name], path, lines, keys)


def _comment(lines: list[str], number: int, value: Any) -> str:
    """The comment after a key's value, or else in the lines right above it; the file's first line is its own."""
    end = value.end_mark
    if isinstance(value, yaml.ScalarNode) or end.line == number:
        after = lines[end.line][end.column :].strip() if end.line < len(lines) else ""
        if after.startswith("#"):
            return after.lstrip("# ")
    above: list[str] = []
    for line in range(number - 1, 0, -1):
        text = lines[line].strip()
        if not re.match(r"#\s*\S", text):
            break
        above.insert(0, text.lstrip("# "))
    return " ".join(above)

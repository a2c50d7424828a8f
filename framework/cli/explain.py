"""What there is to choose and what it means, read from the registry and the config files: the texts of ``show``."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from framework.cli import bases_table
from framework.cli.compose import Composed
from framework.cli.origins import Place
from framework.config import documents
from framework.config.checks import INNER, NAMED, PLAIN, SINGLE
from framework.config.folders import conf_folder, groups, shown
from framework.config.kinds import kinds as config_kinds
from framework.config.recipes import Bundle
from framework.config.settings import PartSettings
from framework.core import registry, schema
from framework.core.errors import BadInput, Problem, nearest, suggestion

WIDTH = 110
KINDS = {
    **{group: kind for group, (kind, _) in SINGLE.items()},
    **NAMED,
    **{f"{group}/{INNER[record]}": INNER[record] for group, (_, record) in SINGLE.items() if record in INNER},
    "augment": "augmentation",
}


@dataclass(frozen=True)
class Chosen:
    """A node of an option's file that names a part, and the keys' prefix there."""

    part: registry.Part
    prefix: str
    document: documents.Document


@dataclass(frozen=True)
class Entry:
    """A key of the config.

    Attributes:
        path: dotted, as it is typed.
        value: the default one, as YAML; empty where no option sets one.
        takes: its type in words.
        says: what the comment at it says.
    """

    path: str
    value: str
    takes: str
    says: str


def keys_of(file: Path, group: str = "") -> list[Entry]:
    """Every key that a file of ``conf`` sets, those of the files that it builds on among them.

    Args:
        file: an option of a group, or a file of keys of all groups.
        group: whose option it is; empty for none.
    """
    document = documents.read_option(file) if group else documents.read(file)
    nodes = _nodes(document, KINDS.get(group))
    if nodes:
        return [entry for node in nodes for entry in _entries({**_common(group), **node.part.parameters}, node, group)]
    prefix = f"{group.replace('/', '.')}." if group else ""
    types = {path: config_kinds(f"{prefix}{path}") for path in document.keys if path.split(".")[0] != "defaults"}
    return [
        Entry(
            f"{prefix}{path}",
            _yaml(document.keys[path].value),
            " or ".join(dict.fromkeys(map(schema.describe, kinds))),
            document.keys[path].comment,
        )
        for path, kinds in types.items()
        if kinds
    ]


def kinds() -> Iterator[str]:
    """Every kind of part with its parts, then the groups that name no part."""
    for group, kind in KINDS.items():
        yield f"{group.replace('/', '.')} - {kind}: {registry.KINDS[kind]}"
        for part in registry.parts(kind):
            yield from _columns(part.name, part.summary, 20)
        yield ""
    for group, options in groups().items():
        if group not in KINDS:
            yield group
            for option in options:
                yield from _columns(option, documents.purpose(_file(group, option)), 20)
            yield ""
    yield "show GROUP for its options and parameters, show GROUP=OPTION for one, show KEY for where a value comes from"


def group_of(name: str) -> str | None:
    """The group that a name means: its own, with a dot for the slash, or its kind's."""
    plain = name.replace(".", "/")
    by_kind = {kind: group for group, kind in KINDS.items()}
    return plain if plain in groups() else by_kind.get(name)


def group(name: str, bundle: Bundle) -> Iterator[str]:
    """A group's options, and the parameters of every part that they name."""
    options = _options(name, bundle)
    kind = KINDS.get(name)
    yield f"{name.replace('/', '.')}" + (f" - {kind}: {registry.KINDS[kind]}" if kind else "")
    yield ""
    yield "options"
    if kind == "base":
        yield from bases_table.lines(options, {})
    else:
        for option, file in options.items():
            yield from _columns(option, documents.purpose(file), 20)
    if kind is None:
        return
    seen: dict[str, Chosen] = {}
    # the option that has a part's own name tells its defaults best
    for option in sorted(options, key=lambda option: option not in registry.names(kind)):
        for chosen in _nodes(documents.read_option(options[option]), kind):
            seen.setdefault(chosen.part.name, chosen)
    common = _common(name)
    if common:
        yield ""
        yield f"{name.replace('/', '.')}: keys of every {kind}"
        first = next((chosen for chosen in seen.values()), None)
        yield from _parameters(common, first, name)
    for part in registry.parts(kind):
        if part.parameters:
            yield ""
            yield f"{kind} '{part.name}'  {_location(part)}"
            yield from _parameters(part.parameters, seen.get(part.name), name)
    plain = [part.name for part in registry.parts(kind) if not part.parameters]
    if plain:
        yield ""
        yield from textwrap.wrap(f"without parameters: {', '.join(plain)}", WIDTH, subsequent_indent="  ")


def bases(bundle: Bundle, given: Mapping[str, str]) -> Iterator[str]:
    """The bases as a table alone, sorted, filtered or in a form for programs.

    Raises:
        BadInput: there is no such column or format, or a condition makes no sense.
    """
    return bases_table.lines(_options("model", bundle), given)


def option(group: str, name: str, bundle: Bundle) -> Iterator[str]:
    """One option: its file, what it sets, and the part that it names with its place in the source.

    Raises:
        BadInput: there is no such option.
    """
    options = _options(group, bundle)
    if name not in options:
        right = f"show {group.replace('/', '.')}={suggestion(name, list(options))}"
        raise BadInput(Problem(f"there is no {group} '{name}'", f"command line: {group}={name}", right))
    document = documents.read_option(options[name])
    yield f"{group.replace('/', '.')}={name}  {shown(document.file)}"
    yield f"  {document.purpose}"
    kind = KINDS.get(group)
    nodes = _nodes(document, kind)
    for chosen in nodes:
        yield ""
        yield f"{kind} '{chosen.part.name}'  {_location(chosen.part)}"
        yield from textwrap.indent(inspect.getdoc(chosen.part.function) or "", "  ").splitlines()
        types = {**_common(group), **chosen.part.parameters}
        if types:
            yield ""
            yield from _parameters(types, chosen, group)
    if not nodes:
        yield ""
        yield from _sets(document)


def recipe(name: str, bundle: Bundle) -> Iterator[str]:
    """A recipe: its file, what it sets and chooses, and what it brings."""
    document = bundle.documents[name]
    yield f"recipe={name}  {shown(document.file)}"
    yield f"  {document.purpose}"
    yield ""
    yield from _sets(document)
    for group, options in bundle.options.items():
        for option, file in options.items():
            yield f"  brings {group.replace('/', '.')}={option}  {shown(file)}"


def _sets(document: documents.Document) -> Iterator[str]:
    for entry in document.content.get("defaults") or []:
        yield f"  {_yaml(entry)}" if isinstance(entry, str) else "".join(f"  {key}: {entry[key]}" for key in entry)
    for path, key in document.keys.items():
        if not isinstance(key.value, Mapping) and path.split(".")[0] != "defaults":
            yield from _columns(f"{path}: {_yaml(key.value)}", key.comment, 34)


def origin(path: str, composed: Composed) -> Iterator[str]:
    """Where a value, or each value of a node, comes from, and what it overrode.

    Raises:
        BadInput: the config has no such key.
    """
    value = _select(composed.config, path)
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from origin(f"{path}.{key}", composed)
        return
    yield f"{path} = {schema.show(value)}"
    for number, place in enumerate(reversed(composed.origins.places.get(path, []))):
        yield _place("set by" if number == 0 else "over", place, number > 0)
    yield from _followed(path, composed)


def _followed(path: str, composed: Composed) -> Iterator[str]:
    """Where the value comes from that an interpolation takes."""
    places = composed.origins.places.get(path, [])
    written = places[-1].value if places else None
    while isinstance(written, str) and written.startswith("${") and written.endswith("}"):
        key = written[2:-1]
        places = composed.origins.places.get(key, [])
        if not places:
            return
        yield _place("from", places[-1], True, f"{key} ")
        written = places[-1].value


def _place(word: str, place: Place, with_value: bool, before: str = "") -> str:
    value = f"{before}{schema.show(place.value)}  " if with_value or _interpolated(place.value) else ""
    chosen = f"  (chosen by {place.chosen})" if place.chosen else ""
    return f"  {word:<7} {value}{place.where}{chosen}"


def _interpolated(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def resolved(composed: Composed) -> Iterator[str]:
    """The whole resolved config as YAML, behind each value where it was set."""
    lines = list(_lines(composed.config, "", 0, composed))
    width = min(60, max(len(line) for line, _ in lines))
    for line, where in lines:
        yield f"{line:<{width}}  # {where}" if where else line


def _lines(node: Mapping[str, Any], prefix: str, depth: int, composed: Composed) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield f"{'  ' * depth}{key}:", ""
            yield from _lines(value, f"{path}.", depth + 1, composed)
        else:
            yield f"{'  ' * depth}{key}: {_yaml(value)}", composed.origins.of(path)


def _select(config: Mapping[str, Any], path: str) -> Any:
    node: Any = config
    for name in path.split("."):
        if not isinstance(node, Mapping) or name not in node:
            keys = list(_keys(config, ""))
            near = nearest(path, keys)
            right = near or suggestion(path, [*groups(), "config"])
            raise BadInput(Problem(f"there is no key, group or kind '{path}'", f"command line: {path}", right))
        node = node[name]
    return node


def _keys(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def _file(group: str, option: str) -> Path:
    return conf_folder() / group / f"{option}.yaml"


def _options(group: str, bundle: Bundle) -> dict[str, Path]:
    shipped = {name: _file(group, name) for name in groups()[group]}
    return {**shipped, **bundle.options.get(group, {})}


@functools.cache
def _common(group: str) -> dict[str, Any]:
    """Types of the framework's own keys of a group, those that each of its options has."""
    record = SINGLE[group][1] if group in SINGLE else PLAIN.get(group, PartSettings)
    # what conf/train.yaml says for every option is not an option's to say
    usual = documents.primary().content.get(group) or {}
    left_out = ("name", "parameters", INNER.get(record), *usual)
    return {key: kind for key, kind in schema.fields(record).items() if key not in left_out}


def _nodes(document: documents.Document, kind: str | None) -> list[Chosen]:
    """The nodes of an option that name a part: the option itself, or each of its entries."""
    content = document.content
    nodes = {"": content} if "name" in content else {f"{key}.": node for key, node in content.items()}
    return [
        Chosen(registry.get(kind, node["name"]), prefix, document)
        for prefix, node in nodes.items()
        if kind and isinstance(node, Mapping) and node.get("name") in registry.names(kind)
    ]


def _entries(types: Mapping[str, Any], chosen: Chosen | None, group: str) -> Iterator[Entry]:
    for name, kind in types.items():
        key = chosen.document.keys.get(f"{chosen.prefix}{name}") if chosen else None
        path = f"{group.replace('/', '.')}.{chosen.prefix if chosen else ''}{name}"
        yield Entry(path, _yaml(key.value) if key else "", schema.describe(kind), key.comment if key else "")


def _parameters(types: Mapping[str, Any], chosen: Chosen | None, group: str) -> Iterator[str]:
    for entry in _entries(types, chosen, group):
        says = entry.takes + (f"; {entry.says}" if entry.says else "")
        yield from _columns(f"{entry.path}={entry.value or '(no option sets it)'}", says, 40)


def _location(part: registry.Part) -> str:
    file, line = part.location
    return f"{shown(Path(file))}:{line}"


def _columns(left: str, right: str, width: int) -> list[str]:
    first = f"  {left:<{width}} "
    later = " " * (width + 3)
    if len(left) > width:
        return [f"  {left}", *textwrap.wrap(right, WIDTH, initial_indent=later, subsequent_indent=later)]
    return textwrap.wrap(f"{first}{right}", WIDTH, subsequent_indent=later, break_on_hyphens=False) or [first.rstrip()]


def _yaml(value: Any) -> str:
    """A value as it is written in YAML, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()

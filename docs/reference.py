"""The pages of the documentation that are made of the code: of conf/, of the commands' help and of the public names.

    python -m docs.reference

writes docs/reference/, which is no part of the repository, and what other pages take in, to build/docs/. Nothing heavy
is loaded.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import framework
import framework.parts
from framework.__main__ import COMMANDS
from framework.cli import bases_table, explain
from framework.cli.options import help_text
from framework.config import documents
from framework.config.folders import conf_folder, groups
from framework.core import registry

FOLDER = Path(__file__).with_name("reference")
TAKEN_IN = FOLDER.parents[1] / "build" / "docs"
SOURCE = re.compile(r"https?://[^\s,;)]+")


def main() -> None:
    """Write every page anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, text in pages().items():
        _write(FOLDER / name, text)
    _write(TAKEN_IN / "bases.md", bases())


def pages() -> dict[str, str]:
    """Every page, by its place in the folder."""
    found = {"settings.md": settings(), "options.md": overview(), "commands.md": commands(), "python.md": python()}
    return found | {f"options/{_dotted(group)}.md": group_page(group) for group in groups()}


def settings() -> str:
    """Every key that holds whatever is chosen, from ``conf/train.yaml``, by its first word."""
    file = conf_folder() / "train.yaml"
    sections: dict[str, list[explain.Entry]] = {}
    for entry in explain.keys_of(file):
        sections.setdefault(entry.path.partition(".")[0], []).append(entry)
    lines = [
        "# Settings",
        "",
        "What `conf/train.yaml` says for every run, whatever is chosen. Set any of it on the command line: `key=value`. The",
        "keys of an option, such as the `dropout` of a head, are on [the pages of the groups](options.md).",
    ]
    for section, entries in sections.items():
        lines += ["", f"## {section}", ""]
        # of a key that is no node the table says it
        if entries[0].path != section and (says := documents.read(file).keys[section].comment):
            lines += [f"{_plain(says).capitalize()}.", ""]
        lines += _table(entries)
    return "\n".join(lines)


def overview() -> str:
    """Every group with its options."""
    lines = [
        "# Options",
        "",
        "A group is a choice that each run makes; an option is what can be chosen. `group=option` chooses: `head=mlp`.",
        "`python -m framework.show GROUP` prints the same in a terminal, with what your own recipes add.",
    ]
    for group, options in groups().items():
        name = _dotted(group)
        lines += ["", f"## {name}", "", f"{_what(group)}[All keys of {name}](options/{name}.md).", ""]
        lines += ["| option | what it is |", "|---|---|"]
        for option in options:
            says = _plain(documents.purpose(conf_folder() / group / f"{option}.yaml"))
            lines.append(f"| [{option}](options/{name}.md#{option}) | {says} |")
    return "\n".join(lines)


def group_page(group: str) -> str:
    """The options of a group, with every key."""
    name = _dotted(group)
    lines = [f"# {name}", "", f"{_what(group)}Choose with `{name}=OPTION`."]
    for option in groups()[group]:
        file = conf_folder() / group / f"{option}.yaml"
        lines += ["", f"## {option}", "", _plain(documents.purpose(file)), ""]
        if said := _of_part(group, file):
            lines += [said, ""]
        lines += _table(explain.keys_of(file, group)) or ["It has no keys of its own."]
        lines += ["", f"From `conf/{group}/{option}.yaml`."]
    return "\n".join(lines)


def commands() -> str:
    """What each command says of itself."""
    lines = [
        "# Commands",
        "",
        "What `python -m framework.NAME --help` prints; of commands that take what `train` takes, ",
    ]
    lines += ["its first part: their keys are [the settings](settings.md) and [the options](options.md)."]
    for name in COMMANDS:
        module = import_module(f"framework.{name}")
        usage = inspect.cleandoc(module.USAGE)
        own = getattr(module, "Options", None)
        text = help_text(usage, own) if own is not None and "overrides" not in usage.splitlines()[0] else usage
        lines += ["", f"## {name}", "", "```text", text, "```"]
    return "\n".join(lines)


def python() -> str:
    """The public names, of which mkdocstrings writes what their docstrings say."""
    lines = ["# Python", "", "What `import framework` offers; [how to use it](../how-to/python.md)."]
    for name in framework.__all__:
        home = getattr(framework, name).__module__
        lines += ["", f"::: {home}.{name}", "    options:", f"      heading: framework.{name}"]
    return "\n".join(lines)


def bases() -> str:
    """The table of bases, as ``show model`` has it."""
    options = {name: conf_folder() / "model" / f"{name}.yaml" for name in groups()["model"]}
    columns = [name for name in bases_table.SHOWN if name != "here"]
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    for row in bases_table.rows(options):
        first, *rest = (bases_table.cell(row, name) for name in columns)
        lines.append(f"| [{first}](reference/options/model.md#{first}) | {' | '.join(rest)} |")
    return "\n".join(lines)


def _table(entries: list[explain.Entry]) -> list[str]:
    lines = ["| key | default | takes | what it does |", "|---|---|---|---|"]
    for entry in entries:
        lines.append(f"| `{entry.path}` | `{entry.value}` | {_plain(entry.takes)} | {_plain(entry.says)} |")
    return lines if entries else []


def _what(group: str) -> str:
    kind = explain.KINDS.get(group)
    return f"{_plain(registry.KINDS[kind])} " if kind else ""


def _of_part(group: str, file: Path) -> str:
    """What the docstring of the part says that an option names; of an option that names several, nothing."""
    kind, name = explain.KINDS.get(group), documents.read_option(file).content.get("name")
    part = registry.get(kind, name) if kind and name in registry.names(kind) else None
    said = (inspect.getdoc(part.function) or "") if part else ""
    return "\n\n".join(_plain(" ".join(paragraph.split())) for paragraph in said.split("\n\n"))


def _dotted(group: str) -> str:
    return group.replace("/", ".")


def _plain(text: str) -> str:
    """A text in which Markdown reads no marks, with its addresses as links and names of code as code."""
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    for piece in re.split(r"(``.+?``|https?://[^\s,;)]+)", text):
        if piece.startswith("``"):
            yield piece.strip("`").join("``").replace("|", "\\|")
        elif SOURCE.fullmatch(piece):
            yield f"<{piece}>"
        else:
            yield re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", piece)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Help texts, made from the config folder itself so that they can't fall behind it; nothing heavy is loaded."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from framework.cli.compose import groups
from framework.config.folders import conf_folder
from framework.config.recipes import names

WIDTH = 100


def as_called(text: str) -> str:
    """A text that names commands as ``python -m framework.lr_find``, with ``framework-lr-find`` where one is used so."""
    if not Path(sys.argv[0]).name.startswith("framework-"):
        return text
    return re.sub(r"python -m framework\.(\w+)", lambda found: f"framework-{found[1].replace('_', '-')}", text)


def overview(usage: str) -> str:
    """Help of a command that takes overrides: its own text, then every group with its options and every key."""
    lines = [usage.strip(), "", "Groups (swap one by group=option):"]
    for group, options in {**groups(), "recipe": names()}.items():
        lines += _options(group, options)
    lines += ["", "Keys (set one by key=value; a group's options have more, show the whole by --cfg job):"]
    lines += _keys(conf_folder() / "train.yaml")
    lines += [
        "",
        "Flags:",
        "  -m, --multirun    sweep: try every combination of comma-separated values",
        "  --cfg job         print the composed config and stop",
        "  --help            this text",
    ]
    return "\n".join(lines)


def _options(group: str, options: list[str]) -> list[str]:
    return textwrap.wrap(
        ", ".join(options), WIDTH, initial_indent=f"  {group:<16} ", subsequent_indent=" " * 19, break_on_hyphens=False
    )


def _keys(file: Path) -> list[str]:
    """Keys of a commented YAML file with two levels, each with its comment."""
    lines: list[str] = []
    section, comment = "", ""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment = text.removeprefix("#").strip()
        elif line and not line.startswith(" "):
            section, comment = text.rstrip(":"), ""
        elif section not in ("defaults", "hydra", "stage") and line.startswith("  ") and ":" in text:
            key, _, value = text.partition(":")
            entry = f"{section}.{key}={value.strip()}"
            lines.append(f"  {entry:<38} {comment}".rstrip())
            comment = ""
    return lines

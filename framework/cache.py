"""List, verify and clear the kept features of frozen bases."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from framework.cli.options import Words, run_with_options
from framework.core.console import amount, say
from framework.core.errors import DONE, FAILED, BadInput, Problem, suggestion
from framework.core.schema import PathText
from framework.features import upkeep

USAGE = """
python -m framework.cache [list|verify|clear] [options]

Features are the output of a frozen base, kept for every image so that it is computed once.

  python -m framework.cache                       what is kept, last used first
  python -m framework.cache verify                read everything and remove what is damaged (exit code 1)
  python -m framework.cache clear keys=[3f2a]     remove what begins so; all of it without keys
"""

COMMANDS = ("list", "verify", "clear")


@dataclass(frozen=True)
class Options:
    """What the command takes."""

    command: Annotated[list[str], Words("list|verify|clear"), "what to do; list by default"]
    keys: Annotated[list[str] | None, "only keys that begin so; null for all"] = None
    dir: Annotated[PathText | None, "the cache's folder; null for that of the user"] = None
    format: Annotated[Literal["table", "csv"], "how to list"] = "table"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit code."""
    return run_with_options(USAGE, Options, run, arguments)


def run(options: Options) -> int:
    """List, verify or clear."""
    word = options.command[0] if options.command else "list"
    if word not in COMMANDS or len(options.command) > 1:
        given = " ".join(options.command)
        raise BadInput(
            Problem(f"'{given}' is none of the things to do", f"command line: {given}", suggestion(word, COMMANDS))
        )
    root = upkeep.root_folder(options.dir)
    entries = upkeep.listing(root)
    keys = _chosen([entry.key for entry in entries], options.keys)
    if word == "list":
        _list([entry for entry in entries if entry.key in keys], options.format)
        return DONE
    if word == "verify":
        faults = upkeep.verify(root, keys)
        for path, fault in faults:
            print(f"removed {path}: {fault}")
        say(f"{len(keys)} kept sets of features verified, {len(faults)} damaged files removed")
        return FAILED if faults else DONE
    freed, left = upkeep.clear(root, keys)
    say(f"{amount(freed)} freed" + (f"; in use and left: {', '.join(left)}" if left else ""))
    return DONE


def _chosen(known: Sequence[str], prefixes: Sequence[str] | None) -> list[str]:
    """The keys that begin with any of the prefixes.

    Raises:
        BadInput: a prefix that no key begins with.
    """
    if prefixes is None:
        return list(known)
    missing = [prefix for prefix in prefixes if not any(key.startswith(prefix) for key in known)]
    if missing:
        raise BadInput(
            Problem(
                f"no kept features begin with '{prefix}'", f"command line: keys={prefix}", suggestion(prefix, known)
            )
            for prefix in missing
        )
    return [key for key in known if any(key.startswith(prefix) for prefix in prefixes)]


def _list(entries: Sequence[upkeep.KeptFeatures], form: str) -> None:
    columns = ("key", "base", "cut", "size", "images", "bytes", "last used", "in use")
    rows = [
        (
            entry.key if form == "csv" else entry.key[:8],
            str(entry.about.get("base", "")),
            str(entry.about.get("cut", "")),
            "×".join(map(str, entry.about.get("size", ""))),
            str(entry.images) if form == "csv" else f"{entry.images:,}",
            str(entry.bytes) if form == "csv" else amount(entry.bytes),
            datetime.fromtimestamp(entry.last_used).isoformat(" ", "minutes"),
            "yes" if entry.in_use else "",
        )
        for entry in entries
    ]
    if form == "csv":
        import csv

        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    # a narrow terminal breaks lines, it does not lose words
    Console(highlight=False, width=max(shutil.get_terminal_size().columns, 100)).print(table)
    say(f"{len(entries)} kept sets of features, {amount(sum(entry.bytes for entry in entries))}")


if __name__ == "__main__":
    sys.exit(main())

"""List, verify and clear what is kept: features of frozen bases, and images that a program gave as arrays."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from framework.cli.options import Words, run_with_options
from framework.core.console import amount, say
from framework.core.errors import DONE, FAILED, BadInput, Problem, many, suggestion
from framework.core.schema import PathText
from framework.data import arrays
from framework.features import upkeep

USAGE = """
python -m framework.cache [list|verify|clear] [options]

Features are the output of a frozen base, kept for every image so that it is computed once. With what=arrays it is about
the images that framework.fit(data=(images, labels)) has laid down as files, which stay until they are cleared here; a run
on cleared ones can be used, and not resumed or evaluated until the same arrays are given again.

  python -m framework.cache                       what is kept, last used first
  python -m framework.cache verify                read everything and remove what is damaged (exit code 1)
  python -m framework.cache clear keys=[3f2a]     remove what begins so; all of it without keys
  python -m framework.cache clear what=arrays     remove the images of arrays
"""

COMMANDS = ("list", "verify", "clear")


@dataclass(frozen=True)
class Options:
    """What the command takes."""

    command: Annotated[list[str], Words("list|verify|clear"), "what to do; list by default"]
    what: Annotated[Literal["features", "arrays"], "features of frozen bases, or images of arrays"] = "features"
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
    return _arrays(word, options) if options.what == "arrays" else _features(word, options)


def _features(word: str, options: Options) -> int:
    root = upkeep.root_folder(options.dir)
    entries = upkeep.listing(root)
    keys = _chosen([entry.key for entry in entries], options.keys, "kept features")
    if word == "list":
        _list([entry for entry in entries if entry.key in keys], options.format)
        if options.format == "table" and (laid := arrays.listing_of_kept()):
            say(f"{many(len(laid), 'set')} of images of arrays: python -m framework.cache what=arrays")
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


def _arrays(word: str, options: Options) -> int:
    if word == "verify":
        raise BadInput(Problem("verify is for features", "command line: verify what=arrays", "verify"))
    entries = arrays.listing_of_kept()
    keys = _chosen([entry.key for entry in entries], options.keys, "images of arrays")
    if word == "clear":
        say(f"{amount(arrays.clear(keys if options.keys else None))} freed")
        return DONE
    shown = [entry for entry in entries if entry.key in keys]
    plain = options.format == "csv"
    rows = [
        (
            entry.key if plain else entry.key[:8],
            str(entry.images) if plain else f"{entry.images:,}",
            str(entry.bytes) if plain else amount(entry.bytes),
            _moment(entry.last_used),
        )
        for entry in shown
    ]
    _print(("key", "images", "bytes", "last used"), rows, options.format)
    return DONE


def _chosen(known: Sequence[str], prefixes: Sequence[str] | None, what: str) -> list[str]:
    """The keys that begin with any of the prefixes.

    Raises:
        BadInput: a prefix that no key begins with.
    """
    if prefixes is None:
        return list(known)
    missing = [prefix for prefix in prefixes if not any(key.startswith(prefix) for key in known)]
    if missing:
        raise BadInput(
            Problem(f"no {what} begin with '{prefix}'", f"command line: keys={prefix}", suggestion(prefix, known))
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
            _moment(entry.last_used),
            "yes" if entry.in_use else "",
        )
        for entry in entries
    ]
    _print(columns, rows, form)
    if form == "table":
        say(f"{len(entries)} kept sets of features, {amount(sum(entry.bytes for entry in entries))}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> None:
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


if __name__ == "__main__":
    sys.exit(main())

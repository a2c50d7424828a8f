"""Image files from words on a command line: files, folders, globs, and ``-`` for paths on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence

from framework.core.errors import BadInput, Problem, nearest
from framework.core.files import fitting
from framework.data import containers, remote
from framework.data.folders import Tally, Unused, is_foreign, is_image

STDIN = "-"


def here(words: Sequence[str]) -> list[str]:
    """The words with the paths of copies in place of addresses; raises as ``data.remote.local``."""
    return [
        remote.local(word, remote.usual_limit(), "command line") if remote.is_address(word) else word for word in words
    ]


def check(words: Sequence[str]) -> None:
    """Look at the words before anything heavy is loaded.

    A file that is missing among others is left for later, where it is named and the others are predicted.

    Raises:
        BadInput: there is no word, or none of them leads to a file.
    """
    if not words:
        right = "an image, a folder, '*.jpg', or - for paths on standard input"
        raise BadInput(Problem("no image is given", "command line", right))
    if STDIN in words or any(_leads_somewhere(word) for word in words):
        return
    raise BadInput(Problem(f"there is no image in {word}", "command line", _near(word)) for word in words)


def files(words: Sequence[str]) -> Iterator[str]:
    """Image files one by one, in the order of the words, folders and globs in the order of their names.

    A file that is named, by itself or on standard input, is taken whatever it is called; from folders and their
    folders only what has an image's ending.
    """
    for word in words:
        if word == STDIN:
            for line in sys.stdin.buffer:
                if name := os.fsdecode(line).rstrip("\r\n"):
                    yield name
            continue
        for path in _expand(word):
            if containers.is_folder(path):
                yield from _below(path)
            else:
                yield path


def count(words: Sequence[str]) -> int | None:
    """How many files there will be, or None where standard input is among the words."""
    return None if STDIN in words else sum(1 for _ in files(words))


def unused(words: Sequence[str]) -> tuple[Unused, ...]:
    """What lies in the folders among the words and is no image, by kind."""
    tally = Tally()
    for folder in (path for word in words if word != STDIN for path in _expand(word) if containers.is_folder(path)):
        for _ in _below(folder, tally):
            pass
    return tally.unused


def _expand(word: str) -> list[str]:
    path = os.path.expanduser(word)
    if os.path.exists(path) or not glob.has_magic(path):
        return [path]
    return fitting(path)


def _below(folder: str, tally: Tally | None = None) -> Iterator[str]:
    """Images in a folder by name, then those in its folders; what is none is counted."""
    inside = []
    try:
        entries = sorted(containers.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        if tally is not None:
            tally.add_unlisted(folder)
        return
    for entry in entries:
        if is_image(entry):
            yield entry.path
        elif entry.is_dir(follow_symlinks=False) and not is_foreign(entry.name):
            inside.append(entry.path)
        elif tally is not None:
            tally.add(entry)
    for path in inside:
        yield from _below(path, tally)


def _leads_somewhere(word: str) -> bool:
    return any(
        next(_below(path), None) is not None if containers.is_folder(path) else containers.is_file(path)
        for path in _expand(word)
    )


def _near(word: str) -> str:
    folder, name = os.path.split(os.path.abspath(os.path.expanduser(word)))
    near = nearest(name, os.listdir(folder)) if os.path.isdir(folder) and not glob.has_magic(word) else None
    return os.path.join(folder, near) if near else "an image, a folder, or a glob in quotes"

"""Data in several files: which they are, and which split each belongs to by its name."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterator, Sequence

from framework.core.errors import BadInput, Problem, listing, many, nearest
from framework.core.files import DEEP, fitting
from framework.core.names import short
from framework.data import folders
from framework.data.folders import is_foreign

WHERE = "data.files"
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_TOLD = 20  # missing files that are told before the rest is looked for
_MOST = 10**6  # files that a word may stand for


def shard_files(words: str | Sequence[str], endings: str) -> list[str]:
    """Files in the order of their names.

    Args:
        words: a file, a folder of such and all below it, a glob, ``{000..127}`` or ``{train,validation}`` in it, or several.
        endings: a regular expression that the names of files end as, in folders.

    Raises:
        BadInput: there are none, or one is missing.
    """
    files: list[str] = []
    problems = []
    for word in [words] if isinstance(words, str) else words:
        for path in map(os.path.abspath, map(os.path.expanduser, expanded(word))):
            if os.path.isdir(path):
                found = sorted(_below(path, endings))
            elif glob.has_magic(path) and not os.path.exists(path):
                found = [one for one in fitting(path) if os.path.isfile(one)]
            else:
                found = [path] if os.path.isfile(path) else []
            if not found:
                problems.append(_none(path, endings))
                if len(problems) == _TOLD:
                    raise BadInput(problems)
            files += found
    if problems:
        raise BadInput(problems)
    again = sorted({file for file in files if files.count(file) > 1}) if len(set(files)) < len(files) else []
    if again:
        raise BadInput(
            Problem(f"data.files names {many(len(again), 'file')} twice: {listing(again, 3)}", WHERE, "once")
        )
    return files


def expanded(word: str) -> Iterator[str]:
    """Braces written out: ``a-{08..11}`` as ``a-08``, ``a-09``, ``a-10``, ``a-11``; as a shell does, and WebDataset."""
    word = DEEP.sub("**/", word)  # each more would multiply what a store looks at
    found = _BRACES.search(word)
    if found is None:
        yield word
        return
    if math.prod(len(_parts(one[1])) for one in _BRACES.finditer(word)) > _MOST:
        raise BadInput(Problem(f"{short(word, 80)} stands for more than {_MOST:,} files", WHERE, "{000..127}"))
    for part in _parts(found[1]):
        yield from expanded(word[: found.start()] + part + word[found.end() :])


def _parts(inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if not 0 <= last - first < _MOST:
        raise BadInput(Problem(f"{{{inside}}} is no range of files", WHERE, "{000..127}"))
    return [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]


def _below(folder: str, endings: str) -> Iterator[str]:
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if not is_foreign(name)]
        yield from (os.path.join(place, name) for name in names if re.search(endings, name) and name[0] != ".")


def _none(path: str, endings: str) -> Problem:
    if os.path.isdir(path):
        return Problem(
            f"{path} has no file whose name fits '{endings}'", WHERE, "the folder of the files, or their names"
        )
    folder, name = os.path.split(path)
    near = nearest(name, os.listdir(folder)) if os.path.isdir(folder) else None
    what = f"no file fits {path}" if glob.has_magic(path) else f"there is no file {path}"
    return Problem(what, WHERE, os.path.join(folder, near) if near else "files, a folder of them, or a glob")


def common_folder(files: Sequence[str]) -> str:
    """The folder that all lie below."""
    return os.path.commonpath([os.path.dirname(file) for file in files])


def split_of_each(files: Sequence[str]) -> list[str]:
    """The split of each file by its name, or by the folder it lies in (``train-00000-of-00002``, ``validation/0.parquet``);
    all are ``train`` where none is called after one.

    Raises:
        BadInput: some are and some are not, or none is to train on.
    """
    root = common_folder(files)
    found = [_split_of(os.path.relpath(file, root)) for file in files]
    if not any(found):
        return ["train"] * len(files)
    without = [os.path.basename(file) for file, split in zip(files, found, strict=True) if split is None]
    if without:
        what = (
            f"{many(len(without), 'file')} {'is' if len(without) == 1 else 'are'} called after no split, and others are"
        )
        raise BadInput(Problem(f"{what}: {listing(without, 3)}", WHERE, "train, validation or test in each name"))
    if "train" not in found:
        what = f"there are files for {' and '.join(sorted({str(split) for split in found}))}, and none to train on"
        raise BadInput(Problem(what, WHERE, "files with train in their names too"))
    return [str(split) for split in found]


def _split_of(path: str) -> str | None:
    names = reversed(path.split(os.sep))
    return next((split[1] for split in map(folders.split_in, names) if split), None)


def origin_of(files: Sequence[str]) -> str:
    """What the banner calls them: the file, or the folder of several."""
    return files[0] if len(files) == 1 else common_folder(files)

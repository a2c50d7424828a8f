"""Rows of features in place of images, as ``framework.embed`` writes them: Parquet files, read a row group at a time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many
from framework.core.task import Labels
from framework.data import folders, memo, shards
from framework.data.classified import images_of
from framework.data.images import Images, Split, to_draw
from framework.data.labels import class_name
from framework.data.selection import take
from framework.data.shards import WHERE

ENDING = r"\.parquet$"
MADE = b"framework"  # key of a file's metadata that says by what its features were made
COLUMNS = ("path", "split", "label", "features")
NUMBERS = {"float": "float32", "halffloat": "float16"}  # as Arrow and as NumPy call them
_RIGHT = "a file that python -m framework.embed of this version has written"
_PIECE = 8 << 20


@dataclass(frozen=True)
class Embedded:
    """The features of images, which none of them need be there for.

    Attributes:
        files: Parquet files.
        rows: of each image, by its path, the number of its row, counted over all files in their order.
        size: numbers an image.
        dtype: which: ``float32`` or ``float16``.
        made: by what they were made, as ``framework.embed`` writes it: ``model``, ``pooling``, ``geometry``, ``cut``,
            ``weights``, ``classes`` and ``words``.
    """

    files: tuple[str, ...]
    rows: Mapping[str, int] = field(repr=False)
    size: int
    dtype: str
    made: Mapping[str, Any]

    def digests(self) -> list[str]:
        """Of each file's contents (BLAKE2b, 16 bytes, hexadecimal); an unchanged file is not read again."""
        return memo.remembered(self.files, "features", lambda files: list(map(_digest, files)))

    def read(self, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of rows, int64 (rows,), with their features (rows, ``size``); a row group is in memory at a time.

        Args:
            wanted: numbers of rows, ascending.

        Raises:
            BadInput: a file is damaged.
        """
        first = 0
        for path in self.files:
            with _opened(path) as file:
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    start, stop = np.searchsorted(wanted, (first, first + count))
                    rows, first = wanted[start:stop] - first, first + count
                    if len(rows):
                        yield wanted[start:stop], self._group(path, file, group)[rows]

    def _group(self, path: str, file: Any, group: int) -> np.ndarray:
        import pyarrow

        try:
            column = file.read_row_group(group, columns=["features"]).column(0).combine_chunks()
        except (OSError, pyarrow.ArrowException) as error:
            raise BadInput(_damaged(path, error)) from None
        values = column.flatten()
        if column.null_count or values.null_count or len(values) != len(column) * self.size:
            raise BadInput(Problem(f"{path} has rows without features", WHERE, _RIGHT))
        return np.asarray(values.to_numpy(zero_copy_only=False), self.dtype).reshape(-1, self.size)


def list_embedded(files: str | Sequence[str], labels: Labels, validation: float, test: float) -> Images:
    """The rows of some files as images, called as the images were that they were made of, in the splits that they name.

    Raises:
        BadInput: a file is missing, is none that ``framework.embed`` writes, or was made by another network than others.
    """
    paths = shards.shard_files(files, ENDING)
    size, dtype, made = _common(paths)
    names: list[str] = []
    splits: list[str] = []
    cells: list[Any] = []
    for path in paths:
        for name, split, label in _rows(path):
            names.append(name)
            splits.append(folders.split_called(split or "train") or "train")
            cells.append(label)
    if "train" not in splits:
        raise BadInput(Problem(f"{shards.origin_of(paths)} has no row of split train", WHERE, "a file of all splits"))
    embedded = Embedded(tuple(paths), dict(zip(names, range(len(names)), strict=True)), size, dtype, made)
    common: dict[str, Any] = {"origin": shards.origin_of(paths), "features": embedded}
    if labels == "numbers":
        return to_draw(_with_numbers(names, splits, cells, made, common), _folder(names), validation, test)
    if any(isinstance(cell, list) and cell and not isinstance(cell[0], str) for cell in cells[:1]):
        raise BadInput(Problem(f"{paths[0]} has numbers for labels", WHERE, "task=regression"))
    return images_of(
        names,
        [list(map(class_name, cell)) if isinstance(cell, list) else [class_name(cell)] for cell in cells],
        splits,
        names=[class_name(name) for name in made["classes"]],
        apart=(WHERE, "rows of two classes at least"),
        folder=_folder(names),
        validation=validation,
        test=test,
        where=WHERE,
        several=isinstance(cells[0], list),
        **common,
    )


def unlike(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys, ``model.alpha``, in which a network differs from the one that made features; both as ``made`` has them."""
    then = {group: made[group] for group in ("model", "pooling")}
    keys = [(group, key) for group in then for key in dict.fromkeys([*then[group], *now[group]])]
    # parameters of another part are others altogether
    named = [f"{group}.name" for group in then if then[group]["name"] != now[group]["name"]]
    found = [f"{group}.{key}" for group, key in keys if then[group].get(key) != now[group].get(key)]
    others = [f"data.{key}" for key, value in made["geometry"].items() if now["geometry"].get(key) != value]
    return [key for key in found if key in named or f"{key.split('.')[0]}.name" not in named] + others


def _with_numbers(
    names: list[str], splits: list[str], cells: list[Any], made: Mapping[str, Any], common: Mapping[str, Any]
) -> Images:
    if not isinstance(cells[0], list) or any(isinstance(one, str) for one in cells[0]):
        raise BadInput(Problem("the rows have classes for labels, and the task asks for numbers", WHERE, "task=auto"))
    everything = Split(tuple(names), np.asarray(cells, np.float32))
    inside = {split: [row for row, one in enumerate(splits) if one == split] for split in dict.fromkeys(splits)}
    found = {split: take(everything, rows) for split, rows in inside.items()}
    return Images(tuple(made["classes"]), found, multilabel=False, numbers=True, **common)


def _folder(names: Sequence[str]) -> str:
    """That all images lie below; empty where there is none."""
    try:
        return os.path.commonpath([os.path.dirname(name) for name in names])
    except ValueError:  # some in full, some not
        return ""


def _common(paths: Sequence[str]) -> tuple[int, str, Mapping[str, Any]]:
    """Size and dtype of the features of all files, and by what they were made."""
    found = [_schema_of(path) for path in paths]
    if others := [path for path, one in zip(paths, found, strict=True) if one != found[0]]:
        what = f"{many(len(others), 'file')} of features are of another network than {paths[0]}: {listing(others, 3)}"
        raise BadInput(Problem(what, WHERE, "files of one network"))
    return found[0]


def _schema_of(path: str) -> tuple[int, str, Mapping[str, Any]]:
    import pyarrow.types

    with _opened(path) as file:
        schema = file.schema_arrow
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        what = f"{path} has no column {listing([repr(name) for name in missing])}"
        raise BadInput(Problem(what, WHERE, _RIGHT))
    kind = schema.field("features").type
    number = str(kind.value_type) if pyarrow.types.is_fixed_size_list(kind) else ""
    if number not in NUMBERS:
        what = f"column 'features' of {path} holds {kind}"
        raise BadInput(Problem(what, WHERE, "lists of a fixed size of float32 or float16"))
    try:
        made = json.loads((schema.metadata or {})[MADE])
        if not {"model", "pooling", "geometry", "cut", "weights", "classes", "words"} <= made.keys():
            raise KeyError
    except (KeyError, ValueError, AttributeError, RecursionError):
        what = f"{path} does not say by which network its features were made, and none can be put before the head"
        raise BadInput(Problem(what, WHERE, _RIGHT)) from None
    return kind.list_size, NUMBERS[number], made


def _rows(path: str) -> Iterator[tuple[str, str | None, Any]]:
    """Path, split and label of each row."""
    import pyarrow

    try:
        with _opened(path) as file:
            for batch in file.iter_batches(columns=list(COLUMNS[:3])):
                columns = (batch.column(batch.schema.get_field_index(name)).to_pylist() for name in COLUMNS[:3])
                for name, split, label in zip(*columns, strict=True):
                    if name is None or label is None:
                        raise BadInput(Problem(f"{path} has rows without path or label", WHERE, _RIGHT))
                    yield name, split, label
    except (OSError, pyarrow.ArrowException) as error:
        raise BadInput(_damaged(path, error)) from None


def _opened(path: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        what = f"{path} is read by the package pyarrow, which is not installed"
        raise BadInput(Problem(what, WHERE, "pip install 'framework[parquet]'")) from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise BadInput(_damaged(path, error)) from None


def _damaged(path: str, error: BaseException) -> Problem:
    first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return Problem(f"{path} can't be read: {first}", WHERE, "the file anew, from where it came")


def _digest(path: str) -> str:
    total = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            total.update(piece)
    return total.hexdigest()

"""Rows of features in place of images, as ``framework.embed`` writes them: Parquet files, read a row group at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many
from framework.core.task import Labels
from framework.data import fingerprint, folders, shards
from framework.data.ascending import Ascending
from framework.data.classified import images_of
from framework.data.columns import Coded, Shard, ShardPaths, in_full, in_shards
from framework.data.containers import state_of
from framework.data.images import Images, Split, to_draw
from framework.data.labels import class_name
from framework.data.selection import take
from framework.data.shards import WHERE

ENDING = r"\.parquet$"
MADE = b"framework"  # key of a file's metadata that says by what its features were made
COLUMNS = ("path", "split", "label", "features")
NUMBERS = {"float": "float32", "halffloat": "float16"}  # as Arrow and as NumPy call them
_RIGHT = "a file that python -m framework.embed of this version has written"


@dataclass(frozen=True)
class Embedded:
    """The features of images, which none of them need be there for.

    Attributes:
        files: Parquet files.
        images: paths of all rows, of all files in their order.
        size: numbers an image.
        dtype: which: ``float32`` or ``float16``.
        made: by what they were made, as ``framework.embed`` writes it: ``model``, ``pooling``, ``geometry``, ``cut``,
            ``weights``, ``classes`` and ``words``.
    """

    files: tuple[str, ...]
    images: Sequence[str] = field(repr=False)
    size: int
    dtype: str
    made: Mapping[str, Any]

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Of each image, by its path, the number of its row, counted over all files in their order."""
        return dict(zip(self.images, range(len(self.images)), strict=True))

    def digests(self) -> list[str]:
        """Of each file's contents, as ``fingerprint.files``."""
        return fingerprint.files(self.files)

    def keys(self, paths: Sequence[str]) -> Sequence[str]:
        """What images are: the numbers of their rows, as ``rows`` counts them."""
        if not isinstance(paths, ShardPaths):
            return [str(self.rows[path]) for path in paths]
        return paths.counted()

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
    folder = _Folders()
    listed = [_Rows(path, folder) for path in paths]
    names = in_shards([one.shard for one in listed], [Ascending.where(np.ones(one.shard.rows, bool)) for one in listed])
    splits = Coded.joined([one.splits for one in listed])
    if "train" not in splits.values:
        raise BadInput(Problem(f"{shards.origin_of(paths)} has no row of split train", WHERE, "a file of all splits"))
    embedded = Embedded(tuple(paths), in_full(names), size, dtype, made)
    common: dict[str, Any] = {"origin": shards.origin_of(paths), "features": embedded}
    kinds = {one.kind for one in listed}
    if labels == "numbers":
        if kinds != {"numbers"}:
            raise BadInput(
                Problem("the rows have classes for labels, and the task asks for numbers", WHERE, "task=auto")
            )
        values = np.concatenate([one.numbers for one in listed])
        return to_draw(_with_numbers(embedded, splits, values, made, common), folder.common, validation, test)
    if "numbers" in kinds:
        raise BadInput(Problem(f"{paths[0]} has numbers for labels", WHERE, "task=regression"))
    return images_of(
        embedded.images,
        Coded.joined([one.cells for one in listed]).mapped(lambda cell: tuple(map(class_name, cell))),
        splits,
        names=[class_name(name) for name in made["classes"]],
        apart=(WHERE, "rows of two classes at least"),
        folder=folder.common,
        validation=validation,
        test=test,
        where=WHERE,
        several="lists" in kinds,
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
    embedded: Embedded, splits: Coded[str], values: np.ndarray, made: Mapping[str, Any], common: Mapping[str, Any]
) -> Images:
    everything = Split(embedded.images, values)
    found = {split: take(everything, Ascending.where(splits.codes == code)) for code, split in enumerate(splits.values)}
    return Images(tuple(made["classes"]), found, multilabel=False, numbers=True, **common)


class _Folders:
    """The folders that images lie in."""

    def __init__(self) -> None:
        self._found: set[str] = set()

    def add(self, names: Sequence[str]) -> None:
        self._found.update(map(os.path.dirname, names))

    @property
    def common(self) -> str:
        """That all images lie below; empty where there is none."""
        try:
            return os.path.commonpath(self._found)
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


class _Rows:
    """The rows of a file.

    Attributes:
        shard: what is known of it.
        splits: of each row.
        kind: of the labels: ``names``, ``lists`` of names, or ``numbers``.
        cells: names of the classes of each row, where labels are such.
        numbers: float32 (rows, columns), where they are numbers.
    """

    def __init__(self, path: str, folder: _Folders):
        import pyarrow

        splits: list[Coded[str]] = []
        labels: list[Any] = []
        try:
            with _opened(path) as file:
                kind = file.schema_arrow.field("label").type
                several = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
                self.kind = "names" if not several else "numbers" if _is_number(kind.value_type) else "lists"
                for batch in file.iter_batches(columns=list(COLUMNS[:3])):
                    names, split, label = (batch.column(batch.schema.get_field_index(name)) for name in COLUMNS[:3])
                    if names.null_count or label.null_count:
                        raise BadInput(Problem(f"{path} has rows without path or label", WHERE, _RIGHT))
                    folder.add(names.to_pylist())
                    splits.append(Coded.of(split.to_pylist()).mapped(_split))
                    labels.append(
                        np.asarray(label.to_pylist(), np.float32)
                        if self.kind == "numbers"
                        else Coded.of(
                            map(tuple, label.to_pylist()) if several else ((one,) for one in label.to_pylist())
                        )
                    )
                groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        except (OSError, pyarrow.ArrowException) as error:
            raise BadInput(_damaged(path, error)) from None
        self.splits = Coded.joined(splits)
        self.numbers = np.concatenate(labels) if self.kind == "numbers" and labels else np.zeros((0, 1), np.float32)
        self.cells = Coded.joined([] if self.kind == "numbers" else labels)
        self._path, self._ends = path, np.cumsum([0, *groups])
        self._last: tuple[int, list[str]] = -1, []
        self.shard = Shard(path, state_of(path, WHERE), int(self._ends[-1]), self._called)

    def _called(self, rows: np.ndarray) -> Iterator[str]:
        """Paths of rows, which are read when they are asked for; those of a row group are in memory at a time."""
        for row, group in zip(rows.tolist(), (np.searchsorted(self._ends, rows, "right") - 1).tolist(), strict=True):
            if self._last[0] != group:
                with _opened(self._path) as file:
                    self._last = group, file.read_row_group(group, columns=["path"]).column(0).to_pylist()
            yield self._last[1][row - int(self._ends[group])]


def _split(said: str | None) -> str:
    return folders.split_called(said or "train") or "train"


def _is_number(kind: Any) -> bool:
    import pyarrow.types

    return bool(pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind))


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

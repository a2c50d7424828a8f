"""Parquet with an image and a label a row, as Hugging Face's hub lays data sets out; pyarrow reads it.

An image is named ``train.parquet/image/000017``: its file, column and row. Rows are read a row group at a time, and the
last few groups are kept, which is fast where images are asked for in their order. To be read in any order, a column's bytes
are laid out once in the user's cache folder, one after the other (``ready``).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from framework.core.console import amount, progress, warn
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.files import cache_folder, locked, whole
from framework.data import containers, shards
from framework.data.ascending import Ascending
from framework.data.classified import images_of, read_names
from framework.data.columns import Coded, Shard, in_shards, of_each
from framework.data.containers import MOST_BYTES, Container, Damaged
from framework.data.folders import EXAMPLES, Kind, Unused
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.remote import GIB
from framework.data.shards import WHERE
from framework.data.spilled import Spilled, spilled

if TYPE_CHECKING:
    import pyarrow

ENDING = r"\.parquet$"
# Row groups that are kept: batches are read at once, and the first images of a group while the last of another.
_GROUPS = 3
_BATCH = 64  # rows laid out at once
_LABELS = ("label", "labels", "class", "category", "target")
_NO_LABEL = Kind("image without a label", "images without a label")


@dataclass(frozen=True)
class Table(Container):
    """A file of rows.

    Attributes:
        schema: of its columns.
        bounds: int64 (row groups,), how many rows there are up to the end of each.
        hub: what the hub says of its columns, by name.
    """

    schema: pyarrow.Schema | None = None
    bounds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    hub: Mapping[str, Any] = field(default_factory=dict)
    images = True
    _lock: Any = field(default_factory=threading.Lock, compare=False)
    _groups: OrderedDict[tuple[str, int], Any] = field(default_factory=OrderedDict, compare=False)
    _laid_out: dict[str, tuple[Path, np.ndarray | Spilled]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        """Rows."""
        return int(self.bounds[-1]) if len(self.bounds) else 0

    @property
    def image_columns(self) -> list[str]:
        """Columns of image bytes."""
        marked = [name for name, said in self.hub.items() if isinstance(said, dict) and said.get("_type") == "Image"]
        return marked or [one.name for one in self.schema or () if _holds_bytes(one.type)]

    @cached_property
    def _columns_of_bytes(self) -> set[str]:
        return {one.name for one in self.schema or () if _holds_bytes(one.type)}

    @property
    def members(self) -> Iterable[str]:
        """All rows of each column of images."""
        return (member(column, row) for column in self.image_columns for row in range(len(self)))

    def has(self, member: str) -> bool:
        """Whether there is such a column and row."""
        column, _, row = member.rpartition("/")
        return column in self._columns_of_bytes and row.isdecimal() and int(row) < len(self)

    def read(self, member: str) -> bytes:
        """An image's bytes."""
        if not self.has(member):
            raise FileNotFoundError(2, "no such row", f"{self.path}/{member}")
        column, _, digits = member.rpartition("/")
        row = int(digits)
        if column in self._laid_out:
            file, ends = self._laid_out[column]
            start, stop = ends[row : row + 2].tolist()
            if stop > start:  # what is empty or elsewhere is looked at in the table, which says so
                with open(file, "rb") as laid_out:
                    laid_out.seek(start)
                    return laid_out.read(stop - start)
        group = int(np.searchsorted(self.bounds, row, side="right"))
        start = int(self.bounds[group - 1]) if group else 0
        value = self._column(column, group)[row - start].as_py()
        data = _bytes_of(value)
        if data is None:
            elsewhere = value.get("path") if isinstance(value, dict) else None
            raise Damaged(f"not in the table, which names {elsewhere}" if elsewhere else "empty, null")
        return bytes(data)

    def ready(self, members: Iterable[str], limit: float) -> None:
        """Lay the bytes of the columns that these are of out in the cache folder, unless they are too many."""
        import pyarrow

        for column in {member.rpartition("/")[0] for member in members} & self._columns_of_bytes:
            key = hashlib.blake2b(repr((self.path, self.state, column)).encode(), digest_size=16).hexdigest()
            file = cache_folder() / "rows" / f"{key}.bytes"
            ends = file.with_suffix(".npy")
            with locked(file.with_suffix(".lock")):
                if not (file.exists() and ends.exists()):
                    size = sum(self._stored(column))
                    if not _make_room(file.parent, size, limit * GIB):
                        what = f"{self.path}: its images would take {amount(size)} more than data.disk_limit={limit:g} allows"
                        warn(f"{what}: they are read from the table in any order, which is slow")
                        continue
                    try:
                        self._lay_out(column, file, ends)
                    except pyarrow.ArrowException:  # which rows are damaged is told when they are read
                        continue
                os.utime(file)
            self._laid_out[column] = file, spilled(np.load(ends))

    def _lay_out(self, column: str, file: Path, ends: Path) -> None:
        """Write the bytes of all rows, and where each ends; a few rows are in memory at once."""
        places = np.zeros(len(self) + 1, np.int64)
        with whole(file) as beside, open(beside, "wb") as opened, progress("Laying out", len(self), "rows") as advance:
            row = 0
            for batch in self._file().iter_batches(_BATCH, columns=[column]):
                for value in batch.column(0).to_pylist():
                    places[row + 1] = places[row] + opened.write(_bytes_of(value) or b"")
                    row += 1
                advance(len(batch))
        with whole(ends) as beside:
            np.save(beside, places)

    def _stored(self, column: str) -> Iterator[int]:
        """Bytes of a column's chunks, as far as the file says."""
        metadata = self._file().metadata
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunks = (group.column(place) for place in range(group.num_columns))
            yield sum(one.total_uncompressed_size for one in chunks if one.path_in_schema.split(".")[0] == column)

    def called(self, column: str) -> Callable[[np.ndarray], Iterable[str]]:
        """Paths of the images of a column, from numbers of rows."""
        return lambda rows: (f"{self.path}/{member(column, row)}" for row in rows.tolist())

    def column(self, name: str) -> list[Any]:
        """A column's values."""
        return list(self.read_column(name).to_pylist())

    def read_column(self, name: str) -> pyarrow.ChunkedArray:
        """A column as Arrow has it."""
        import pyarrow

        try:
            return self._file().read(columns=[name]).column(name)
        except (OSError, pyarrow.ArrowException) as error:
            what = f"{self.path} can't be read: column '{name}' is damaged: {_first_line(error)}"
            raise BadInput(Problem(what, WHERE, "the file anew, from where it came")) from None

    def _column(self, name: str, group: int) -> pyarrow.ChunkedArray:
        with self._lock:
            known = self._groups.pop((name, group), None)
            if known is None:
                while len(self._groups) >= _GROUPS:
                    self._groups.popitem(last=False)
                try:
                    known = self._file().read_row_group(group, columns=[name]).column(name)
                except Exception as error:  # Arrow's own, of many kinds
                    raise Damaged(f"damaged: {_first_line(error)}") from None
            self._groups[name, group] = known
            return known

    def _file(self) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self.path)


def _make_room(folder: Path, size: int, limit: float) -> bool:
    """Whether a file of so many bytes may be added to a folder that may hold ``limit`` of them; the least recently used
    ones are removed for it."""
    folder.mkdir(parents=True, exist_ok=True)
    if size > limit or shutil.disk_usage(folder).free < size:
        return False
    for file in sorted(folder.glob("*.bytes"), key=lambda file: -file.stat().st_mtime):
        size += file.stat().st_size
        if size > limit:
            file.with_suffix(".npy").unlink(missing_ok=True)
            file.unlink()
    return True


def _bytes_of(value: Any) -> bytes | None:
    return value.get("bytes") if isinstance(value, dict) else value


def member(column: str, row: int) -> str:
    """What a row's image is called."""
    return f"{column}/{row:06d}"


def parquet_file(path: str, state: tuple[int, int], where: str) -> Table:
    """The index of a file.

    Raises:
        BadInput: pyarrow is missing, or it is no Parquet.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        what = f"{path} is read by the package pyarrow, which is not installed"
        raise BadInput(Problem(what, where, "pip install 'framework[parquet]'")) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            counts = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
            schema = file.schema_arrow
            size = sum(file.metadata.row_group(number).total_byte_size for number in range(len(counts)))
    except (OSError, pyarrow.ArrowException) as error:
        what = f"{path} can't be read: {_first_line(error)}"
        raise BadInput(Problem(what, where, "the file anew, from where it came")) from None
    # an image takes some bytes, and no compression of them is a hundred times as good as the images' own
    if sum(counts) > state[0] or size > MOST_BYTES + 100 * state[0]:
        what = f"{path} says that its {state[0]:,} bytes hold {sum(counts):,} rows of {amount(size)}"
        raise BadInput(Problem(what, where, "a table of images"))
    return Table(path, state, schema=schema, bounds=np.cumsum(counts, dtype=np.int64), hub=_hub(schema.metadata))


def list_parquet(
    files: str | Sequence[str],
    image_column: str | None,
    label_column: str | None,
    names: str | None,
    validation: float,
    test: float,
) -> Images:
    """The rows of some files, in the splits that these are called after; arguments are those of the source ``parquet``.

    Raises:
        BadInput: a file or a column is missing, or labels can't be classes.
    """
    paths = shards.shard_files(files, ENDING)
    in_split = shards.split_of_each(paths)
    tables = [_table(path) for path in paths]
    columns = [_columns(table, image_column, label_column) for table in tables]
    if problems := [problem for one in columns for problem in one.problems]:
        raise BadInput(problems)
    listed = [
        Shard(table.path, table.state, len(table), table.called(found.image), found.image)
        for table, found in zip(tables, columns, strict=True)
    ]
    labels = [
        _labels(table.read_column(found.label), found.several) for table, found in zip(tables, columns, strict=True)
    ]
    paths_of = in_shards(listed, [rows for rows, _ in labels])
    without = sum(len(table) for table in tables) - len(paths_of)
    first = itertools.islice(
        (
            path
            for one, (rows, _) in zip(listed, labels, strict=True)
            for path in one.called(np.setdiff1d(np.arange(one.rows), rows))
        ),
        EXAMPLES,
    )
    return images_of(
        paths_of,
        Coded.joined([said for _, said in labels]),
        of_each(in_split, paths_of),
        names=read_names(names) if names else columns[0].names,
        apart=("data.label_column", f"another column than '{columns[0].label}'"),
        folder=shards.common_folder(paths),
        validation=validation,
        test=test,
        where=WHERE,
        several=any(one.several for one in columns),
        origin=shards.origin_of(paths),
        unused=(Unused(_NO_LABEL, without, tuple(first)),) if without else (),
        notes=(f"labels are those of column '{columns[0].label}'",) if label_column is None else (),
        column=_cells_of(tables, [one.image for one in columns]),
        columns=tuple(tables[0].schema.names) if tables[0].schema else (),
    )


def _labels(column: pyarrow.ChunkedArray, several: bool) -> tuple[Ascending, Coded[tuple[str, ...]]]:
    """Numbers of the rows that have labels, and these; null and -1 are the hub's ways to have none."""
    if several:
        values = column.to_pylist()
        rows = Ascending.where(np.fromiter((value is not None for value in values), bool, len(values)))
        some = (values[row] for row in rows)
        return rows, Coded.of(tuple(class_name(_text(one)) for one in value) for value in some)
    found = column.combine_chunks().dictionary_encode()
    values = found.dictionary.to_pylist()
    codes = found.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    none = np.array([value is None or value == -1 for value in values] + [True])
    there = ~none[codes]
    return Ascending.where(there), Coded(values, codes[there]).mapped(lambda value: (class_name(_text(value)),))


def _cells_of(tables: Sequence[Table], images: Sequence[str]) -> Callable[[str], Mapping[str, str] | None]:
    def column(name: str) -> Mapping[str, str] | None:
        if not all(table.schema and name in table.schema.names for table in tables):
            return None
        return {
            f"{table.path}/{member(image, row)}": "" if value is None else str(value)
            for table, image in zip(tables, images, strict=True)
            for row, value in enumerate(table.column(name))
        }

    return column


def _table(path: str) -> Table:
    found = containers.opened(path, WHERE) if path.lower().endswith(".parquet") else None
    if not isinstance(found, Table):
        raise BadInput(Problem(f"{path} is no Parquet by its name", WHERE, "files ending in .parquet"))
    return found


class _Columns(NamedTuple):
    """Columns of image and label, whether that holds several, the names of its numbers, and what is wrong."""

    image: str
    label: str
    several: bool
    names: list[str] | None
    problems: list[Problem]


def _columns(table: Table, image: str | None, label: str | None) -> _Columns:
    import pyarrow.types

    assert table.schema is not None
    there, problems = table.schema.names, list[Problem]()
    if image is None:
        image = _only(table.image_columns, table, "image", there, problems)
    elif image not in there or not _holds_bytes(table.schema.field(image).type):
        what = f"{table.path} has no column '{image}' of image bytes"
        problems.append(Problem(what, "data.image_column", suggestion(image, table.image_columns or there)))
    if label is None:
        marked = [name for name, said in table.hub.items() if _names_of(said) is not None]
        label = _only(marked or [name for name in there if name.lower() in _LABELS], table, "label", there, problems)
    elif label not in there:
        what = f"{table.path} has no column '{label}'"
        problems.append(Problem(what, "data.label_column", suggestion(label, there)))
    if problems:
        return _Columns("", "", False, None, problems)
    kind = table.schema.field(label).type
    several = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
    of = kind.value_type if several else kind
    if pyarrow.types.is_floating(of) or pyarrow.types.is_nested(of) or pyarrow.types.is_binary(of):
        what = f"column '{label}' of {table.path} holds {kind}, which are no classes"
        problems.append(
            Problem(what, "data.label_column", "a column of texts or of whole numbers, or of lists of such")
        )
    return _Columns(image, label, several, _names_of(table.hub.get(label)), problems)


def _only(found: Sequence[str], table: Table, what: str, there: Sequence[str], problems: list[Problem]) -> str:
    if len(found) == 1:
        return found[0]
    several = f"several columns may be the {what}: {listing(found)}" if found else f"no column is said to be the {what}"
    right = f"data.{what}_column=NAME, one of: {listing(found or there)}"
    problems.append(Problem(f"{table.path}: {several}", f"data.{what}_column", right))
    return ""


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types

    if pyarrow.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _hub(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What the hub's library wrote of the columns; nothing if it did not."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _names_of(said: Any) -> list[str] | None:
    """Names of a ClassLabel, or of a list of such."""
    if isinstance(said, dict) and said.get("_type") in ("Sequence", "List", "LargeList"):
        said = said.get("feature")
    said = said[0] if isinstance(said, list) and len(said) == 1 else said
    if not isinstance(said, dict) or said.get("_type") != "ClassLabel" or not isinstance(said.get("names"), list):
        return None
    return [class_name(str(name)) for name in said["names"]]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")

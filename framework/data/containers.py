"""An image is a file, or a member of a container: a ZIP, a tar, a table. One way to list them and to read their bytes.

A member's reference is written as a path that goes on where the container ends: ``photos.zip/red/1.jpg``. So whatever
cuts, joins and compares paths works on references too, and lists of images can name them. Files are opened as they
always were: a container is asked for only where the system says that there is no such file.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import NamedTuple

from framework.core.errors import BadInput, Problem

# What a container's name ends as, to the function that indexes it; modules are loaded with the first of their kind.
KINDS = {
    r"\.zip": "framework.data.archives:zip_file",
    r"\.tar": "framework.data.archives:tar_file",
    r"\.parquet": "framework.data.parquet:parquet_file",
    r"(\.tfrecords?)?-\d{5}-of-\d{5}|\.tfrecords?": "framework.data.tfrecord:tfrecord_file",
}
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
# A member that says it is larger is not read: no image file is, and what it unpacks to would fill the memory.
MOST_BYTES = 2**29
_BY_NAME = re.compile(f"({'|'.join((*KINDS, *map(re.escape, COMPRESSED)))})$", re.IGNORECASE)
_NO_FILE = (FileNotFoundError, NotADirectoryError)


class Reference(NamedTuple):
    """A member of a container."""

    container: str
    member: str


class Damaged(OSError):
    """A member that can't be read; ``strerror`` says why."""

    def __init__(self, why: str):
        super().__init__(5, why)


@dataclass(frozen=True, slots=True)
class Member:
    """What lies in a folder of a container, with the ways of ``os.DirEntry``.

    Attributes:
        name: in its folder.
        path: its reference.
        folder: whether it is one.
        odd: what is no plain file: a link, a device, an encrypted member; empty for files and folders.
        image: whether it is an image whatever its name says, as in a table of images.
    """

    name: str
    path: str
    folder: bool = False
    odd: str = ""
    image: bool = False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return self.folder

    def is_file(self) -> bool:
        """Whether it can be read."""
        return not self.folder and not self.odd


Entry = os.DirEntry[str] | Member


@dataclass(frozen=True)
class Container(ABC):
    """A file that holds images, indexed.

    Attributes:
        path: the file.
        state: its size in bytes and time of change in nanoseconds, when it was indexed.
        folders: that are there though nothing lies in them.
        odd: members that are no plain files, by name, each with what it is.
    """

    path: str
    state: tuple[int, int]
    folders: tuple[str, ...] = ()
    odd: Mapping[str, str] = field(default_factory=dict)
    images = False  # whether each member is one

    @property
    @abstractmethod
    def members(self) -> Iterable[str]:
        """Names of all that can be read, in the container's order; ``/`` stands between folders."""

    @abstractmethod
    def has(self, member: str) -> bool:
        """Whether it can be read."""

    @abstractmethod
    def read(self, member: str) -> bytes:
        """A member's bytes.

        Raises:
            FileNotFoundError: there is no such member.
            OSError: it is damaged, or the container is.
        """

    def read_all(self, members: Iterable[str]) -> Iterator[bytes]:
        """The bytes of many, one after the other; errors as for ``read``."""
        return map(self.read, members)

    def ready(self, members: Iterable[str], limit: float) -> None:  # noqa: B027 - most are
        """Prepare to read these in any order, where that is not fast by itself; ``limit`` is how many GiB copies may take."""

    def inside(self, folder: str) -> Mapping[str, Member] | None:
        """What lies in a folder (``""``: all that lies in none), by name; None if there is no such folder."""
        return self._tree.get(folder)

    @cached_property
    def _tree(self) -> dict[str, dict[str, Member]]:
        tree: dict[str, dict[str, Member]] = {"": {}}

        def inside(folder: str) -> dict[str, Member]:
            if folder not in tree:
                parent, _, name = folder.rpartition("/")
                inside(parent)[name] = Member(name, f"{self.path}/{folder}", folder=True)
                tree[folder] = {}
            return tree[folder]

        for member in self.members:
            folder, _, name = member.rpartition("/")
            inside(folder)[name] = Member(name, f"{self.path}/{member}", image=self.images)
        for member, what in self.odd.items():
            folder, _, name = member.rpartition("/")
            inside(folder)[name] = Member(name, f"{self.path}/{member}", odd=what)
        for folder in self.folders:
            inside(folder)
        return tree


_opened: dict[str, Container] = {}
_lock = threading.RLock()


def is_container(path: str) -> bool:
    """Whether a file is one by its name; one that is compressed as a whole counts, for ``opened`` says what to do."""
    return _BY_NAME.search(path) is not None and os.path.isfile(path)


def opened(path: str, where: str = "data") -> Container:
    """A container, indexed once a process unless the file changes.

    Args:
        path: of the file.
        where: the key of the config that named it.

    Raises:
        BadInput: it is none, or broken.
    """
    state = state_of(path, where)
    with _lock:
        known = _opened.get(path)
        if known is None or known.state != state:
            known = _opened[path] = _index(path, where)(path, state, where)
        return known


def state_of(path: str, where: str = "data") -> tuple[int, int]:
    """A file's size in bytes and time of change in nanoseconds.

    Raises:
        BadInput: it is not there.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadInput(Problem(f"{path} can't be read: {error.strerror}", where)) from None
    return status.st_size, status.st_mtime_ns


def _index(path: str, where: str) -> Callable[[str, tuple[int, int], str], Container]:
    name = path.lower()
    if ending := next((one for one in COMPRESSED if name.endswith(one)), None):
        plain = path[: len(path) - len(ending)] + ".tar"
        what = f"{path} is compressed as a whole: no image in it can be read without all that come before it"
        unpack = {"g": "gunzip", "b": "bunzip2", "x": "unxz", "z": "unzstd"}[
            ending.removeprefix(".tar.").lstrip(".t")[0]
        ]
        raise BadInput(Problem(what, where, f"{unpack} {path} makes {plain}, which is read as it is"))
    kind = next((one for one in KINDS if re.search(f"({one})$", name)), None)
    if kind is None:
        right = "a file ending in .zip, .tar, .parquet or .tfrecord"
        raise BadInput(Problem(f"{path} is no container of images", where, right))
    module, _, function = KINDS[kind].partition(":")
    made: Callable[[str, tuple[int, int], str], Container] = getattr(import_module(module), function)
    return made


def reference(path: str) -> Reference | None:
    """The container in a path, and the member behind it; None where it leads into a folder."""
    folder = os.path.dirname(path)
    while folder and folder != os.path.dirname(folder):
        try:
            mode = os.stat(folder).st_mode
        except _NO_FILE:
            folder = os.path.dirname(folder)
            continue
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(mode) and is_container(folder):
            return Reference(folder, path[len(folder) + 1 :].replace(os.sep, "/"))
        return None
    return None


def contents(path: str) -> bytes:
    """The bytes of a file or of a member.

    Raises:
        OSError: it is not there, or can't be read.
        BadInput: the container is broken.
    """
    return fetched(path)[0]


def fetched(path: str) -> tuple[bytes, bool]:
    """The bytes of a file or of a member, and whether it is a member; raises as ``contents``."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise Damaged("larger than any image")
            return file.read(), False
    except _NO_FILE:
        found = reference(path)
        if found is None:
            raise
    return opened(found.container).read(found.member), True


def ready(paths: Iterable[str], limit: float) -> None:
    """Prepare to read images in any order, again and again; ``limit`` is how many GiB copies of them may take."""
    members: dict[str, list[str]] = {}
    for path in paths:
        if not os.path.lexists(path) and (found := reference(path)):
            members.setdefault(found.container, []).append(found.member)
    for container, inside in members.items():
        opened(container).ready(inside, limit)


def head(path: str, count: int) -> bytes:
    """The first bytes of a file or of a member; raises as ``contents``."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except _NO_FILE:
        return contents(path)[:count]


def openable(path: str) -> str | io.BytesIO:
    """What a library that opens files takes: the path of a file, the bytes of a member; raises as ``contents``."""
    if not os.path.lexists(path) and (found := reference(path)):
        return io.BytesIO(opened(found.container).read(found.member))
    return path


def state(path: str) -> list[int] | None:
    """Size in bytes and time of change in nanoseconds of a file, or of a member's container; None where it is neither."""
    try:
        status = os.stat(path)
    except _NO_FILE:
        found = reference(path)
        return list(state_of(found.container)) if found else None
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def is_file(path: str) -> bool:
    """Whether it is a file, or a member that can be read; raises BadInput for a broken container."""
    if os.path.isfile(path):
        return True
    found = reference(path)
    return found is not None and opened(found.container).has(found.member)


def is_folder(path: str) -> bool:
    """Whether it is a folder, a container, or a folder in one; raises BadInput for a broken container."""
    if os.path.isdir(path) or is_container(path):
        return True
    found = reference(path)
    return found is not None and opened(found.container).inside(found.member.rstrip("/")) is not None


def scandir(folder: str) -> list[Entry]:
    """What lies in a folder, in a container, or in a folder of one.

    Raises:
        OSError: it is no folder, or can't be listed.
        BadInput: the container is broken.
    """
    try:
        return list(os.scandir(folder))
    except _NO_FILE:
        found = Reference(folder, "") if is_container(folder) else reference(folder)
        inside = None if found is None else opened(found.container).inside(found.member.rstrip("/"))
        if inside is None:
            raise
        return list(inside.values())


def identity(folder: str) -> Hashable:
    """What tells a folder from all others, whatever links lead to it; in containers there are none.

    Raises:
        OSError: it is not there.
    """
    try:
        status = os.stat(folder)
    except NotADirectoryError:
        return folder
    return status.st_dev, status.st_ino

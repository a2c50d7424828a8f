"""Files that are whole or not there, and locks between processes."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import os
import re
import shutil
import stat
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filelock import FileLock


def cache_folder() -> Path:
    """The user's cache folder of this project; ``XDG_CACHE_HOME`` moves it on every platform. It may not exist yet."""
    moved = os.environ.get("XDG_CACHE_HOME")
    if moved and os.path.isabs(moved):
        return Path(moved, "framework")
    from platformdirs import user_cache_path

    return user_cache_path("framework", appauthor=False)


PATIENCE = 5.0
WINDOWS = os.name == "nt"
MOST_TEXT = 64 << 20  # bytes of a small file of a run
_SPARE = 16 << 20  # bytes that anything may unpack to, however little is stored of it
_EXPANDS = 100  # and beyond that how often its stored size
DEEP = re.compile(r"(?<![^/\\])(?:\*\*[/\\]+)+")  # one or more ``**`` between slashes
BESIDE = re.compile(r"\.[0-9a-f]{8}-\d+(\.\w+)?")


@contextlib.contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yields a path beside ``path``, of the same ending, to write to; it takes ``path``'s place when the block ends well.

    A kill at any moment leaves the old file or the new one; a failed block leaves the old one and nothing else. With
    ``durable`` so does a machine that loses its power; without it that waits for nothing, for one of very many files.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{os.getpid()}{''.join(path.suffixes[-1:])}")
    try:
        yield beside
        if durable:
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
        _put(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def _put(file: Path, path: Path) -> None:
    """Give a file or folder its name. Windows refuses while anybody has it or its like open: it is asked for a while."""
    until = time.monotonic() + (PATIENCE if WINDOWS else 0.0)
    while True:
        try:
            return os.replace(file, path)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside ``path`` to fill; it takes ``path``'s place when the block ends well.

    A failed block leaves what was there and nothing else. A kill leaves the old folder or the new one; between the two
    renames it may leave neither, the new one then stands beside.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{os.getpid()}")
    beside.mkdir()
    try:
        yield beside
        if path.exists():
            gone = path.with_name(f"{beside.name}.old")
            _put(path, gone)
            _put(beside, path)
            shutil.rmtree(gone)
        else:
            _put(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed writer has left half-written in a folder and below; only where nobody writes."""
    for path in folder.rglob(".*-*"):
        if BESIDE.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a full disk, a quota or a limit, whichever library says so in its own words."""
    while error is not None:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file whole; text is UTF-8."""
    with whole(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def open_own(path: Path, folder: Path) -> IO[bytes]:
    """Open a file of a folder that somebody else may have made.

    Raises:
        OSError: it is not there, a link leads out of the folder, or it is a pipe or a device, which might never end.
    """
    # by os.path, for Path raises an error of another kind for a link to itself
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise OSError(errno.EINVAL, "a link leads out of the folder", str(path))
    # without waiting for the other end of a pipe
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return file


def refuse_device(path: str | Path) -> None:
    """Let no device be read, which might never end; a pipe that somebody names may be.

    Raises:
        OSError: it is one, or is not there.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a device", str(path))


def read_own(path: Path, folder: Path, most: int = MOST_TEXT) -> str:
    """A small text of a folder that somebody else may have made.

    Raises:
        OSError: as ``open_own``.
        ValueError: it is no UTF-8, or larger than ``most`` bytes.
    """
    with open_own(path, folder) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    return content.decode("utf-8")


def is_bomb(size: int, stored: int) -> bool:
    """Whether so many stored bytes would unpack to very much more, as neither numbers nor images do."""
    return size > _SPARE + _EXPANDS * stored


def refuse_bomb(archive: zipfile.ZipFile, names: Iterable[str] | None = None) -> None:
    """Let no member of a ZIP be unpacked that says it is very much larger than what is stored of it.

    Raises:
        ValueError: one does. What unpacks to more than it says is noticed by its checksum.
    """
    for entry in archive.infolist():
        if (names is None or entry.filename in names) and is_bomb(entry.file_size, entry.compress_size):
            size = f"{entry.file_size:,} bytes of {entry.compress_size:,}"
            raise ValueError(f"{entry.filename!r} would unpack to {size}: no file of numbers does")


@contextlib.contextmanager
def put_back_if(refused: type[BaseException], files: Sequence[Path]) -> Iterator[None]:
    """While entered, small files may be overwritten; where the block raises ``refused``, they are as they were before."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    try:
        yield
    except refused:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                write_whole(file, content)
        raise


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; the system frees it when the holder dies, however it dies.

    On a disk shared by several machines a lock holds between them as far as the disk keeps such locks, as NFS does
    unless it is mounted without them.

    Args:
        path: of the lock file.
        waiting: called once if another has it; what it raises ends the wait.
    """
    with lock_if_free(path) as free:
        if free:
            yield
            return
    if waiting:
        waiting()
    with _lock(path):
        yield


@contextlib.contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` unless another does; yields whether it is held now."""
    from filelock import Timeout

    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock file ``path`` now."""
    if not path.exists():
        return False
    with lock_if_free(path) as free:
        return not free


@contextlib.contextmanager
def in_use(root: Path, key: str) -> Iterator[None]:
    """While entered, nobody removes what is kept by this key in a folder; waits for one that does so just now.

    Plain locks, not one that is shared, so that they hold on every system alike: each user has a lock file of its own,
    taken behind the key's lock, which whoever removes the key holds throughout. One that was killed leaves a file that
    nobody holds, which counts for nothing.
    """
    own = root / "locks" / f"{key}.{uuid.uuid4().hex}.use"
    with contextlib.ExitStack() as stack:
        with locked(_lock_of(root, key)):
            stack.callback(_forget, own)
            stack.enter_context(locked(own))
        yield


@contextlib.contextmanager
def held(root: Path, key: str) -> Iterator[bool]:
    """Whether nobody uses the key or is about to; if so, nobody can begin to meanwhile."""
    with lock_if_free(_lock_of(root, key)) as alone:
        yield alone and not _used(root, key)


def _lock_of(root: Path, key: str) -> Path:
    return root / "locks" / f"{key}.use"


def _used(root: Path, key: str) -> bool:
    """Whether any user holds its file; asked behind the key's lock, where nobody begins to, the rest are removed."""
    for own in (root / "locks").glob(f"{key}.*.use"):
        if is_locked(own):
            return True
        _forget(own)
    return False


def _forget(own: Path) -> None:
    # Windows removes no file that is open: one that somebody looks at just now is left to the next who does
    with contextlib.suppress(OSError):
        own.unlink()


def wait_for(path: Path, seconds: float) -> None:
    """Wait until nobody holds the lock file ``path``, or so long."""
    deadline = time.monotonic() + seconds
    while is_locked(path) and time.monotonic() < deadline:
        time.sleep(0.2)


def _lock(path: Path) -> FileLock:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    # whichever thread ends what the lock is for may free it
    return FileLock(str(path), thread_local=False)


def fitting(pattern: str) -> list[str]:
    """Paths that a glob names, in the order of their names.

    Its ``**`` follows no link to a folder: they may lead in circles, or by two to each other to as many as one likes.
    """
    return sorted(set(_fitting(re.sub(r"(?<![^/\\])\*\*$", "**/*", pattern))))


def _fitting(pattern: str) -> Iterator[str]:
    deep = DEEP.search(pattern)
    if deep is None:
        yield from glob.iglob(pattern)
        return
    for start in glob.iglob(pattern[: deep.start()]) if deep.start() else [os.curdir]:
        for place, inside, _ in os.walk(start):
            inside[:] = [name for name in inside if name[0] != "."]
            here = place if deep.start() else place[2:]  # behind ./
            yield from _fitting(os.path.join(glob.escape(here), pattern[deep.end() :]))


def write_table(path: Path, header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Path:
    """Write a CSV file whole, its rows as they come: of many images and classes all at once would be large."""
    with whole(path) as beside, open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    return path

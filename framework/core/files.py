"""Files that are whole or not there, and locks between processes."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of this project; ``XDG_CACHE_HOME`` moves it on every platform. It may not exist yet."""
    moved = os.environ.get("XDG_CACHE_HOME")
    if moved and os.path.isabs(moved):
        return Path(moved, "framework")
    from platformdirs import user_cache_path

    return user_cache_path("framework", appauthor=False)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a path beside ``path``, of the same ending, to write to; it takes ``path``'s place when the block ends well.

    A kill at any moment leaves the old file or the new one; a failed block leaves the old one and nothing else.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{os.getpid()}{''.join(path.suffixes[-1:])}")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file whole; text is UTF-8."""
    with whole(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; ``waiting`` is called once if another process has it. Freed if the holder dies."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting:
            waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

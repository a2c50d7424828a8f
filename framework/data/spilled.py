"""Arrays of which a little is read at a time, laid down in a file in place of memory."""

from __future__ import annotations

import os
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np

from framework.core.files import cache_folder

MEMORY = 32 << 20  # bytes of arrays that stay in memory
LEAST = 1 << 12  # bytes of an array from which on it may be laid down


class Spilled:
    """An array in this process's file, which nobody else sees and which goes with the process.

    It is read, and not mapped: mapped pages would count as this process's memory.
    """

    def __init__(self, file: BinaryIO, start: int, array: np.ndarray):
        self._file, self._start = file, start
        self._dtype, self._shape = array.dtype, array.shape
        self._row = array.nbytes // len(array)

    def __len__(self) -> int:
        return int(self._shape[0])

    def __getitem__(self, place: Any) -> Any:
        """A row, or rows one after the other."""
        if not isinstance(place, slice):
            first = range(len(self))[place]
            return self[first : first + 1][0]
        first, last, _ = place.indices(len(self))
        size = max(last - first, 0) * self._row
        data = os.pread(self._file.fileno(), size, self._start + first * self._row)
        return np.frombuffer(data, self._dtype).reshape(-1, *self._shape[1:])


_files: dict[int, BinaryIO] = {}  # by process, for one that is forked writes to its own
_lock = threading.Lock()
_held = 0


def spilled(array: np.ndarray) -> np.ndarray | Spilled:
    """The array to be read from disk; itself where all such take little memory yet, or the disk has no room for it."""
    global _held
    with _lock:
        _held += array.nbytes
        if _held <= MEMORY or array.nbytes < LEAST or not hasattr(os, "pread"):
            return array
        try:
            file = _files.get(os.getpid())
            if file is None:
                cache_folder().mkdir(parents=True, exist_ok=True)
                file = _files[os.getpid()] = tempfile.TemporaryFile(dir=cache_folder())  # noqa: SIM115 - open as long as the process
            start = file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(array).data)
            file.flush()
        except OSError:
            return array
    return Spilled(file, start, array)

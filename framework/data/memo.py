"""Remembers a short text about each file for as long as the file does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence

from framework.core.files import cache_folder, write_whole

# A file changed a moment ago may change again within the clock's tick and keep size and time: it is not remembered yet.
_SETTLED_NS = 2_000_000_000


def remembered(
    paths: Sequence[str], what: str, compute: Callable[[list[str]], list[str]], *, anew: bool = False
) -> list[str]:
    """``compute(paths)``, called only for files whose path, size or time of change is not known from before.

    The memory is a file in the user's cache folder for each folder of pictures. A file that can't be looked at is left
    to ``compute`` each time; a memory that can't be read or written is done without.

    Args:
        paths: files.
        what: names the computation and its version.
        compute: files to one text each.
        anew: compute for every file, and remember that.
    """
    if not paths:
        return []
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    key = hashlib.blake2b(root.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    memory = cache_folder() / "files" / f"{what}-{key}.json"
    try:
        known = json.loads(memory.read_bytes())
        known = known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        known = {}
    states = [_state(path) for path in paths]
    values: list[str | None] = []
    for path, state in zip(paths, states, strict=True):
        entry = known.get(path)
        fits = not anew and state is not None and isinstance(entry, list) and entry[:2] == state and len(entry) == 3
        values.append(str(entry[2]) if fits and entry else None)
    unknown = [position for position, value in enumerate(values) if value is None]
    now = time.time_ns()
    computed = compute([paths[position] for position in unknown]) if unknown else []
    news = False
    for position, value in zip(unknown, computed, strict=True):
        values[position] = value
        state = states[position]
        if state is not None and now - state[1] > _SETTLED_NS:
            known[paths[position]] = [*state, value]
            news = True
    if news:
        with contextlib.suppress(OSError):  # a full or read-only cache folder costs time, no more
            write_whole(memory, json.dumps(known))
    return [value for value in values if value is not None]


def _state(path: str) -> list[int] | None:
    """Size in bytes and time of change in nanoseconds."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]

"""What is kept in the feature cache: listing, checking, clearing it, least recently used first, and who uses it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.core.console import progress, say
from framework.core.files import cache_folder, held, read_own
from framework.features.shards import NO_INDEX, Shard, indexes, read_index

GIB = 1 << 30
_KEY = re.compile(r"[0-9a-f]{32}")


def root_folder(folder: str | None) -> Path:
    """Where features are kept: ``cache.dir``, or the user's cache folder."""
    return Path(folder).expanduser() if folder else cache_folder() / "features"


@dataclass(frozen=True)
class KeptFeatures:
    """What the cache keeps under one key.

    Attributes:
        key: the folder's name.
        about: what was said of the features when they were first computed.
        depends_on: their description.
        images: how many records.
        bytes: size on disk.
        last_used: seconds since the epoch.
        in_use: whether a process reads or writes them now.
    """

    key: str
    about: Mapping[str, Any]
    depends_on: Mapping[str, Any]
    images: int
    bytes: int
    last_used: float
    in_use: bool


def listing(root: Path) -> list[KeptFeatures]:
    """All that is kept, last used first."""
    entries = []
    for folder in _key_folders(root):
        record = record_of(folder)
        rows = 0
        for path in indexes(folder):
            with contextlib.suppress(*NO_INDEX):
                rows += len(read_index(path)[0].rows)
        with held(root, folder.name) as alone:
            in_use = not alone
        used = _last_used(folder)
        about, depends_on = record.get("about", {}), record.get("depends_on", {})
        entries.append(KeptFeatures(folder.name, about, depends_on, rows, _size(folder), used, in_use))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def verify(root: Path, keys: Sequence[str] | None = None) -> list[tuple[Path, str]]:
    """Read every shard (of these keys) and compare it with its checksum; damaged ones are removed.

    Returns:
        The file of each damaged shard, with what was wrong.
    """
    faults = []
    folders = [folder for folder in _key_folders(root) if keys is None or folder.name in keys]
    paths = [path for folder in folders for path in indexes(folder)]
    with progress("Verifying features", len(paths), "files") as advance:
        for path in paths:
            shard = Shard(path.with_suffix(".rows"), (), 0, 0)
            try:
                shard, _ = read_index(path)
                fault = shard.fault(thorough=True)
            except FileNotFoundError:  # cleared since it was listed
                fault = None
            except NO_INDEX as error:
                fault = f"its index can't be read ({error})"
            if fault is not None:
                faults.append((shard.path, fault))
                shard.remove()
            advance(1)
    return faults


def clear(root: Path, keys: Sequence[str] | None = None) -> tuple[int, list[str]]:
    """Remove all features (of these keys) that no process uses.

    Returns:
        Bytes freed, and the keys left because they are in use.
    """
    freed, left = 0, []
    for folder in _key_folders(root):
        if keys is None or folder.name in keys:
            size = _size(folder)
            if _remove(root, folder):
                freed += size
            else:
                left.append(folder.name)
    return freed, left


def trim(root: Path, limit: float, more: int = 0) -> int:
    """Remove features, least recently used first and none in use, until ``more`` bytes would keep to ``limit`` GiB.

    Returns:
        Bytes freed.
    """
    folders = sorted(_key_folders(root), key=_last_used)
    sizes = {folder: _size(folder) for folder in folders}
    freed = 0
    for folder in folders:
        if sum(sizes.values()) - freed + more <= limit * GIB:
            break
        if _remove(root, folder):
            freed += sizes[folder]
            say(f"Cleared features from the cache, to keep within {limit:g} GiB: {folder.name}")
    return freed


def _key_folders(root: Path) -> list[Path]:
    """Folders of keys; those that a killed process was removing are removed. Whatever else is there is left alone."""
    if not root.is_dir():
        return []
    for path in root.glob(".removed-*"):
        if _KEY.fullmatch(path.name.removeprefix(".removed-")):
            shutil.rmtree(path, ignore_errors=True)
    return sorted(path for path in root.iterdir() if _KEY.fullmatch(path.name) and path.is_dir())


def _remove(root: Path, folder: Path) -> bool:
    """Remove a key's folder whole, unless a process uses it; whether it is gone."""
    with held(root, folder.name) as alone:
        if alone:
            gone = root / f".removed-{uuid.uuid4().hex}"
            with contextlib.suppress(FileNotFoundError):
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return alone


def record_of(folder: Path) -> dict[str, Any]:
    """What ``key.json`` says; empty where there is none that can be read."""
    try:
        record = json.loads(read_own(folder / "key.json", folder))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _last_used(folder: Path) -> float:
    for path in (folder / "key.json", folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total

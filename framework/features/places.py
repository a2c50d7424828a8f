"""Where the records of images are kept, held in memory: a dict of keys, or runs of rows of shards, which are far fewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from framework.data.columns import Keys
from framework.features.shards import Runs


class Places:
    """Numbers of shards of the cache, and positions in them."""

    def __init__(self) -> None:
        self._by_key: dict[str, tuple[int, int]] = {}
        self._added: dict[str, list[np.ndarray]] = {}
        self._runs: dict[str, np.ndarray] = {}

    def add(self, number: int, rows: Sequence[str] | Runs) -> None:
        """Take notice of the rows of a shard."""
        if not isinstance(rows, Runs):
            self._by_key.update((row, (number, place)) for place, row in enumerate(rows))
            return
        counts = np.diff(rows.ends)[:, 0]
        runs = np.column_stack([rows.ends, np.full(len(counts), number), np.cumsum(counts) - counts])
        for one in np.unique(rows.shard).tolist():
            name = rows.names[one]
            self._added.setdefault(name, []).append(runs[rows.shard == one])
            self._runs.pop(name, None)

    def absent(self, rows: Sequence[str]) -> np.ndarray:
        """As ``Store.absent``."""
        if isinstance(rows, Keys):
            left = np.flatnonzero(self._of_keys(rows)[:, 0] < 0)
            left = left[np.argsort(rows.numbers[left], kind="stable")]
            return left[np.diff(rows.numbers[left], prepend=-1) != 0]
        first: dict[str, int] = {}
        for position, row in enumerate(rows):
            if row not in self._by_key:
                first.setdefault(row, position)
        return np.fromiter(first.values(), np.int64, len(first))

    def of(self, rows: Sequence[str]) -> np.ndarray:
        """As ``Store.places``.

        Raises:
            KeyError: one is not kept.
        """
        if not isinstance(rows, Keys):
            return np.array([self._by_key[row] for row in rows], np.int64).reshape(len(rows), 2)
        found = self._of_keys(rows)
        if len(none := np.flatnonzero(found[:, 0] < 0)):
            raise KeyError(rows[int(none[0])])
        return found

    def _of_keys(self, keys: Keys) -> np.ndarray:
        """The same, -1 where a row is not kept."""
        found = np.full((len(keys), 2), -1, np.int64)
        for number, positions in keys.by_shard():
            runs = self._sorted(keys.shards[number])
            if runs is None:
                continue
            rows = keys.row[positions]
            run = runs[np.searchsorted(runs[:, 0], rows, "right") - 1]
            kept = (rows >= run[:, 0]) & (rows < run[:, 1])
            found[positions[kept], 0] = run[kept, 2]
            found[positions[kept], 1] = (run[:, 3] + rows - run[:, 0])[kept]
        return found

    def _sorted(self, name: str) -> np.ndarray | None:
        """The runs of a shard, ascending and apart: first row, what comes after the last, number, position; None for none."""
        if name not in self._runs:
            if name not in self._added:
                return None
            runs = np.concatenate(self._added[name])
            runs = runs[np.lexsort((-runs[:, 1], runs[:, 0]))]
            # what two writers have kept, each for itself, counts once
            reached = np.maximum.accumulate(np.concatenate([[0], runs[:-1, 1]]))
            over = np.maximum(reached - runs[:, 0], 0)
            runs[:, 0] += over
            runs[:, 3] += over
            self._runs[name] = runs[runs[:, 0] < runs[:, 1]]
            self._added[name] = [self._runs[name]]
        return self._runs[name]

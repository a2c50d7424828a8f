"""Where the records of images are kept, held in memory: a dict of keys, or runs of rows of shards, which are far fewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
            ranges = rows.by_shard()
            found = [self._absent(rows, number, ranges.places(number)) for number in rows.used]
            return np.concatenate([np.zeros(0, np.int64), *found])
        first: dict[str, int] = {}
        for position, row in enumerate(rows):
            if row not in self._by_key:
                first.setdefault(row, position)
        return np.fromiter(first.values(), np.int64, len(first))

    def finder(self, rows: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
        """As ``Store.finder``."""
        if not isinstance(rows, Keys):
            places = np.array([self._by_key[row] for row in rows], np.int64).reshape(len(rows), 2)
            return places.__getitem__
        runs = self._of_all(rows)

        def found(positions: np.ndarray) -> np.ndarray:
            numbers = rows.numbers.at(positions)
            run = runs[np.searchsorted(runs[:, 0], numbers, "right") - 1]
            if len(none := np.flatnonzero((numbers < run[:, 0]) | (numbers >= run[:, 1]))):
                raise KeyError(rows[int(positions[none[0]])])
            return np.column_stack([run[:, 2], run[:, 3] + numbers - run[:, 0]])

        return found

    def _of_all(self, keys: Keys) -> np.ndarray:
        """As ``_sorted`` the runs of all shards that keys lie in, rows counted over all; one of no rows if there is none."""
        none = np.zeros((1, 4), np.int64)
        found = [
            runs + np.array([keys.ends[number], keys.ends[number], 0, 0])
            for number in keys.used
            if (runs := self._sorted(keys.shards[number])) is not None
        ]
        return np.concatenate(found or [none])

    def _absent(self, keys: Keys, number: int, positions: np.ndarray) -> np.ndarray:
        """Those of a shard's positions that are not kept, of each row one, in the order of rows."""
        rows, runs = keys[positions].row, self._sorted(keys.shards[number])
        left = np.ones(len(rows), bool)
        if runs is not None:
            run = runs[np.searchsorted(runs[:, 0], rows, "right") - 1]
            left = (rows < run[:, 0]) | (rows >= run[:, 1])
        positions, rows = positions[left], rows[left]
        order = np.argsort(rows, kind="stable")
        return positions[order[np.diff(rows[order], prepend=-1) != 0]]

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

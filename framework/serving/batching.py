"""Requests of many clients in one batch: a queue, and one thread that gives the network what has gathered."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

Row = np.ndarray


class _Item(NamedTuple):
    image: np.ndarray
    answer: Future[Row]


class Batcher:
    """Gathers images to batches and works on one batch at a time, in a thread of its own.

    A batch starts when it is full, when its first image has waited long enough, or when no image is on its way: a
    lone client never waits for others.

    Args:
        work: from uint8 images (batch, height, width, channels) to rows, (batch, …), in their order.
        most: images a batch.
        wait: seconds that an image waits for others at most.
        coming: how many images are on their way here.
        seen: told the size and the seconds of each batch that was worked on.
    """

    def __init__(
        self,
        work: Callable[[np.ndarray], np.ndarray],
        most: int,
        wait: float,
        coming: Callable[[], int],
        seen: Callable[[int, float], None],
    ):
        self._work, self._most, self._wait, self._coming, self._seen = work, most, wait, coming, seen
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def put(self, image: np.ndarray, answer: Future[Row]) -> None:
        """Queue an image, uint8 (height, width, channels); ``answer`` gets its row, unless it is cancelled before."""
        self._queue.put(_Item(image, answer))

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return self._queue.qsize()

    def close(self) -> None:
        """Work on what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open = True
        while open:
            items, open = self._gather()
            items = [item for item in items if item.answer.set_running_or_notify_cancel()]
            if items:
                self._answer(items)

    def _gather(self) -> tuple[list[_Item], bool]:
        """The next batch, and whether more may follow."""
        items: list[_Item] = []
        until = 0.0
        while len(items) < self._most:
            try:
                if not items:
                    item = self._queue.get()
                    until = time.monotonic() + self._wait
                elif self._coming() > 0 and (left := until - time.monotonic()) > 0:
                    item = self._queue.get(timeout=left)
                else:
                    item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return items, False
            items.append(item)
        return items, True

    def _answer(self, items: list[_Item]) -> None:
        started = time.perf_counter()
        try:
            rows = self._work(np.stack([item.image for item in items]))
        except Exception as error:
            for item in items:
                item.answer.set_exception(error)
            return
        self._seen(len(items), time.perf_counter() - started)
        for item, row in zip(items, rows, strict=True):
            item.answer.set_result(row)

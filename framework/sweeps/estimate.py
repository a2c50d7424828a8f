"""How long a sweep will still take: what its runs have shown so far, laid out over the places that run side by side."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

LATEST_EPOCHS = 5
LATEST_RUNS = 50


@dataclass(frozen=True)
class Course:
    """A run as far as it has come.

    Attributes:
        epochs: that it has to do, at most, from where it began.
        state: whether it waits, runs, or is over.
        kind: runs of one kind are likely to take as long.
        elapsed: seconds since it began; all of them once it is over.
        since: seconds since its latest epoch ended, since it began where none has.
        done: seconds of each epoch that it has done.
        shared: of the seconds before its first epoch, those in which it may have made what later runs only read.
    """

    epochs: int
    state: Literal["waiting", "running", "ended"] = "waiting"
    kind: Hashable = None
    elapsed: float = 0.0
    since: float = 0.0
    done: tuple[float, ...] = ()
    shared: float = 0.0


@dataclass(frozen=True)
class _Pace:
    """Seconds before the first epoch, of an epoch, and behind the last."""

    start: float
    epoch: float
    end: float


def seconds_left(courses: Sequence[Course], at_once: int) -> float | None:
    """Seconds until all runs are over, None as long as no run has done two epochs or is over.

    Each run under way has what is left of its epochs before it, at its own pace once it has done two; each waiting one
    a whole run as those of its kind have shown it, and begins as soon as a place is free.

    Args:
        courses: all runs, in the order in which they begin.
        at_once: how many run side by side.
    """
    ended = [one for one in courses if one.state == "ended" and one.done]
    running = [one for one in courses if one.state == "running"]
    # a first epoch alone, in which graphs are traced, tells of no other
    guides = ended[-LATEST_RUNS:] + [one for one in running if len(one.done) > 1]
    if not guides:
        return None
    # less than one where runs stop early
    shares = [len(one.done) / one.epochs for one in ended] or [1.0]
    paces = {kind: _pace([one for one in guides if one.kind == kind]) for kind in {one.kind for one in guides}}
    common, share = _pace(guides), fmean(shares)
    busy = [_left(one, paces.get(one.kind, common), shares) for one in running]
    free = max(at_once, len(busy), 1) - len(busy)
    places = [0.0] * free + busy
    heapq.heapify(places)
    for one in courses:
        if one.state == "waiting":
            pace = paces.get(one.kind, common)
            whole = pace.start + share * one.epochs * pace.epoch + pace.end
            heapq.heapreplace(places, places[0] + whole)
    return max(places)


def _pace(alike: Sequence[Course]) -> _Pace:
    """Of a run that begins now, from runs like it."""
    # of epochs those under way tell too: those that are over are the quick ones
    over = [one for one in alike if one.state == "ended"]
    begun = [one for one in over if not one.shared] or over or alike
    starts = [one.elapsed - one.since - one.shared - len(one.done) * _epoch(one) for one in begun]
    end = fmean(one.since for one in over) if over else 0.0
    return _Pace(max(0.0, fmean(starts)), fmean(map(_epoch, alike)), end)


def _epoch(course: Course) -> float:
    """Seconds of an epoch; the first, in which graphs are traced, tells least."""
    return fmean(course.done[1:][-LATEST_EPOCHS:] or course.done)


def _left(course: Course, pace: _Pace, shares: Sequence[float]) -> float:
    """Seconds until a run under way is over; others did these shares of their epochs."""
    done = len(course.done)
    epoch = _epoch(course) if done > 1 else pace.epoch
    longer = [share * course.epochs - done for share in shares if share * course.epochs > done]
    left = fmean(longer) if longer else (course.epochs - done) / 2
    if not done:
        return max(pace.start + left * epoch - course.elapsed, (left - 1) * epoch, 0.0) + pace.end
    if left <= 0:
        return max(pace.end - course.since, 0.0)
    return left * epoch - min(course.since, epoch) + pace.end

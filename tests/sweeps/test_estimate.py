"""The time that a sweep says is left, against how long a schedule of random runs then really takes."""

import heapq
import random

import pytest

from framework.sweeps.estimate import Course, seconds_left


class Made:
    """A run that is going to take this long: before its first epoch, each epoch, and behind the last."""

    def __init__(self, start, epochs, end, kind=None, shared=0.0):
        self.start, self.epochs, self.end, self.kind, self.shared = start, epochs, end, kind, shared

    @property
    def seconds(self):
        return self.shared + self.start + sum(self.epochs) + self.end

    def at(self, began, now, planned):
        """What is seen of it at this moment."""
        if began > now:
            return Course(planned, kind=self.kind)
        ends, clock = [], began + self.shared + self.start
        for seconds in self.epochs:
            clock += seconds
            ends.append(clock)
        done = tuple(seconds for seconds, end in zip(self.epochs, ends, strict=True) if end <= now)
        over = began + self.seconds <= now
        now = min(now, began + self.seconds)
        since = now - (ends[len(done) - 1] if done else began)
        return Course(planned, "ended" if over else "running", self.kind, now - began, since, done, self.shared)


def schedule(runs, at_once):
    """When each begins."""
    places, begins = [0.0] * at_once, []
    for run in runs:
        begins.append(heapq.heappop(places))
        heapq.heappush(places, begins[-1] + run.seconds)
    return begins


def errors(runs, at_once, planned):
    """How wrong the estimate is, as a share of what is left, at many moments from the end of the third run on."""
    begins = schedule(runs, at_once)
    ends = sorted(begin + run.seconds for begin, run in zip(begins, runs, strict=True))
    moments = [ends[2] + (ends[-1] - ends[2]) * step / 40 for step in range(40)]
    found = []
    for now in moments:
        courses = [run.at(begin, now, planned) for run, begin in zip(runs, begins, strict=True)]
        left = seconds_left(courses, at_once)
        assert left is not None
        # two seconds more or less are nothing to a person
        found.append(max(0.0, abs(left - (ends[-1] - now)) - 2) / (ends[-1] - now))
    return found


def made(chance, spread, **more):
    """Ten epochs of about three seconds; runs differ by ``spread`` from each other, epochs by a tenth of that."""
    pace = 3 * chance.uniform(1 - spread, 1 + spread)
    epochs = [pace * chance.uniform(1 - spread / 10, 1 + spread / 10) for _ in range(10)]
    epochs[0] += 2
    return Made(4 * chance.uniform(0.8, 1.2), epochs, 1.5 * chance.uniform(0.8, 1.2), **more)


@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [4, 9, 30])
def test_the_time_left_is_right_within_a_quarter_from_the_third_run_on(at_once, count):
    for seed in range(20):
        chance = random.Random(seed)
        assert max(errors([made(chance, 0.2) for _ in range(count)], at_once, 10)) < 0.25


def test_it_is_mostly_right_where_runs_take_very_different_times():
    found = []
    for seed in range(40):
        chance = random.Random(seed)
        found += errors([made(chance, 0.8) for _ in range(30)], 3, 10)
    assert sum(error < 0.25 for error in found) > 0.9 * len(found)


def test_what_the_first_runs_made_for_all_is_not_expected_of_the_others():
    for seed in range(20):
        chance = random.Random(seed)
        runs = [made(chance, 0.2, shared=120 if number < 3 else 0) for number in range(12)]
        assert max(errors(runs, 3, 10)) < 0.25


def test_runs_of_a_kind_tell_of_their_kind():
    for seed in range(20):
        chance = random.Random(seed)
        runs = [made(chance, 0.1, kind="small") for _ in range(12)]
        for number in range(1, 12, 2):
            slow = [8 * seconds for seconds in runs[number].epochs]
            runs[number] = Made(4, slow, 2, kind="large")
        assert max(errors(runs, 3, 10)) < 0.25


def test_runs_that_stop_early_are_expected_to():
    found = []
    for seed in range(20):
        chance = random.Random(seed)
        runs = [made(chance, 0.1) for _ in range(20)]
        for run in runs:
            run.epochs = run.epochs[: chance.randint(5, 7)]
        found += errors(runs, 3, 10)
    assert sum(error < 0.25 for error in found) > 0.95 * len(found)


def test_nothing_is_said_before_anything_is_known():
    assert seconds_left([Course(10, "running", elapsed=5, since=5), Course(10)], 1) is None
    assert seconds_left([Course(10, "running", elapsed=5, since=0, done=(3.0,)), Course(10)], 1) is None


def test_a_first_epoch_in_which_graphs_are_traced_is_not_taken_for_a_pace():
    for seed in range(20):
        chance = random.Random(seed)
        runs = [made(chance, 0.1, kind=number // 3) for number in range(12)]
        for run in runs:
            run.epochs[0] += 40
        assert max(errors(runs, 3, 10)) < 0.25


def test_two_epochs_of_the_first_run_are_enough_to_begin_with():
    first = Course(10, "running", elapsed=18, since=0, done=(13.0, 3.0))
    assert seconds_left([first], 1) == pytest.approx(24)
    assert seconds_left([first, Course(10)], 1) == pytest.approx(24 + 42)
    assert seconds_left([first, Course(10)], 2) == pytest.approx(42)


def test_a_run_that_has_done_its_epochs_is_about_to_end():
    before = Course(2, "ended", elapsed=10, since=2, done=(4.0, 3.0))
    assert seconds_left([before, Course(2, "running", elapsed=9, since=0.5, done=(4.0, 3.0))], 1) == pytest.approx(1.5)
    assert seconds_left([before, Course(2, "running", elapsed=90, since=60, done=(4.0, 3.0))], 1) == 0

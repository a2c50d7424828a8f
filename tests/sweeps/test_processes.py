"""Calls in processes of their own."""

import atexit
import os
import time

from framework.sweeps.processes import in_processes


def exits(code):
    return lambda: code


def test_each_end_is_told_with_its_code():
    ended = list(in_processes([exits(0), exits(3), lambda: os.kill(os.getpid(), 9)], 2))
    assert sorted((one.place, one.code) for one in ended) == [(0, 0), (1, 3), (2, -9)]
    assert all(one.seconds < 20 for one in ended)


def test_no_more_run_at_once_than_are_allowed(tmp_path):
    def call():
        mark = tmp_path / str(os.getpid())
        mark.touch()
        crowd = len(list(tmp_path.iterdir()))
        time.sleep(0.1)
        mark.unlink()
        return crowd

    assert {one.code for one in in_processes([call] * 6, 2)} <= {1, 2}


def test_a_call_is_taken_just_before_it_starts():
    taken = []

    def calls():
        for number in range(3):
            taken.append(number)
            yield exits(0)

    ends = in_processes(calls(), 1)
    next(ends)
    assert taken == [0]
    ends.close()


def test_closing_interrupts_what_runs():
    began = time.monotonic()
    ends = in_processes([exits(0), lambda: time.sleep(60) or 0], 2)
    next(ends)
    ends.close()
    assert time.monotonic() - began < 15


def test_what_a_call_does_to_memory_is_not_felt_here():
    seen = []
    list(in_processes([lambda: seen.append(1) or 0], 1))
    assert seen == []


def test_what_is_left_to_a_child_s_exit_is_done_and_nothing_of_the_parent_s(tmp_path):
    def leaves():
        atexit.register((tmp_path / "child").touch)
        return 0

    atexit.register(ours := (tmp_path / "parent").touch)
    try:
        list(in_processes([leaves], 1))
    finally:
        atexit.unregister(ours)
    assert [path.name for path in tmp_path.iterdir()] == ["child"]


STARTS: list[int] = []
SLOW: list[int] = []
# Python ignores what such a hook raises: an interruption that came in it was lost
os.register_at_fork(before=lambda: STARTS.append(1), after_in_child=lambda: time.sleep(len(STARTS) in SLOW))


def test_an_interruption_that_meets_a_child_at_its_start_is_not_lost():
    SLOW[:] = [len(STARTS) + 2]
    ends = in_processes([exits(0), lambda: time.sleep(60) or 0], 2)
    next(ends)
    began = time.monotonic()
    ends.close()
    assert time.monotonic() - began < 15

"""Calls in processes of their own."""

import atexit
import functools
import os
import signal
import time

from framework.sweeps import processes
from framework.sweeps.engines import Call, all_ended
from framework.sweeps.processes import Processes, in_processes


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


def notes(folder, number, code=0):
    (folder / str(number)).write_text(str(os.getpid()))
    return code


def of_kinds(calls, kind=lambda place: "one"):
    """The ends of calls, one at a time, those of one kind in one process if that can be."""
    with Processes() as here:
        yield from all_ended((Call(call, kind=kind(place)) for place, call in enumerate(calls)), here, lambda: 1)


def pids(folder):
    return [(folder / name).read_text() for name in sorted(os.listdir(folder))]


def test_a_process_does_another_call_where_it_may(tmp_path):
    calls = [functools.partial(notes, tmp_path, number) for number in range(4)]
    ended = list(of_kinds(calls, lambda place: place < 2))
    assert [(one.place, one.code) for one in ended] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    first, second, third, fourth = pids(tmp_path)
    assert first == second != third == fourth


def test_after_a_call_that_ended_ill_another_process_goes_on(tmp_path):
    calls = [functools.partial(notes, tmp_path, number, 3 * (number == 1)) for number in range(3)]
    assert [one.code for one in of_kinds(calls)] == [0, 3, 0]
    first, second, third = pids(tmp_path)
    assert first == second != third


def test_a_process_that_was_killed_takes_its_call_alone(tmp_path):
    calls = [functools.partial(notes, tmp_path, 0), functools.partial(signal.raise_signal, signal.SIGKILL)]
    calls += [functools.partial(notes, tmp_path, number) for number in (2, 3)]
    assert [one.code for one in of_kinds(calls)] == [0, -9, 0, 0]
    first, second, third = pids(tmp_path)
    assert first != second == third


def test_a_process_that_died_waiting_for_a_call_is_replaced(tmp_path):
    ends = of_kinds(functools.partial(notes, tmp_path, number) for number in (0, 1))
    next(ends)
    os.kill(int(*pids(tmp_path)), signal.SIGKILL)
    time.sleep(0.2)
    assert [one.code for one in ends] == [0]
    assert len(set(pids(tmp_path))) == 2


def test_what_can_t_be_sent_to_a_process_has_its_own(tmp_path):
    calls = [lambda number=number: notes(tmp_path, number) for number in range(2)]
    assert [one.code for one in of_kinds(calls)] == [0, 0]
    assert len(set(pids(tmp_path))) == 2


def test_no_process_does_more_calls_than_are_good_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "MOST_CALLS", 2)
    list(of_kinds(functools.partial(notes, tmp_path, number) for number in range(3)))
    first, second, third = pids(tmp_path)
    assert first == second != third


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


def test_a_process_is_given_the_call_that_it_makes_sooner(tmp_path):
    graphs = ["a", "b", "c", "b", "a"]
    with Processes() as here:
        left, taken = list(enumerate(graphs)), []

        def calls():
            while left:
                place, graph = left.pop(here.suited(graph for _, graph in left))
                taken.append(place)
                yield Call(functools.partial(notes, tmp_path, place), kind="one", graph=graph)

        assert [one.code for one in all_ended(calls(), here, lambda: 1)] == [0] * len(graphs)
    assert taken == [0, 4, 1, 3, 2]
    assert len(set(pids(tmp_path))) == 1

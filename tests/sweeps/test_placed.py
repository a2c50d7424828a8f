"""What is done when workers that were placed on a cluster have ended."""

from __future__ import annotations

import pytest

from framework.core.errors import BadInput, RunStopped
from framework.runs.job import Job
from framework.sweeps import placed
from framework.sweeps.engines import Ended
from tests.options.made import settings

GONE = (1, "Ray gave it up")


def ends(*given):
    """Ends of workers, a place and a code or a code and a reason each, in order."""
    return [Ended(place, *((code, 1.0) if isinstance(code, int) else (code[0], 1.0, code[1]))) for place, code in given]


@pytest.mark.parametrize(
    ("given", "again"),
    [
        ([(1, -9), (0, 3)], True),
        ([(1, 3), (0, 3)], True),
        ([(0, GONE), (1, 3)], True),
        ([(0, 0), (1, 0)], False),
        ([(0, 0), (1, -9)], False),  # what the first has written is whole
        ([(1, 2), (0, 3)], False),
        ([(0, 1), (1, 3)], False),
        ([(0, (2, "not there")), (1, 3)], False),
    ],
)
def test_workers_begin_again_unless_one_has_said_why_it_can_t(given, again):
    assert placed._lost(ends(*given)) is again


def test_the_command_ends_as_its_workers_and_says_what_only_the_cluster_knows(tmp_path, capsys):
    job = Job(settings(), "", tmp_path, ())
    placed._tell(job, ends((1, 0), (0, 0)))
    with pytest.raises(RunStopped, match="worker 1 was lost: Ray gave it up; the same command goes on"):
        placed._tell(job, ends((1, GONE), (0, 3)))
    with pytest.raises(BadInput, match="not there on host"):
        placed._tell(job, ends((0, (2, "not there on host")), (1, 3)))
    (tmp_path / "worker-1.txt").write_text("1 problem, nothing was started\n")
    with pytest.raises(SystemExit) as end:
        placed._tell(job, ends((1, 2), (0, 3)))
    assert end.value.code == 2
    assert capsys.readouterr().err == "worker 1 says:\n1 problem, nothing was started\n"

"""A sweep's own process does not grow with its jobs, and pays one import for all of them."""

import pytest

from benchmarks.sweep_memory import EARLY, watch


@pytest.mark.slow
def test_memory_stays_flat_over_jobs(tmp_path):
    ended, _ = watch(tmp_path, 9)
    assert max(ended) == 9
    assert ended[9] <= 1.3 * ended[EARLY]

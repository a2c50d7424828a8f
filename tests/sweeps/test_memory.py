"""A sweep's own process does not grow with its jobs, and pays one import for all of them."""

import pytest

from benchmarks.sweep_memory import EARLY, watch


@pytest.mark.slow
def test_memory_stays_flat_over_jobs(tmp_path):
    ended, _ = watch(tmp_path, 7)
    assert max(ended) == 7
    assert ended[7] <= 1.3 * ended[EARLY]

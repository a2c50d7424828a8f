"""Arrays in a file are read as they were, and stay in memory while there is room."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from framework.data import spilled as module
from framework.data.columns import Texts
from framework.data.spilled import Spilled, spilled


@pytest.fixture
def full(monkeypatch, own_cache):
    """As if all memory for such arrays were taken."""
    monkeypatch.setattr(module, "MEMORY", 0)
    monkeypatch.setattr(module, "_files", {})


def test_an_array_on_disk_is_read_in_parts(full):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 200, shape).astype(kind) for shape, kind in (((5000,), "u1"), ((900, 2), "i8"))]
    for array, found in [(array, spilled(array)) for array in arrays]:
        assert isinstance(found, Spilled)
        assert len(found) == len(array)
        for part in (slice(None), slice(3, 8), slice(-2, None), slice(7, 3)):
            np.testing.assert_array_equal(found[part], array[part])
            assert found[part].dtype == array.dtype
        np.testing.assert_array_equal(found[-1], array[-1])
        with pytest.raises(IndexError):
            found[len(array)]


def test_few_bytes_and_what_no_disk_takes_stay_in_memory(full, monkeypatch):
    small, large = np.zeros(10), np.zeros(1000)
    assert spilled(small) is small

    def no_room(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_room)
    assert spilled(large) is large
    monkeypatch.setattr(module, "MEMORY", 1 << 40)
    assert spilled(large) is large


def test_a_forked_process_reads_its_parents_arrays_and_writes_beside(full):
    first = np.arange(1000)
    ours = spilled(first)
    child = os.fork()
    if not child:
        theirs = spilled(-first)
        os._exit(int(not (np.array_equal(theirs[:], -first) and np.array_equal(ours[:], first))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(spilled(2 * first)[:], 2 * first)
    np.testing.assert_array_equal(ours[:], first)


def test_texts_on_disk_are_found_again(full):
    texts = [f"{number}.jpg" for number in range(3000)] + ["", "é", "\udcff.jpg", "plumless", "buckeroo"]
    found = Texts(texts)
    assert list(found) == texts
    assert [found.find(text) for text in texts] == list(range(len(texts)))
    assert [found.find(text) for text in ("3000.jpg", "0.jp")] == [-1, -1]

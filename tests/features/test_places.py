"""Where records are kept: rows of shards are found by their runs as any key is by itself, and damaged runs are noticed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from framework.core.errors import RunFailed
from framework.data.columns import Keys
from framework.features import shards
from framework.features import store as module
from framework.features.compute import unchanged
from framework.features.places import Places
from framework.features.shards import BY_SHARD, Layout, Runs
from framework.features.store import Store
from framework.features.upkeep import listing, verify

LAYOUT = Layout(((2,),), "float32")
NAMES = ("a" * 32, "b" * 32, "c" * 32)


def keys(*pairs):
    shard, row = np.array(pairs, np.int64).reshape(-1, 2).T
    return Keys.of(NAMES, shard, row)


def records(some):
    """Of each row what no other has."""
    return np.stack([some.shard, some.row], axis=1).astype(np.float32).view(np.uint8)


def opened(root):
    store = Store(root, {"prefix": "abc"}, LAYOUT, by_shard=True)
    store.open({})
    store.refresh()
    return store


def filled(root, some):
    store = opened(root)
    with store.writing():
        store.add((some[at : at + 4], records(some[at : at + 4])) for at in range(0, len(some), 4))
    return store


def test_rows_of_shards_come_back_in_any_order(tmp_path):
    some = keys((1, 5), (1, 6), (1, 7), (0, 3), (0, 2), (2, 0), (1, 9), (1, 10))
    filled(tmp_path, some).close()
    store = opened(tmp_path)
    order = np.array([7, 0, 0, 5, 3, 4, 2, 1, 6])
    np.testing.assert_array_equal(store.read(store.finder(some)(order)), records(some[order]))
    wanted = keys((1, 8), (0, 3), (2, 1), (0, 4), (1, 8), (1, 4), (0, 0))
    missing = store.missing(wanted)
    assert list(missing) == [f"{NAMES[shard]}:{row}" for shard, row in ((0, 0), (0, 4), (1, 4), (1, 8), (2, 1))]
    with pytest.raises(KeyError, match=f"{NAMES[1]}:8"):
        store.finder(wanted)(np.arange(len(wanted)))
    # of the same shards in another order, beside others
    other = Keys.of(("d" * 32, NAMES[1]), np.array([0, 1]), np.array([5, 5]))
    assert store.absent(other).tolist() == [0]
    (entry,) = listing(tmp_path)
    assert entry.images == 8


def test_the_index_holds_runs_and_a_key_of_the_cache_is_of_one_form(tmp_path):
    store = filled(tmp_path, keys(*((0, row) for row in range(1000)), *((1, row) for row in range(500, 0, -1))))
    (index,) = shards.indexes(store.folder)
    said = json.loads(index.read_text())
    assert said["format"] == BY_SHARD
    assert said["rows"]["shards"] == list(NAMES[:2])
    assert said["rows"]["runs"][0] == [0, 1000]
    assert len(said["rows"]["runs"]) == 501
    assert (
        Store(tmp_path, {"prefix": "abc"}, LAYOUT).key != store.key
    )  # earlier versions don't meet what they can't read


@pytest.mark.parametrize(
    "change",
    [('"runs": [[0, 6]]', '"runs": [[1, 7]]'), ('"runs": [[0, 6]]', '"runs": [[6, 0]]'), ('"of": [0]', '"of": [7]')],
)
def test_a_changed_run_is_noticed(tmp_path, capsys, change):
    store = filled(tmp_path, keys(*((0, row) for row in range(6))))
    (index,) = shards.indexes(store.folder)
    assert change[0] in index.read_text()
    index.write_text(index.read_text().replace(*change))
    assert len(opened(tmp_path).missing(keys((0, 3), (0, 6)))) == 2
    assert "its index can't be read" in capsys.readouterr().err
    assert verify(tmp_path) == []


def test_runs_find_what_a_dict_finds():
    """Any runs of several writers, which may have kept the same."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        places, known = Places(), {}
        for number in range(6):
            start = rng.integers(0, 30, 4)
            some = keys(
                *((rng.integers(0, 2), row) for first in start for row in range(first, first + rng.integers(1, 9)))
            )
            runs = Runs.of(some)
            assert (len(runs), list(runs)) == (len(some), list(some))
            places.add(number, runs)
            for place, key in enumerate(some):
                known.setdefault(key, set()).add((number, place))
            wanted = keys(*((shard, row) for shard in range(3) for row in range(45)))
            absent = places.absent(wanted)
            assert [wanted[place] for place in absent.tolist()] == [key for key in wanted if key not in known]
            there = wanted[np.array([key in known for key in wanted])]
            for key, found in zip(there, places.finder(there)(np.arange(len(there))).tolist(), strict=True):
                assert tuple(found) in known[key]


def test_shards_that_change_while_they_are_read_keep_no_features(tmp_path):
    file = tmp_path / "a.tar"
    file.write_bytes(b"old")
    status = file.stat()

    def stream():
        yield "first", np.zeros(1)
        file.write_bytes(b"newer")
        yield "second", np.zeros(1)

    found = unchanged(stream(), [(str(file), (status.st_size, status.st_mtime_ns))])
    assert next(found)[0] == "first"
    with pytest.raises(RunFailed, match=f"{file} has changed since it was listed"):
        next(found)


def test_damage_to_one_shard_leaves_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "SHARD_BYTES", 4 * LAYOUT.bytes)
    some = keys(*((0, row) for row in range(12)))
    store = filled(tmp_path, some)
    first, *_ = shards.indexes(store.folder)
    first.with_suffix(".rows").unlink()
    again = opened(tmp_path)
    assert len(again.missing(some)) == 4
    filled(tmp_path, some[again.absent(some)])
    whole = opened(tmp_path)
    np.testing.assert_array_equal(whole.read(whole.finder(some)(np.arange(len(some)))), records(some))

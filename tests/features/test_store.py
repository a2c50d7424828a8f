"""The cache on disk: what goes in comes out, and nothing that went wrong is ever read."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from framework.core.console import amount
from framework.core.errors import BadInput, RunFailed
from framework.core.files import held, whole
from framework.features import shards
from framework.features import store as module
from framework.features.shards import Layout, numpy_type
from framework.features.store import Store
from framework.features.upkeep import GIB, clear, listing, root_folder, trim, verify

LAYOUT = Layout(((4, 2), (3,)), "float32")
DESCRIPTION = {"prefix": "abc"}


def value(row: str) -> np.ndarray:
    """The record of a row: any bytes that depend on its name only."""
    return np.random.default_rng(int(row)).standard_normal(LAYOUT.bytes // 4).astype(np.float32).view(np.uint8)


def records(rows):
    return np.stack([value(row) for row in rows])


def stream(rows, size=2):
    for start in range(0, len(rows), size):
        yield rows[start : start + size], records(rows[start : start + size])


def names(*numbers):
    return [str(number) for number in numbers]


def opened(root, description=DESCRIPTION, layout=LAYOUT) -> Store:
    store = Store(root, description, layout)
    store.open({"base": "small"})
    store.refresh()
    return store


def filled(root, rows=None, description=DESCRIPTION) -> Store:
    store = opened(root, description)
    with store.writing():
        store.add(stream(rows or names(*range(6))))
    return store


def test_a_writer_may_sweep_the_folder_while_another_process_opens_it(tmp_path, monkeypatch):
    first = opened(tmp_path)
    record = first.folder / "key.json"
    content = record.read_bytes()
    record.unlink()  # as the second process finds it

    def swept_while_written(path, text):
        with whole(path) as beside:
            beside.write_text(text)
            record.write_bytes(content)  # the first process is through
            with first.writing():
                assert beside.exists()  # it is another's, and young

    monkeypatch.setattr(module, "write_whole", swept_while_written)
    second = opened(tmp_path)
    assert record.read_bytes() == content
    assert second.missing(names(1)) == ["1"]


def assert_right(store, rows):
    assert store.missing(rows) == []
    np.testing.assert_array_equal(store.read(store.finder(rows)(np.arange(len(rows)))), records(rows))


def shard_files(store, ending):
    return [path for path in sorted(store.folder.glob(f"*{ending}")) if path.name != "key.json"]


def test_records_come_back_in_any_order_with_repeats(tmp_path):
    filled(tmp_path)
    assert_right(opened(tmp_path), names(5, 0, 1, 2, 2, 4, 3, 5))


def test_what_is_missing_is_named_once_in_order(tmp_path):
    store = filled(tmp_path)
    assert store.missing(names(5, 1, 3)) == []
    assert store.missing(names(9, 1, 7, 9)) == names(9, 7)


def test_records_span_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * LAYOUT.bytes)
    store = filled(tmp_path, names(*range(7)))
    assert len(shard_files(store, ".rows")) == 4
    assert_right(opened(tmp_path), names(6, 0, 3, 2, 1, 5, 4))


def test_a_slow_writer_ends_its_shard_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_SECONDS", 0.0)
    assert len(shard_files(filled(tmp_path), ".rows")) == 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_layout_takes_records_apart(dtype):
    layout = Layout(((2, 2), (3,)), dtype)
    numbers = np.arange(14, dtype=np.float32)
    record = numbers.astype(numpy_type(dtype)).view(np.uint8).reshape(2, layout.bytes)
    first, second = layout.tensors(record)
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, [[[0, 1], [2, 3]], [[7, 8], [9, 10]]])
    np.testing.assert_array_equal(second, [[4, 5, 6], [11, 12, 13]])
    assert layout.bytes == 7 * (4 if dtype == "float32" else 2)


def test_a_store_that_was_never_written_is_empty_and_leaves_nothing(tmp_path):
    store = Store(tmp_path / "none", DESCRIPTION, LAYOUT)
    store.refresh()
    assert store.missing(names(1)) == names(1)
    assert not (tmp_path / "none").exists()


def test_the_index_says_what_the_rows_are(tmp_path):
    (index,) = shard_files(filled(tmp_path), ".json")
    assert json.loads(index.read_text()) == {
        "format": 1,
        "dtype": "float32",
        "shapes": [[4, 2], [3]],
        "bytes": 6 * 44,
        "crc32": json.loads(index.read_text())["crc32"],
        "rows_crc32": zlib.crc32(b"0\n1\n2\n3\n4\n5"),
        "rows": names(*range(6)),
    }


def test_any_change_of_the_description_is_another_key(tmp_path):
    assert filled(tmp_path).key != opened(tmp_path, {"prefix": "abd"}).key
    assert opened(tmp_path, {"prefix": "abd"}).missing(names(1)) == names(1)


# faults


def test_a_truncated_file_is_noticed_and_computed_again(tmp_path, capsys):
    (rows,) = shard_files(filled(tmp_path), ".rows")
    os.truncate(rows, 100)
    store = opened(tmp_path)
    assert "it has 100 bytes, not 264. Its features are computed again." in capsys.readouterr().err
    assert store.missing(names(*range(6))) == names(*range(6))
    with store.writing():
        store.add(stream(names(*range(6))))
    assert_right(opened(tmp_path), names(*range(6)))
    assert len(shard_files(store, ".rows")) == 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[37] ^= 1
    path.write_bytes(content)


def test_a_changed_bit_is_noticed_when_a_small_cache_is_opened(tmp_path, capsys):
    (rows,) = shard_files(filled(tmp_path), ".rows")
    flip(rows)
    assert opened(tmp_path).missing(names(1)) == names(1)
    assert "its contents have changed" in capsys.readouterr().err


def test_a_changed_bit_of_a_large_cache_is_noticed_by_verify(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKED_BYTES", 0)
    monkeypatch.setattr(module, "SHARD_BYTES", LAYOUT.bytes)
    store = filled(tmp_path)
    assert verify(tmp_path) == []
    damaged = shard_files(store, ".rows")[1]
    flip(damaged)
    assert opened(tmp_path).missing(names(*range(6))) == []
    assert verify(tmp_path, ["0" * 32]) == []
    assert verify(tmp_path) == [(damaged, "its contents have changed")]
    assert verify(tmp_path) == []
    assert len(opened(tmp_path).missing(names(*range(6)))) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "rows": 3, "bytes": 2, "crc32": 1}', "\x00"]
)
def test_a_broken_index_is_noticed(tmp_path, capsys, content):
    (index,) = shard_files(filled(tmp_path), ".json")
    index.write_text(content)
    assert opened(tmp_path).missing(names(1)) == names(1)
    assert "its index can't be read" in capsys.readouterr().err
    assert not index.exists()


def test_a_changed_bit_of_an_index_is_noticed(tmp_path, capsys):
    """Else a record would be taken for that of another image."""
    (index,) = shard_files(filled(tmp_path), ".json")
    index.write_text(index.read_text().replace('"2"', '"7"'))
    assert opened(tmp_path).missing(names(7)) == names(7)
    assert "the names in it have changed" in capsys.readouterr().err


def test_what_is_no_file_is_no_index(tmp_path):
    store = filled(tmp_path)
    os.mkfifo(store.folder / "aaaa.json")
    (store.folder / "bbbb.json").mkdir()
    assert_right(opened(tmp_path), names(*range(6)))
    assert verify(tmp_path) == []


def test_a_broken_index_is_noticed_by_verify(tmp_path):
    (index,) = shard_files(filled(tmp_path), ".json")
    index.write_text("{")
    ((path, fault),) = verify(tmp_path)
    assert path == index.with_suffix(".rows")
    assert fault.startswith("its index can't be read")


def test_missing_rows_file_is_noticed(tmp_path, capsys):
    (rows,) = shard_files(filled(tmp_path), ".rows")
    rows.unlink()
    assert opened(tmp_path).missing(names(1)) == names(1)
    assert "No such file" in capsys.readouterr().err


def test_a_file_that_shrinks_while_in_use_is_an_error(tmp_path):
    store = filled(tmp_path)
    os.truncate(shard_files(store, ".rows")[0], 100)
    with pytest.raises(RunFailed, match="can't be read any more: it is truncated"):
        store.read(store.finder(names(5))(np.arange(1)))


def test_leftovers_of_a_killed_writer_are_swept_when_they_are_old(tmp_path):
    store = filled(tmp_path)
    left = [store.folder / ".0123abcd-12.rows", store.folder / "deadbeef.rows"]
    for file in left:
        file.write_bytes(b"half, or rows without an index")
    assert_right(opened(tmp_path), names(*range(6)))
    with store.writing():
        assert all(file.exists() for file in left)  # somebody may be at work on them, on whichever machine
    for file in left:
        os.utime(file, (0, time.time() - module.STALE - 60))
    with store.writing():
        assert len(list(store.folder.iterdir())) == 3


def test_two_writers_of_one_key_that_know_nothing_of_each_other(tmp_path, monkeypatch):
    """As on two machines whose disk keeps no locks: neither takes what the other has half written."""
    monkeypatch.setattr(module, "SHARD_BYTES", 4 * LAYOUT.bytes)
    stores = [opened(tmp_path), opened(tmp_path)]

    def slowly(rows):
        for item in stream(rows):
            with opened(tmp_path).writing():  # a third one begins, and sweeps
                yield item

    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(stores[0].write, slowly(names(*range(20)))),
            pool.submit(stores[1].write, slowly(names(*range(10, 30)))),
        ]:
            done.result()
    assert not list(stores[0].folder.glob(".*"))
    both = opened(tmp_path)
    assert_right(both, names(*range(30)))
    assert both.missing(names(30)) == ["30"]


def test_shards_are_called_as_their_writer_says(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 4 * LAYOUT.bytes)
    store = opened(tmp_path)
    store.write(stream(names(*range(6))), "part-")
    store.write(stream(names(6, 7)))
    assert store.written("part-") == set(names(*range(6)))
    assert len(list(store.folder.glob("part-*.json"))) == 2


# other processes: each runs the code below with the store's folder, in a Python without TensorFlow

WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from tests.features.test_store import *
module.SHARD_BYTES = 3 * LAYOUT.bytes
store = opened(Path({root!r}))
with store.writing():
    missing = store.missing(names(*range({count})))
    print("missing", len(missing), flush=True)
    def slowly():
        for item in stream(missing, 1):
            time.sleep({pause})
            if item[0] == missing[-1:]:
                wait_for((Path({root!r}) / "go").exists)
            yield item
    store.add(slowly())
print("done", flush=True)
"""


def writer(root, count=40, pause=0.0, **options):
    """A process that writes so many rows, the last of them once there is a file ``go``."""
    code = WRITER.format(tests=str(Path(__file__).parents[2]), root=str(root), count=count, pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def folder_of(root) -> Path:
    return Store(root, DESCRIPTION, LAYOUT).folder


def indexes(root) -> list[Path]:
    return shards.indexes(folder_of(root))


@pytest.mark.slow
def test_killed_at_any_moment_leaves_only_what_is_right(tmp_path, monkeypatch):
    rng = random.Random(0)
    kept = 0
    for _ in range(8):
        process = writer(tmp_path, count=400, pause=0.001)
        shards = len(indexes(tmp_path)) + rng.randint(1, 5)
        wait_for(lambda shards=shards: len(indexes(tmp_path)) >= shards)
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = opened(tmp_path)
        rows = [row for row in names(*range(400)) if not store.missing([row])]
        assert_right(store, rows)
        assert len(rows) >= kept
        kept = len(rows)
    assert kept
    monkeypatch.setattr(module, "STALE", -60.0)  # as if all that was left were old
    with store.writing():
        store.add(stream(store.missing(names(*range(400)))))
    assert_right(opened(tmp_path), names(*range(400)))
    assert verify(tmp_path) == []
    for path in store.folder.iterdir():
        assert not path.name.startswith(".")
        assert path.with_suffix(".json").exists()


def test_two_processes_compute_once(tmp_path):
    first = writer(tmp_path)
    assert first.stdout.readline() == "missing 40\n"
    second = writer(tmp_path)
    said = f"Waiting: another process computes these features ({folder_of(tmp_path)}).\n"
    assert second.stderr.readline() == said
    (tmp_path / "go").touch()
    assert first.communicate()[0] == "done\n"
    assert second.communicate(timeout=60) == ("missing 0\ndone\n", "")


def test_the_waiting_process_takes_over_from_a_killed_one(tmp_path):
    first = writer(tmp_path, count=100)
    first.stdout.readline()
    second = writer(tmp_path, count=100)
    assert second.stderr.readline().startswith("Waiting: another process")
    wait_for(lambda: len(indexes(tmp_path)) >= 4)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (tmp_path / "go").touch()
    out, _ = second.communicate(timeout=60)
    said, done = out.splitlines()
    assert done == "done"
    assert 0 < int(said.removeprefix("missing ")) <= 88, "four shards of three rows were kept"
    assert_right(opened(tmp_path), names(*range(100)))


def disk_full(root, prefix="", **options):
    """What a writer says whose disk takes no more."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.features.test_store import *
{prefix}
module.SHARD_BYTES = 20_000
try:
    store = opened(Path({str(root)!r}))
    with store.writing():
        store.add(stream(names(*range(20_000)), 100))
except RunFailed as error:
    print(error)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


def assert_disk_was_full(done, root, reason):
    assert done.stderr == ""
    assert done.stdout == (
        f"The feature cache can't be written: {reason} ({root}). What was finished is kept. "
        "Make room and start again, or try cache.dir=<a folder on another disk>, or cache=off.\n"
    )
    store = opened(root)
    left = store.missing(names(*range(20_000)))
    assert left
    if len(left) < 20_000:
        assert_right(store, [row for row in names(*range(400)) if row not in left])
    assert not list(store.folder.glob(".*"))
    assert {path.stem for path in shard_files(store, ".rows")} == {path.stem for path in shard_files(store, ".json")}
    return left


def test_file_size_limit_is_one_message(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))"
    done = disk_full(tmp_path, limit)
    assert len(assert_disk_was_full(done, tmp_path, "file too large")) == 20_000


def test_disk_full_is_one_message_and_whole_shards_stay(mounted):
    disk = mounted("size=300k")
    left = assert_disk_was_full(disk_full(disk), disk, "no space left on device")
    assert len(left) < 20_000
    store = opened(disk)
    with pytest.raises(RunFailed, match=r"The features take 859 KiB, and .*disk has .* free. Make room, or try"):
        store.make_room(20_000, limit=1.0)
    store.close()


# size and the cache command


def test_more_than_the_limit_is_refused(tmp_path):
    with pytest.raises(BadInput) as caught:
        opened(tmp_path).make_room(GIB // LAYOUT.bytes * 3, limit=2.0)
    (problem,) = caught.value.problems
    assert problem.what == "the features take 3.0 GiB, more than the cache may hold (2 GiB)"
    assert problem.where == "cache.size_limit"
    assert problem.right == "cache.size_limit=3, cache.dtype=float16, or cache=off"


def several(root, count=4):
    """Stores used one after another, closed."""
    stores = []
    for number in range(count):
        store = filled(root, description={"prefix": str(number)})
        os.utime(store.folder / "key.json", (1000 + number, 1000 + number))
        store.close()
        stores.append(store)
    return stores


def sizes(stores):
    return [sum(path.stat().st_size for path in store.folder.iterdir()) for store in stores]


def test_the_least_recently_used_goes_first(tmp_path, capsys):
    stores = several(tmp_path)
    again = opened(tmp_path, {"prefix": "0"})
    again.close()
    total = sum(sizes(stores))
    freed = trim(tmp_path, (total - 1) / GIB)
    assert [store.folder.exists() for store in stores] == [True, False, True, True]
    assert freed == total - sum(sizes([stores[0], *stores[2:]]))
    assert f"Cleared features from the cache, to keep within {(total - 1) / GIB:g} GiB: {stores[1].key}" in (
        capsys.readouterr().err.replace("\n", "")
    )
    assert trim(tmp_path, (total - 1) / GIB) == 0


def user(root, prefix):
    """A process that has these features open until it reads a line; it has said so."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from tests.features.test_store import *\n"
            f"store = opened(Path({str(root)!r}), {{'prefix': '{prefix}'}})\nprint('open', flush=True)\ninput()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_process_used_can_be_cleared(tmp_path):
    (store,) = several(tmp_path, 1)
    killed = user(tmp_path, "0")
    assert killed.stdout.readline() == "open\n"
    assert clear(tmp_path) == (0, [store.key])
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert clear(tmp_path)[1] == []
    assert not list((tmp_path / "locks").glob(f"{store.key}.*.use")), "its lock file is left"


def test_who_opens_what_is_being_removed_begins_after_that(tmp_path):
    (store,) = several(tmp_path, 1)
    with ThreadPoolExecutor(1) as pool:
        with held(tmp_path, store.key) as alone:
            assert alone
            again = pool.submit(opened, tmp_path, store.description)
            time.sleep(0.3)
            assert not again.done()
            shutil.rmtree(store.folder)
        assert again.result(60).missing(names(0)) == names(0)
    with held(tmp_path, store.key) as alone:
        assert not alone
    again.result().close()
    assert clear(tmp_path)[1] == []


def test_room_is_made_for_what_is_to_come_but_not_of_what_is_in_use(tmp_path):
    stores = several(tmp_path)
    held = opened(tmp_path, {"prefix": "0"})
    os.utime(held.folder / "key.json", (1, 1))
    other = user(tmp_path, "1")
    assert other.stdout.readline() == "open\n"
    held.make_room(1000, limit=1006 * LAYOUT.bytes / GIB)
    assert [store.folder.exists() for store in stores] == [True, True, False, False]
    assert {entry.key: entry.in_use for entry in listing(tmp_path)} == {stores[0].key: True, stores[1].key: True}
    assert clear(tmp_path) == (0, [entry.key for entry in sorted(listing(tmp_path), key=lambda entry: entry.key)])
    other.communicate("\n")
    held.close()
    total = sum(sizes(stores[:2]))
    assert clear(tmp_path, [stores[0].key])[1] == []
    assert not stores[0].folder.exists()
    assert clear(tmp_path)[0] < total
    assert listing(tmp_path) == []


def test_listing_says_what_is_kept(tmp_path):
    stores = several(tmp_path, 2)
    first, second = listing(tmp_path)
    assert (first.key, second.key) == (stores[1].key, stores[0].key)
    assert first.about == {"base": "small"}
    assert first.depends_on == {"prefix": "1"}
    assert first.images == 6
    assert first.bytes == sizes(stores)[1]
    assert first.last_used == 1001
    assert not first.in_use
    assert listing(tmp_path / "none") == []


def test_what_is_not_the_caches_own_is_left_alone(tmp_path):
    several(tmp_path, 1)
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "photo.jpg").write_bytes(b"photo")
    (tmp_path / ".removed-mine").mkdir()
    clear(tmp_path)
    trim(tmp_path, 0)
    assert (tmp_path / "holidays" / "photo.jpg").exists()
    assert (tmp_path / ".removed-mine").exists()


def test_what_a_killed_process_was_removing_is_removed(tmp_path):
    half = tmp_path / f".removed-{'0' * 32}"
    half.mkdir(parents=True)
    listing(tmp_path)
    assert not half.exists()


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput) as caught:
        opened(tmp_path / "file" / "features")
    (problem,) = caught.value.problems
    assert problem.what == f"the feature cache can't be kept in {tmp_path / 'file' / 'features'}: Not a directory"
    assert problem.where == "cache.dir"


def test_the_place_is_the_users_cache_folder_or_the_one_given(own_cache):
    assert root_folder(None) == own_cache / "framework" / "features"
    assert root_folder("/data/features") == Path("/data/features")
    assert root_folder("~/features") == Path.home() / "features"


def test_amounts_in_words():
    assert [amount(size) for size in (12, 3000, 5 << 20, 3 << 30)] == ["12 bytes", "2.93 KiB", "5 MiB", "3.0 GiB"]

"""Very many images in columns: they are read as the paths that they stand for, and known by their shards."""

from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framework.core.errors import BadInput
from framework.data import columns, decode, fingerprint, memo
from framework.data.columns import Coded, Keys, ShardPaths, Texts, joined, numbers_of, runs_of, within
from framework.data.edits import edited
from framework.data.embedded import list_embedded
from framework.data.images import to_draw
from framework.data.selection import by_group, narrow, readable
from framework.data.splits import Splitting, drawn
from tests.data.sharded import samples
from tests.data.test_embedded import written
from tests.data.test_shards import MAKE, undrawn


@pytest.fixture
def many(monkeypatch):
    """As if these few images were very many."""
    monkeypatch.setattr(columns, "MANY", 1)


def both(monkeypatch, kind, files):
    """The images of some files by their paths, and in columns."""
    plain = undrawn(kind, files)
    monkeypatch.setattr(columns, "MANY", 1)
    return plain, undrawn(kind, files)


def settled(*files):
    """Files that are older than any memory of them."""
    for file in files:
        os.utime(file, (1_000_000_000, 1_000_000_000))


def assert_same(found, plain):
    assert found.classes == plain.classes
    assert list(found.splits) == list(plain.splits)
    for name, split in plain.splits.items():
        assert isinstance(found.splits[name].paths, ShardPaths)
        assert tuple(found.splits[name].paths) == split.paths
        assert found.splits[name].labels.dtype == (np.uint8 if split.labels.ndim == 1 else split.labels.dtype)
        assert np.array_equal(found.splits[name].labels, split.labels)
    assert found.told() == plain.told()


@pytest.mark.parametrize("kind", MAKE)
def test_images_in_columns_are_those_of_the_list(photos, tmp_path, monkeypatch, kind):
    MAKE[kind](photos, tmp_path / "shards")
    plain, found = both(monkeypatch, kind, tmp_path / "shards")
    assert_same(found, plain)
    for wanted in (Splitting(1), Splitting(2), Splitting(1, folds=3, fold=2), Splitting(1, group="(\\d+)\\D*$")):
        assert_same(drawn(found, wanted), drawn(plain, wanted))
    one, other = drawn(found, Splitting(1)), drawn(plain, Splitting(1))
    for classes, positive, limit in ((["red", "blue"], None, None), (None, "green", None), (None, None, 9)):
        assert_same(narrow(one, classes, positive, limit, 1), narrow(other, classes, positive, limit, 1))
    for number, path in enumerate(other.splits["train"].paths):
        assert one.splits["train"].paths[number] == path
    assert one.splits["train"].paths[-1] == other.splits["train"].paths[-1]
    assert one.splits["train"].paths[::-2] == other.splits["train"].paths[::-2]
    assert list(joined([split.paths for split in one.splits.values()])) == [
        path for split in other.splits.values() for path in split.paths
    ]


def test_lists_of_images_work_on_columns(photos, tmp_path, monkeypatch):
    MAKE["webdataset"](photos, tmp_path / "shards")
    plain, found = both(monkeypatch, "webdataset", tmp_path / "shards")
    first, second = [os.path.relpath(path, plain.root) for path in plain.splits["train"].paths[:2]]
    (tmp_path / "out.csv").write_text(f"path\n{first}\ngone.jpg\n")
    (tmp_path / "other.csv").write_text(f"path,label\n{second},green\n")
    lists = str(tmp_path / "out.csv"), str(tmp_path / "other.csv")
    assert_same(edited(found, *lists), edited(plain, *lists))


def test_few_images_of_many_shards_are_paths_and_known_by_their_own_bytes(photos, tmp_path, many):
    MAKE["webdataset"](photos, tmp_path / "shards")
    images = drawn(undrawn("webdataset", tmp_path / "shards"), Splitting(1))
    few = narrow(images, None, None, 1, 1)  # two of 48 members
    assert all(isinstance(split.paths, tuple) for split in few.splits.values())
    paths = few.splits["train"].paths
    assert fingerprint.keys(paths) == fingerprint.contents(paths)


@pytest.mark.parametrize("kind", MAKE)
def test_keys_are_of_shard_and_row_and_no_image_is_hashed(photos, tmp_path, many, monkeypatch, kind):
    MAKE[kind](photos, tmp_path / "shards")
    monkeypatch.setattr(fingerprint, "file_hash", None)
    monkeypatch.setattr(fingerprint, "note", None)
    images = undrawn(kind, tmp_path / "shards")
    paths = images.splits["train"].paths
    assert decode.look(paths) == decode.Look([], [])
    keys = fingerprint.keys(paths)
    assert isinstance(keys, Keys)
    assert len(set(keys)) == 24
    assert len({key.partition(":")[0] for key in keys}) == (2 if kind == "webdataset" else 1)
    assert len(fingerprint.dataset(images)) == 32


@pytest.mark.parametrize("kind", MAKE)
def test_a_shard_that_moves_is_found_again_and_one_that_changes_is_noticed(photos, tmp_path, many, kind):
    made = MAKE[kind](photos, tmp_path / "shards")
    first = made[0] if isinstance(made, list) else made
    settled(*(tmp_path / "shards").iterdir())

    def state(folder):
        images = undrawn(kind, folder)
        return set(fingerprint.keys(images.splits["train"].paths)), fingerprint.dataset(images)

    keys, whole = state(tmp_path / "shards")
    shutil.copytree(tmp_path / "shards", tmp_path / "moved")
    (tmp_path / "moved" / first.name).rename(
        tmp_path / "moved" / first.name.replace("train-0", "train-9")
    )  # in another order too
    assert state(tmp_path / "moved") == (keys, whole)
    data = bytearray(first.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 40] ^= 1  # a byte of an image
    first.write_bytes(data)
    settled(first)
    os.utime(first, (1_000_000_001, 1_000_000_001))
    changed, other = state(tmp_path / "shards")
    images = undrawn(kind, tmp_path / "shards")
    os.utime(first, (1_000_000_002, 1_000_000_002))
    with pytest.raises(BadInput, match=f"{first.name} has changed since it was listed"):
        fingerprint.keys(images.splits["train"].paths)
    assert other != whole
    assert len(keys & changed) == (12 if kind == "webdataset" else 0)  # those of the shard that is as it was


def test_two_columns_of_a_table_are_other_images(photos, tmp_path, many):
    data = [one for _, one, _ in samples(photos, "train")]
    labels = [label for *_, label in samples(photos, "train")]
    pq.write_table(pa.table({"a": data, "b": data[::-1], "label": labels}), tmp_path / "x.parquet")
    from framework.data.sources import read_all

    def keys(column):
        given = {"image_column": column, "label_column": None, "names": None, "validation": 0.2, "test": 0.0}
        images = read_all("parquet", 1, files=str(tmp_path / "x.parquet"), **given)
        return set(fingerprint.keys(images.splits["train"].paths))

    assert not keys("a") & keys("b")


def test_the_digest_is_of_labels_and_splits_and_no_order(photos, tmp_path, many):
    from dataclasses import replace

    MAKE["webdataset"](photos, tmp_path / "shards")
    images = drawn(undrawn("webdataset", tmp_path / "shards"), Splitting(1))
    train = images.splits["train"]
    whole = fingerprint.dataset(images)

    def changed(**splits):
        return fingerprint.dataset(replace(images, splits={**images.splits, **splits}))

    turned = replace(train, paths=train.paths[::-1], labels=train.labels[::-1])
    assert changed(train=turned) == whole
    assert changed(train=replace(train, labels=(train.labels + 1) % 3)) != whole
    assert changed(train=images.splits["validation"], validation=train) != whole
    assert fingerprint.order(images, whole) != fingerprint.order(
        replace(images, splits={**images.splits, "train": turned}), whole
    )
    assert fingerprint.order(images, whole) == fingerprint.order(images, whole)


def test_a_look_at_a_shard_is_remembered_until_it_changes(photos, tmp_path, many, own_cache, monkeypatch):
    rows = samples(photos, "train")
    data = [one for _, one, _ in rows]
    data[3], data[7] = b"no image at all", b""
    pq.write_table(pa.table({"photo": data, "label": [label for *_, label in rows]}), tmp_path / "a.parquet")
    settled(tmp_path / "a.parquet")
    images = undrawn("parquet", tmp_path / "a.parquet")
    paths = images.splits["train"].paths
    bad = [
        (f"{tmp_path}/a.parquet/photo/{row:06d}", why)
        for row, why in ((3, "not an image but text"), (7, "empty, 0 bytes"))
    ]
    looked = []
    real = decode._first_look
    monkeypatch.setattr(decode, "_first_look", lambda path, hashes: (looked.append(path), real(path, hashes))[1])
    assert decode.look(paths[5:]).unreadable == bad[1:]
    assert decode.look(paths).unreadable == bad
    assert sorted(looked) == sorted(paths)  # each once
    assert decode.look(paths[::-1]).unreadable == bad[::-1]
    kept, out = readable(images, "skip")
    assert out == dict(bad)
    assert isinstance(kept.splits["train"].paths, ShardPaths)
    assert list(kept.splits["train"].paths) == [path for path in paths if path not in out]
    with pytest.raises(BadInput, match="2 images can't be read"):
        readable(images, "stop")
    assert len(looked) == 24
    for file in (own_cache / "framework" / "files").glob("looked-*.json"):
        file.write_text(file.read_text().replace('\\"rows\\"', '\\"rose\\"'))  # a memory that makes no sense
    assert decode.look(paths).unreadable == bad
    assert len(looked) == 48
    os.utime(tmp_path / "a.parquet", (1_000_000_001, 1_000_000_001))
    decode.look(undrawn("parquet", tmp_path / "a.parquet").splits["train"].paths)
    assert len(looked) == 72


def test_what_was_looked_at_is_kept_now_and_then(photos, tmp_path, many, monkeypatch):
    monkeypatch.setattr(memo, "_SAVED", -1.0)
    settled(*MAKE["webdataset"](photos, tmp_path / "shards"))
    paths = undrawn("webdataset", tmp_path / "shards").splits["train"].paths
    looked = []

    def until_killed(path, hashes):
        looked.append(path)
        if len(looked) > 14:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(decode, "_first_look", until_killed)
    with pytest.raises(KeyboardInterrupt):
        decode.look(paths)
    monkeypatch.setattr(decode, "_first_look", lambda path, hashes: looked.append(path) or "")
    looked.clear()
    decode.look(paths)
    assert {os.path.dirname(path) for path in looked} == {str(tmp_path / "shards" / "train-001.tar")}


def test_rows_of_features_are_images_in_columns(tmp_path, monkeypatch):
    several = [["red"], ["red", "blue"], []] * 4
    ages = [[float(number)] for number in range(12)]
    for name, given, labels in (
        ("plain", {}, "classes"),
        ("several", {"labels": several}, "classes"),
        ("ages", {"labels": ages}, "numbers"),
    ):
        monkeypatch.setattr(columns, "MANY", 100_000)
        written(tmp_path / name / "a.parquet", **given)
        written(tmp_path / name / "b.parquet", first=12, **given)
        plain = list_embedded(str(tmp_path / name), labels, 0.0, 0.0)
        monkeypatch.setattr(columns, "MANY", 1)
        found = list_embedded(str(tmp_path / name), labels, 0.0, 0.0)
        assert_same(found, plain)
        assert found.features.rows == plain.features.rows
        for split, images in found.splits.items():
            keys = fingerprint.identities(found, images.paths)
            assert isinstance(keys, Keys)
            assert list(keys) == fingerprint.identities(plain, plain.splits[split].paths)


def test_a_listing_holds_a_few_bytes_an_image(tmp_path):
    numbers = np.arange(columns.MANY)
    made = {"image": [b"made"] * len(numbers), "label": numbers % 10, "number": numbers}
    pq.write_table(pa.table(made), tmp_path / "a.parquet")
    undrawn("parquet", tmp_path / "a.parquet")  # what is loaded once is no part of it
    tracemalloc.start()
    try:
        images = drawn(undrawn("parquet", tmp_path / "a.parquet"), Splitting(1))
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(images.splits["train"]) == 75_000
    assert now / columns.MANY < 2  # a bit and a label
    assert most / columns.MANY < 12


# the columns themselves


def test_values_of_which_few_are_different():
    values = ["b", "a", "b", "c", "a"]
    coded = Coded.of(values)
    assert (list(coded), coded.values, coded[3], list(coded[np.array([4, 0])])) == (
        values,
        ["b", "a", "c"],
        "c",
        ["a", "b"],
    )
    assert list(Coded.joined([coded, Coded.of(["d", "a"])])) == [*values, "d", "a"]
    mapped = coded[:3].mapped(str.upper)
    assert (list(mapped), mapped.values) == (["B", "A", "B"], ["B", "A"])  # what nobody has is gone
    assert coded.mapped(lambda value: "x").values == ["x"]


def test_texts_are_found_again():
    texts = [f"{number}.jpg" for number in range(3000)] + ["", "é", "\udcff.jpg", "plumless", "buckeroo"]
    found = Texts(texts)
    assert list(found) == texts
    assert [found.find(text) for text in texts] == list(range(len(texts)))  # the last two have one checksum
    assert [found.find(text) for text in ("3000.jpg", "0.jp", "é")] == [-1, -1, 3001]
    assert (found[-1], Texts().find("x")) == ("buckeroo", -1)


def test_runs_are_numbers():
    rng = np.random.default_rng(0)
    for _ in range(50):
        numbers = np.sort(rng.choice(40, rng.integers(0, 40), replace=False))
        runs = runs_of(numbers)
        assert np.array_equal(numbers_of(runs), numbers)
        assert np.array_equal(within(runs, np.arange(-1, 41)), np.isin(np.arange(-1, 41), numbers))
        assert (runs[1:, 0] > runs[:-1, 1]).all()


@pytest.mark.parametrize("clash", [False, True])
def test_groups_are_in_the_order_that_names_alone_decide(monkeypatch, clash):
    names = [f"{number * 7 % 50}.jpg" for number in range(50)]
    groups = [(number % 12, 1) if number % 5 else (3,) for number in range(50)]
    if clash:  # as if all names had one of three hashes
        real = hashlib.blake2b
        monkeypatch.setattr(hashlib, "blake2b", lambda data, digest_size: real(data[-5:-4], digest_size=digest_size))

    def rank(position):
        return hashlib.blake2b(f"p/{names[position]}".encode(), digest_size=8).digest(), names[position]

    members = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    expected = [sorted(members[group], key=rank) for group in sorted(members, key=repr)]
    assert [part.tolist() for part in by_group(names, groups, "p")] == expected


def test_splits_to_be_drawn_are_drawn_of_features_too(tmp_path, many):
    images = list_embedded(str(written(tmp_path / "a.parquet", rows=40, splits=["train"] * 40)), "classes", 0.25, 0.0)
    found = drawn(to_draw(images, "/gone", 0.25, 0.0), Splitting(1)).splits
    assert sorted([*found["train"].paths, *found["validation"].paths]) == [f"/gone/{row:03d}.jpg" for row in range(40)]

"""Content hashes, and one hash of a data set."""

import os
from dataclasses import replace

import pytest

from framework.core.errors import BadInput
from framework.data import decode, fingerprint
from framework.data.fingerprint import contents, dataset
from framework.data.images import Split
from framework.data.sources import image_folder


@pytest.fixture
def images(photos):
    return image_folder(1, dir=str(photos), validation=0.2, test=0.0)


def test_contents_follow_the_bytes(tmp_path):
    for name, data in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(data)
    a, b, c = contents([str(tmp_path / name) for name in "abc"])
    assert a == c != b
    assert len(a) == 32
    with pytest.raises(BadInput, match="missing can't be read"):
        contents([str(tmp_path / "missing")])
    assert contents([]) == []


def test_unchanged_files_are_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    first = contents([str(path)])
    read = []
    monkeypatch.setattr(fingerprint, "file_hash", lambda path: read.append(path) or "new")
    assert contents([str(path)]) == first
    assert not read
    path.write_bytes(b"new")  # same size, changed just now: read each time until it settles
    assert contents([str(path)]) == ["new"]
    assert contents([str(path)]) == ["new"]
    assert len(read) == 2


def test_a_broken_memory_is_done_without(tmp_path, own_cache):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    before = set((own_cache / "framework" / "files").glob("contents-*.json"))
    first = contents([str(path)])
    (memory,) = set((own_cache / "framework" / "files").glob("contents-*.json")) - before
    for rubbish in (b"{", b"[]", b'{"%s": 3}' % os.fsencode(path)):
        memory.write_bytes(rubbish)
        assert contents([str(path)]) == first


def test_data_set_hash_is_of_contents_labels_classes_and_splits(images, photos):
    whole = dataset(images)
    train = images.splits["train"]
    reversed_order = Split(train.paths[::-1], train.labels[::-1])
    assert dataset(replace(images, splits={**images.splits, "train": reversed_order})) == whole
    assert dataset(replace(images, classes=("x", "green", "red"))) != whole
    relabelled = Split(train.paths, (train.labels + 1) % 3)
    assert dataset(replace(images, splits={**images.splits, "train": relabelled})) != whole
    swapped = {"train": images.splits["validation"], "validation": train}
    assert dataset(replace(images, splits=swapped)) != whole
    photos.rename(photos.with_name("moved"))
    assert dataset(image_folder(1, dir=str(photos.with_name("moved")), validation=0.2, test=0.0)) == whole


def test_files_that_were_looked_at_are_not_read_again_to_be_hashed(photos, own_cache, monkeypatch):
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))  # else they would be too new to be remembered
    assert decode.unreadable(paths) == []
    expected = [fingerprint.file_hash(path) for path in paths]
    monkeypatch.setattr(fingerprint, "file_hash", None)
    assert fingerprint.contents(paths) == expected

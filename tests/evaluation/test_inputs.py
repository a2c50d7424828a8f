"""Which files the words of a command line name."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest

from framework.core.errors import BadInput
from framework.evaluation import inputs
from tests.conftest import make_images


@pytest.fixture
def folder(tmp_path):
    make_images(tmp_path / "in", classes=("red", "blue"), count=2)
    (tmp_path / "in" / "notes.txt").write_text("none")
    (tmp_path / "in" / ".hidden.jpg").write_text("none")
    return tmp_path / "in"


def test_a_folder_means_the_images_below_it_by_name(folder):
    found = [os.path.relpath(path, folder) for path in inputs.files([str(folder)])]
    assert found == ["blue/blue-0-000.jpg", "blue/blue-0-001.jpg", "red/red-0-000.jpg", "red/red-0-001.jpg"]
    assert inputs.count([str(folder)]) == 4


def test_what_is_passed_over_in_a_folder_is_counted_and_a_thumbnail_is_no_image(folder):
    (folder / "red" / "@eaDir").mkdir()
    (folder / "red" / "@eaDir" / "thumb.jpg").write_text("none")
    (folder / "apple.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert inputs.count([str(folder)]) == 4
    found = {one.kind.several: one.count for one in inputs.unused([str(folder), "-", "missing.jpg"])}
    assert found == {"@eaDir folders": 1, "HEIC": 1, "hidden files": 1, "text files": 1}


def test_a_named_file_is_taken_as_it_is(folder):
    assert list(inputs.files([str(folder / "notes.txt"), "missing.jpg"])) == [str(folder / "notes.txt"), "missing.jpg"]


def test_a_glob_that_the_shell_left_alone(folder):
    assert len(list(inputs.files([f"{folder}/*/*-000.jpg"]))) == 2
    assert len(list(inputs.files([f"{folder}/**/*.jpg"]))) == 4
    (folder / "a[1].jpg").write_text("")
    assert list(inputs.files([str(folder / "a[1].jpg")])) == [str(folder / "a[1].jpg")]


def test_paths_come_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a b.jpg\n\nc\xff.jpg\r\n")))
    assert [os.fsencode(path) for path in inputs.files(["-"])] == [b"a b.jpg", b"c\xff.jpg"]
    assert inputs.count(["-"]) is None


def test_words_that_lead_nowhere_are_told_at_once(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for words in ([], [str(folder / "red" / "red-0-00.jpg")], [str(tmp_path / "empty")], ["*.nothing"]):
        with pytest.raises(BadInput):
            inputs.check(words)
    with pytest.raises(BadInput, match=r"try:    .*red-0-000\.jpg|red-0-001"):
        inputs.check([str(folder / "red" / "red-0-00.jpg")])
    inputs.check(["missing.jpg", str(folder)])
    inputs.check(["-"])

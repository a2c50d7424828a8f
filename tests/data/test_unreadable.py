"""Pictures that can't be read are found before training, each with its reason."""

import os

import numpy as np
import pytest
from PIL import Image

from framework.core.errors import BadInput
from framework.data import decode
from framework.data.decode import unreadable
from framework.data.rows import picture_rows, undecodable, unreadable_problem
from framework.data.sources import image_folder


@pytest.fixture
def damaged(photos):
    """Three bad files among the training pictures, of three kinds."""
    first, second, third = sorted((photos / "train" / "red").iterdir())[:3]
    first.write_bytes(first.read_bytes()[:-200])
    second.write_bytes(b"")
    third.write_text("a text called jpg")
    return image_folder(1, dir=str(photos), validation=0.2, test=0.0), [str(first), str(second), str(third)]


def test_each_bad_file_has_its_reason(damaged):
    pictures, bad = damaged
    paths = pictures.splits["train"].paths
    assert unreadable(paths) == [(bad[0], "truncated"), (bad[1], "not a picture"), (bad[2], "not a picture")]
    assert unreadable(paths, thorough=True) == unreadable(paths)
    problem = unreadable_problem(unreadable(paths))
    assert problem.what.startswith("3 pictures can't be read:")
    assert all(path in problem.what for path in bad)


def test_random_damage_is_found_or_harmless(tmp_path):
    """What passes the look decodes; TensorFlow's decoder decides."""
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (200, 200, 3), np.uint8))
    paths = []
    for number in range(60):
        path = tmp_path / f"{number}.{'png' if number % 3 == 0 else 'jpg'}"
        noise.save(path)
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        start = rng.integers(700, len(data) - 40)
        data[start : start + 30] = rng.integers(0, 256, 30)
        path.write_bytes(data.tobytes())
        paths.append(str(path))
    bad = {path for path, _ in unreadable(paths)}
    sound = [path for path in paths if path not in bad]
    assert bad
    assert sound
    assert len(picture_rows(sound, (32, 32), 100)) == len(sound)


def test_a_failure_to_decode_is_remembered(tmp_path):
    """Damage to the tables of a JPEG shows only when it is decoded; from then on it is known."""
    paths = [str(tmp_path / f"{number}.jpg") for number in range(40)]
    rng = np.random.default_rng(0)
    for path in paths:
        Image.new("RGB", (64, 64), "red").save(path)
        with open(path, "r+b") as file:
            file.seek(int(rng.integers(160, 600)))
            file.write(rng.bytes(20))
        os.utime(path, (1_000_000_000, 1_000_000_000))
    passed = set(paths) - {path for path, _ in unreadable(paths)}
    with pytest.raises(BadInput) as error:
        picture_rows(sorted(passed), (16, 16), 100)
    named = {path for path in passed if path in str(error.value)}
    assert named
    left = sorted(passed - {path for path, _ in unreadable(paths)})
    assert len(left) == len(passed) - len(named)
    assert len(picture_rows(left, (16, 16), 100)) == len(left)


def test_verdicts_are_remembered_until_the_file_changes(photos, monkeypatch):
    paths = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    looked = []
    real = decode._first_look
    monkeypatch.setattr(decode, "_first_look", lambda path: (looked.append(path), real(path))[1])
    assert unreadable(paths) == []
    assert sorted(looked) == paths
    looked.clear()
    assert unreadable(paths) == []
    assert looked == []
    with open(paths[3], "wb"):
        pass
    assert unreadable(paths) == [(paths[3], "not a picture")]
    assert looked == [paths[3]]


def test_what_fails_only_when_decoded_is_named_too(damaged):
    pictures, bad = damaged
    with pytest.raises(BadInput) as error:
        picture_rows(pictures.splits["train"].paths, (16, 16), 100)
    assert all(path in str(error.value) for path in bad)
    assert "can't be decoded: why" in str(undecodable(pictures.splits["validation"].paths, ValueError("why\nmore")))

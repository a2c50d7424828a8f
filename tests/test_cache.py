"""The cache command on features that a run has kept."""

import csv
import io
import os

import numpy as np
import pytest

from framework import cache, train
from framework.data import arrays
from tests.conftest import make_images


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache that two runs have filled, with different prefixes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_images(tmp_path / "photos" / "train", count=3, seed=0)
    make_images(tmp_path / "photos" / "validation", count=2, seed=1)
    for size in (32, 40):
        given = ["model=mobilenet", "model.alpha=0.25", "model.weights=null", f"data.image_size={size}", "cache=only"]
        assert train.main([*given, "data=image_folder", "data.dir=photos", f"hydra.run.dir=run{size}"]) == 0
    return tmp_path / "cache"


def listed(capsys) -> list[dict]:
    capsys.readouterr()
    assert cache.main(["format=csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.slow
def test_what_is_kept_is_listed_verified_and_cleared(kept, capsys):
    rows = listed(capsys)
    assert {row["size"] for row in rows} == {"32×32", "40×40"}
    assert [(row["base"], row["cut"], row["images"]) for row in rows] == [("mobilenet", "pooling", "15")] * 2
    assert cache.main(["list"]) == 0
    assert "mobilenet" in capsys.readouterr().out
    assert cache.main(["verify"]) == 0

    damaged = next(kept.rglob("*.rows"))
    content = bytearray(damaged.read_bytes())
    content[7] ^= 1
    damaged.write_bytes(content)
    assert cache.main(["verify"]) == 1
    assert str(damaged) in capsys.readouterr().out
    assert not damaged.exists()

    key = rows[0]["key"]
    assert cache.main(["clear", f"keys=[{key[:10]}]"]) == 0
    assert [row["key"] for row in listed(capsys)] == [rows[1]["key"]]
    assert cache.main(["clear"]) == 0
    assert listed(capsys) == []


@pytest.mark.slow
def test_a_wrong_word_or_key_is_told(kept, capsys):
    assert cache.main(["verfy"]) == 2
    assert "verify (one of: list, verify, clear)" in capsys.readouterr().err
    assert cache.main(["clear", "keys=[zz]"]) == 2
    assert "no kept features begin with 'zz'" in capsys.readouterr().err
    assert len(listed(capsys)) == 2


@pytest.fixture
def laid_down(tmp_path, monkeypatch):
    """Two sets of images that a program gave, which share one image."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
    first = arrays.lay_down({"train": (images[:2], [0, 1])})
    second = arrays.lay_down({"train": (images[1:], [0, 1])})
    os.utime(first.file, (1, 1))
    return first.file, second.file


def test_images_of_arrays_are_listed_and_cleared(laid_down, capsys):
    first, second = laid_down
    assert cache.main(["what=arrays", "format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["key"], row["images"]) for row in rows] == [(second.stem, "2"), (first.stem, "2")]
    assert cache.main([]) == 0
    assert "2 sets of images of arrays: python -m framework.cache what=arrays" in capsys.readouterr().err
    # one set goes with what it alone has
    assert cache.main(["clear", "what=arrays", f"keys=[{first.stem[:8]}]"]) == 0
    assert [one.key for one in arrays.listing_of_kept()] == [second.stem]
    assert len(list(second.parent.glob("*/*.png"))) == 2
    # and another one is refused by its key
    assert cache.main(["clear", "what=arrays", "keys=[zz]"]) == 2
    assert "no images of arrays begin with 'zz'" in capsys.readouterr().err
    assert cache.main(["clear", "what=arrays"]) == 0
    assert list(second.parent.glob("*/*.png")) == list(second.parent.glob("*.csv")) == []
    assert cache.main(["clear", "what=arrays"]) == 0


def test_clearing_features_leaves_images_of_arrays(laid_down, capsys):
    assert cache.main(["clear"]) == 0
    assert len(arrays.listing_of_kept()) == 2
    assert cache.main(["verify", "what=arrays"]) == 2
    assert "verify is for features" in capsys.readouterr().err


def test_a_set_that_is_given_again_was_used_now(laid_down):
    first, _ = laid_down
    images = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
    assert arrays.lay_down({"train": (images[:2], [0, 1])}).file == first
    assert arrays.listing_of_kept()[0].key == first.stem

"""Files through a network: in order, whatever the batch, with bad ones left out and named."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from framework.core.geometry import Geometry
from framework.data.rows import FileImages, decode_all
from framework.evaluation.forward import LOOKAHEAD, forward
from tests.evaluation.common import SIZE, colour_network


@pytest.fixture(scope="module")
def model():
    return colour_network()


def run(model, paths, batch_size=8):
    bad: list[tuple[str, str]] = []
    batches = list(forward(model, paths, Geometry((SIZE, SIZE)), batch_size, bad))
    names = [name for some, _ in batches for name in some]
    return names, np.concatenate([logits for _, logits in batches]) if batches else None, bad


def test_the_answers_are_those_of_the_model_on_the_decoded_images(model, photos):
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    names, logits, bad = run(model, paths, batch_size=7)
    assert (names, bad) == (paths, [])
    images = decode_all(FileImages(paths, Geometry((SIZE, SIZE)))).astype(np.float32)
    np.testing.assert_allclose(logits, np.asarray(model(images)), rtol=1e-5, atol=1e-5)


def test_bad_files_are_named_with_the_reason_and_the_others_answered(model, photos, tmp_path):
    good = sorted(str(path) for path in photos.rglob("*.jpg"))[:9]
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.jpg").write_bytes(Path(good[0]).read_bytes()[:300])
    text, cut, missing = (str(tmp_path / name) for name in ("text.jpg", "cut.jpg", "missing.jpg"))
    given = [text, *good[:4], cut, *good[4:], missing]
    names, logits, bad = run(model, given, batch_size=2)
    assert names == good
    assert len(logits) == 9
    assert [path for path, _ in bad] == [text, cut, missing]
    assert dict(bad)[text] == "not an image but text"
    assert "no such file" in dict(bad)[missing]


def test_nothing_but_bad_files_gives_no_batch(model, tmp_path):
    assert run(model, [str(tmp_path / "missing.jpg")])[:2] == ([], None)
    assert run(model, []) == ([], None, [])


def test_files_are_asked_for_as_they_are_needed(model, photos):
    file, asked = str(next(photos.rglob("*.jpg"))), itertools.count()
    endless = (file for _ in iter(lambda: next(asked), None))
    batches = forward(model, endless, Geometry((SIZE, SIZE)), 4, [])
    for _ in range(3):
        next(batches)
    assert next(asked) <= 3 * LOOKAHEAD

"""The sheet of augmented images as its user sees it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from framework import augment
from framework.core.backend import tf
from framework.reports import contact_sheet
from tests.conftest import bash

COMMON = ["data=image_folder", "data.image_size=32"]


@pytest.fixture
def frames(monkeypatch):
    """What is drawn, kept and drawn all the same."""
    kept, draw = [], contact_sheet.draw
    monkeypatch.setattr(
        contact_sheet, "draw", lambda path, found, *texts: (kept.append(found), draw(path, found, *texts))
    )
    return kept


def test_a_row_an_image_as_it_is_and_as_epochs_see_it_the_same_each_time(here, photos, frames):
    command = [*COMMON, f"data.dir={photos}", "augment=[light,any_way_up]"]
    assert augment.main(command) == 0
    assert augment.main([*command, "preview=again.png"]) == 0
    assert augment.main([*command, "preview=other.png", "trainer.seed=2"]) == 0
    sheet, again, other = ([frame.image for frame in found] for found in frames)
    assert len(sheet) == 6 * 6
    np.testing.assert_array_equal(sheet, again)
    np.testing.assert_array_equal(sheet[::6], other[::6])
    assert not np.array_equal(sheet, other)
    names = [frame.file for frame in frames[0][::6]]
    assert {name.split("-")[0] for name in names} == {"red", "green", "blue"}
    assert [frame.headline for frame in frames[0][:3]] == ["as it is", "epoch 1", "epoch 2"]
    assert Image.open("augment.png").width > 900
    assert sorted(path.name for path in here.iterdir()) == ["again.png", "augment.png", "other.png", "photos"]


def test_it_is_what_a_training_sees(here, photos, frames):
    from framework.cli.command import check
    from framework.runs.prepare import trainer

    command = [*COMMON, f"data.dir={photos}", "augment=crop", "model.filters=[4]", "trainer.batch_size=24"]
    assert augment.main(command) == 0
    (settings,) = check(command, lambda _: [])
    made = trainer(settings)
    inputs = made.inputs.build(made.stages[0])
    from framework.data.pipeline import training_dataset

    batches = training_dataset(
        inputs.train, np.arange(24), batch_size=24, seed=1, augmentations=inputs.augmentations
    ).take(2)
    shown = augment._spread(24, 6)
    for epoch, (images, places) in enumerate(batches, 1):
        order = np.argsort(np.asarray(places))
        seen = np.clip(np.rint(tf.gather(images, order)), 0, 255).astype(np.uint8)[shown]
        np.testing.assert_array_equal([frame.image for frame in frames[0][epoch::6]], seen)


def test_what_is_wrong_is_told_and_nothing_is_drawn(tmp_path, photos):
    done = bash("python -m framework.augment data=image_folder data.dir=photos augment=none", tmp_path)
    assert done.returncode == 2
    assert "augment=none varies nothing" in done.stderr
    assert "try:    augment=light" in done.stderr
    assert not list(tmp_path.glob("*.png"))

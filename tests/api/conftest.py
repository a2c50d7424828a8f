"""One small training, by the Python interface, that the tests of the room look at."""

from __future__ import annotations

import os

import pytest

import framework
import framework.parts  # before any test that forgets what is registered in it
from tests.conftest import make_images

SMALL = ("model.filters=[4,8]", "model.image_size=32", "trainer.epochs=2", "trainer.batch_size=8")


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """Photos of three colours, split in two."""
    folder = tmp_path_factory.mktemp("colours")
    make_images(folder / "train", count=8, seed=0)
    make_images(folder / "validation", count=4, seed=1)
    return folder


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, colours):
    """A run on them."""
    folder, home = tmp_path_factory.mktemp("fitted"), os.getcwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        run = framework.fit(*SMALL, "data=image_folder", f"data.dir={colours}")
    os.chdir(home)
    return run

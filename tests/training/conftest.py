"""A small training in memory, which most tests of the trainer begin with."""

from __future__ import annotations

import pytest

from framework.runs.prepare import look, network
from framework.training.trainer import Trainer
from tests.options.made import SMALL, settings


@pytest.fixture
def made(photos, here):
    """Makes a trainer of three classes of drawn photos, with these overrides and collaborators."""

    def make(*overrides, **given):
        looked = look(settings(*SMALL, f"data.dir={photos}", *overrides))
        return Trainer(looked.experiment, network(looked.experiment), data=looked.fingerprint, **given)

    return make

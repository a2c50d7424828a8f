"""What trainings of tests of options share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from framework.core.backend import load_tensorflow
from tests.conftest import make_images


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Of three classes, 24 to train on and 12 for validation, 12 pixels wide; to be left as they are."""
    folder = tmp_path_factory.mktemp("photos")
    make_images(folder / "train", count=8, size=12, seed=0)
    return make_images(folder / "validation", count=4, size=12, seed=1).parent


@pytest.fixture
def eager(monkeypatch):
    """Training steps as they come, untraced: of a tiny training, tracing is most of the time."""
    tensorflow = load_tensorflow()

    def loop(goes_on: Callable[..., Any], body: Callable[..., Any], variables: Any, **_: Any) -> Any:
        # untraced, TensorFlow's own wants a list of the one variable that it takes as it is when traced
        while goes_on(*variables):
            made = body(*variables)
            variables = made if isinstance(made, list | tuple) else [made]
        return variables

    monkeypatch.setattr(tensorflow, "while_loop", loop)
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)

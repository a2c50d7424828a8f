"""Commands that end where they have accepted what they were given: nothing is trained, and no TensorFlow loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from unittest import mock

from benchmarks.hostile.tally import Accepted
from framework import train
from framework.cli.primary import take_primary_config
from framework.core import backend, registry
from framework.model import weights


@contextlib.contextmanager
def accepting() -> Iterator[None]:
    """While entered, ``Accepted`` is raised where TensorFlow would be loaded or a run begun; no network is asked for."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(registry.isolated())
        for module, name in ((backend, "_loaded"), (train, "sweep"), (train, "train")):
            stack.enter_context(mock.patch.object(module, name, side_effect=Accepted))
        stack.enter_context(mock.patch.object(weights, "_reachable", return_value=False))
        stack.enter_context(mock.patch.dict(os.environ, {"FRAMEWORK_RECIPES": ""}))
        stack.enter_context(mock.patch.object(sys, "argv", ["framework-train"]))
        try:
            yield
        finally:
            take_primary_config([])

"""What a Ray task of the feature pass does first: it sees to it that this package is found, and calls it.

This module goes to machines of a cluster by value, so it imports the standard library alone. The process is Ray's own and is
used for one task after the other: what is imported and loaded there stays.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# set by Ray or another launcher, and no good here: Keras of before 3, a place among several processes
LEFT_OUT = ("TF_USE_LEGACY_KERAS", "TF_CONFIG")


def run(
    found: Sequence[str], environment: Mapping[str, str], version: str, work: bytes, model: bytes, part: bytes
) -> Any:
    """Compute a part of a feature pass; arguments behind ``version`` are those of ``features.on_ray.compute_part``.

    Args:
        found: folders in which packages are found.
        environment: variables that travel.
        version: of this package, where the task comes from.
        work: as there.
        model: as there.
        part: as there.
    """
    if "framework" not in sys.modules:
        for name in LEFT_OUT:
            os.environ.pop(name, None)
        os.environ.update(environment)
        sys.path[:0] = [folder for folder in found if folder not in sys.path]
    try:
        here = importlib.import_module("framework").__version__
        if here != version:
            return "unfit", f"the command is of framework {version}, and {os.uname().nodename} has {here}"
        return importlib.import_module("framework.features.on_ray").compute_part(work, model, part)
    except ModuleNotFoundError as error:
        return "unfit", f"{os.uname().nodename} has no package {error.name}"

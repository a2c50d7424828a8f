"""What of a command goes along to another machine: what its environment says of the work, threads, where it is found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# what a command's environment says of the work, not of its machine
TRAVELS = ("PYTHONPATH", "XDG_CACHE_HOME", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
TRAVEL = ("FRAMEWORK_", "KERAS_", "TF_", "XLA_", "ONEDNN_", "HF_", "KAGGLE_", "AWS_", "GOOGLE_", "FSSPEC_", "MLFLOW_")
STAYS = ("TF_CONFIG",)  # says which process of several this one is


def threads(cpus: int | None) -> dict[str, str]:
    """Variables by which a process computes with as many threads as it has cores: its numbers hold on any machine."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(cpus)) if cpus else {}


def travelling(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that go along to another machine."""
    return {
        name: value
        for name, value in environment.items()
        if (name.upper() in TRAVELS or name.startswith(TRAVEL)) and name not in STAYS
    }


def found() -> list[str]:
    """Folders in which this package is found there as it was found here, also where it is not installed."""
    return [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]

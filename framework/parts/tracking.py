"""What trackers are told of a run besides its numbers: the choices that distinguish it."""

from __future__ import annotations

import json

from framework.core.errors import BadInput
from framework.core.runs import RunFolder


def hyperparameters(folder: RunFolder) -> dict[str, bool | float | str]:
    """What was typed for the run, by key; in a sweep only what the sweep varies.

    Read from ``run.json``, and from ``sweep.json`` of the folder around the run's where there is one.
    """
    try:
        overrides = folder.read_run().get("overrides", [])
    except BadInput:
        return {}
    given = {key.lstrip("+"): value for key, equals, value in (line.partition("=") for line in overrides) if equals}
    try:
        varied = json.loads((folder.path.parent / "sweep.json").read_text(encoding="utf-8"))["varied"]
    except (OSError, ValueError, KeyError, TypeError):
        varied = list(given)
    return {key: _plain(value) for key, value in given.items() if key in varied}


def _plain(value: str) -> bool | float | str:
    if value in ("true", "false"):
        return value == "true"
    try:
        return float(value)
    except ValueError:
        return value

"""Configs that earlier versions wrote, as they are written now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.documents import read, read_option
from framework.config.folders import conf_folder

GONE = ("prune", "prune_after")  # of the node sweep: a search has a pruner


def as_now(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what 0.1.0 did not know: every task was that of ``task=auto``, and no node told of a search."""
    now = dict(config)
    if "task" not in now:
        now["task"] = read_option(conf_folder() / "task" / "auto.yaml").content
    if "search" not in now:
        now["search"] = read(conf_folder() / "train.yaml").content["search"]
    if isinstance(now.get("sweep"), Mapping):
        now["sweep"] = {key: value for key, value in now["sweep"].items() if key not in GONE}
    return now

"""Configs that earlier versions wrote, as they are written now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.documents import read_option
from framework.config.folders import conf_folder


def as_now(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what 0.1.0 did not know: every task was that of ``task=auto``."""
    if "task" in config:
        return dict(config)
    return {"task": read_option(conf_folder() / "task" / "auto.yaml").content, **config}

"""Configs that earlier versions wrote, as they are written now.

What a version did before a key was there stands here, and stays, whatever the key's usual value becomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.documents import read_option, shipped
from framework.config.folders import conf_folder

# keys of ``data``, and what was done
DATA = {
    "resize": "stretch",
    "fill": 0,
    "channels": 3,
    "exclude": None,
    "relabel": None,
    "pseudo": None,
    "group": None,
    "time": None,
    "folds": None,
    "fold": 0,
    "write_split": None,
    "balance": "none",
    "disk_limit": 50,
    "prompts": "a photo of a {}",
}
# the same of ``trainer``, of ``stage``, and of bases
TRAINER = {"gradient_accumulation_steps": 1, "workers": 1, "workers_timeout": 120}
STAGE = {"rank": 8, "targets": ["query", "value"], "image_size": None, "label_smoothing": None, "mixup": None}
DISTILL = {"from": None, "temperature": 4.0, "weight": 0.9}
MODELS = {name: {"drop_path_rate": 0.0} for name in ("dinov2", "dinov3")}

# of the nodes cache and sweep, likewise
CACHE = {"compute": "local"}
SWEEP = {"detach": False}
CSV = {"folder": None, "names": None, "validation_file": None, "test_file": None}
GONE = ("prune", "prune_after")  # of the node sweep: a search has a pruner


def as_now(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what earlier versions did not know: every task was that of ``task=auto``, no node told of a search."""
    now = dict(config)
    if isinstance(data := now.get("data"), Mapping):
        now["data"] = {**DATA, **(CSV if data.get("name") == "csv" else {}), **data}
    if isinstance(trainer := now.get("trainer"), Mapping):
        now["trainer"] = {**TRAINER, **trainer}
    if isinstance(cache := now.get("cache"), Mapping):
        now["cache"] = {**CACHE, **cache}
    if isinstance(stage := now.get("stage"), Mapping):
        now["stage"] = {**STAGE, **stage}
    if isinstance(model := now.get("model"), Mapping) and (of_base := MODELS.get(str(model.get("name")))):
        now["model"] = {**of_base, **model}
    if "task" not in now:
        now = {"task": read_option(conf_folder() / "task" / "auto.yaml").content, **now}
    if "search" not in now:
        now["search"] = shipped("search")
    now = {"mirror": None, "distill": DISTILL, **now}
    if "compute" not in now:
        now["compute"] = here()
    if isinstance(now.get("sweep"), Mapping):
        now["sweep"] = {**SWEEP, **{key: value for key, value in now["sweep"].items() if key not in GONE}}
    return now


def here() -> dict[str, Any]:
    """The node ``compute`` of a run on this machine."""
    return {**shipped("compute"), **read_option(conf_folder() / "compute" / "local.yaml").content}

"""Parts that a program or a notebook has registered itself: each is an option of its group, without a file.

Its keys are the part's parameters and those of the framework that every option of the group has. There is no default
value for them, for there is no YAML that says one: what is not given is told as missing.
"""

from __future__ import annotations

from typing import Any

from framework.config.checks import NAMED, SINGLE
from framework.config.folders import groups
from framework.core import registry
from framework.core.schema import MISSING

# modules that have their options in files
_WITH_FILES = ("framework", "framework_recipes")
# what an option says beside its part's parameters, where something else than nothing is the plain choice
_PLAIN: dict[str, dict[str, Any]] = {
    "model": {"weights": None, "trainable": True, "image_size": MISSING},
    "optim": {"defaults": [{"schedule": "constant"}, "_self_"], "lr": MISSING},
    "task": {"monitor": MISSING},
}
_SEVERAL = {**NAMED, "augment": "augmentation"}
_GROUPS = {**{group: kind for group, (kind, _) in SINGLE.items()}, **_SEVERAL, "optim/schedule": "schedule"}


def options() -> dict[str, dict[str, dict[str, Any]]]:
    """By group the options of such parts: name to content."""
    shipped, found = groups(), {}
    for group, kind in _GROUPS.items():
        own = {}
        for part in registry.parts(kind):
            elsewhere = part.function.__module__.split(".")[0] not in _WITH_FILES
            if elsewhere and part.name not in shipped.get(group, ()):
                node = {**_PLAIN.get(group, {}), "name": part.name, **dict.fromkeys(part.parameters, MISSING)}
                own[part.name] = {part.name: node} if group in _SEVERAL else node
        if own:
            found[group] = own
    return found


def offer() -> dict[str, list[str]]:
    """Put them into Hydra's store; returns their names by group."""
    from hydra.core.config_store import ConfigStore

    found = options()
    for group, own in found.items():
        for name, node in own.items():
            ConfigStore.instance().store(group=group, name=name, node=node)
    return {group: list(own) for group, own in found.items()}

"""What the shipped YAML options hold, for contract tests of the parts they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from framework.config import documents
from framework.config.folders import groups
from framework.core import registry, schema

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> dict[str, Any]:
    """Config of these option choices alone."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose(overrides=list(overrides)))


def single(group: str) -> dict[str, dict[str, Any]]:
    """Parameters by part name, of a group whose option is one part."""
    found = {}
    for option in groups()[group]:
        node = documents.read_option(CONF / group / f"{option}.yaml").content
        assert node["name"] == option
        found[node.pop("name")] = node
    return found


def named(group: str) -> dict[str, dict[str, Any]]:
    """Parameters by part name, of a group that is a dict by name."""
    found = {}
    for option in groups()[group]:
        node = documents.read(CONF / group / f"{option}.yaml").content
        usual = documents.read(CONF / "task" / "auto.yaml").content
        node = OmegaConf.to_container(OmegaConf.create({"task": usual, "node": node}), resolve=True)["node"]
        if "defaults" not in node:
            assert list(node) == [option]
            found[node[option].pop("name")] = node[option]
    return found


def assert_contract(kind: str, options: dict[str, dict[str, Any]], framework_keys: tuple[str, ...] = ()) -> None:
    """Every part has its option, with the parameters of its signature, of the right types, and a sentence."""
    assert sorted(options) == registry.names(kind)
    for part in registry.parts(kind):
        given = {key: value for key, value in options[part.name].items() if key not in framework_keys}
        _, problems = schema.check(given, part.parameters, kind, f"{kind} '{part.name}'")
        assert problems == []
        assert part.summary.endswith((".", ";", ":"))


def assert_light(module: str) -> None:
    """Importing the module, and reading the signatures of its parts, loads no TensorFlow."""
    code = (
        f"import sys, {module}; from framework.core import registry; "
        "[part.parameters for kind in registry.KINDS for part in registry.parts(kind)]; "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def assert_described(group: str) -> None:
    """Each file begins with its sentence."""
    for file in (CONF / group).glob("*.yaml"):
        assert file.read_text().startswith("# "), file

"""A composed config held against the schema: dataclasses for the framework's own keys, signatures for each part's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from framework.config.documents import read, shipped
from framework.config.folders import conf_folder, groups
from framework.config.settings import (
    AugmentSettings,
    CacheSettings,
    ComputeSettings,
    DataSettings,
    DistillSettings,
    ModelSettings,
    OptimSettings,
    PartSettings,
    ResumeSettings,
    SearchSettings,
    Settings,
    StageSettings,
    SweepSettings,
    TaskSettings,
    TrainerSettings,
)
from framework.core import registry, schema
from framework.core.errors import Problem, suggestion

PLAIN = {
    "stage": StageSettings,
    "trainer": TrainerSettings,
    "distill": DistillSettings,
    "cache": CacheSettings,
    "resume": ResumeSettings,
    "compute": ComputeSettings,
    "sweep": SweepSettings,
}
ALONE: dict[str, Any] = {"mirror": str | None}  # keys that are no node
SINGLE = {
    "task": ("task", TaskSettings),
    "model": ("base", ModelSettings),
    "pooling": ("pooling", PartSettings),
    "head": ("head", PartSettings),
    "optim": ("optimizer", OptimSettings),
    "loss": ("loss", PartSettings),
    "data": ("source", DataSettings),
    "search": ("sampler", SearchSettings),
}
# nodes that hold one of another kind, which is called as its kind is
INNER: dict[type, str] = {OptimSettings: "schedule", SearchSettings: "pruner"}
NAMED = {"metrics": "metric", "callbacks": "callback"}

Node = TypeVar("Node", bound=PartSettings)


def read_settings(config: Mapping[str, Any]) -> tuple[Settings | None, list[Problem]]:
    """Settings, or None where a problem leaves them incomplete, and every problem found.

    A problem's ``where`` is a config path; ``Origins.of`` says which file or override that is.
    """
    problems: list[Problem] = []
    known = [*SINGLE, *NAMED, "augment", "stages", *PLAIN, *ALONE]
    for key in config:
        if key not in known and key != "recipe":
            problems.append(Problem(f"there is no key '{key}'", key, suggestion(key, known)))
    values: dict[str, Any] = {}
    for key, record in PLAIN.items():
        values[key] = _record(config.get(key), record, key, problems)
    for key, (kind, node) in SINGLE.items():
        values[key] = _part(config.get(key), kind, node, key, problems)
    for key, kind in NAMED.items():
        values[key] = _named(config.get(key), kind, key, problems)
    alone, wrong = schema.check({key: config.get(key) for key in ALONE}, ALONE, "", "the config")
    problems += wrong
    values["augment"] = _augment(config.get("augment"), problems)
    values["stages"] = _stages(config.get("stages"), config.get("stage"), values["model"], problems)
    sized: dict[str, Any] = {"model": values["model"], "data": values["data"]}
    sized |= {f"stages.{name}": stage for name, stage in (values["stages"] or {}).items()}
    for path, node in sized.items():
        if node is not None and isinstance(node.image_size, list) and len(node.image_size) != 2:
            what = f"{path}.image_size={schema.show(node.image_size)} is neither one side nor [height,width]"
            problems.append(Problem(what, f"{path}.image_size", "150 or [150,200]"))
    del values["stage"]
    if problems or any(value is None for value in values.values()):
        return None, problems
    return Settings(**values, **alone), problems


def read_part(config: Mapping[str, Any], key: str) -> tuple[Any, list[Problem]]:
    """One node of a config, for who needs no other: its settings or None, and its problems."""
    problems: list[Problem] = []
    if key in PLAIN:
        return _record(config.get(key), PLAIN[key], key, problems), problems
    kind, record = SINGLE[key]
    return _part(config.get(key), kind, record, key, problems), problems


def _mapping(node: Any, path: str, problems: list[Problem]) -> Mapping[str, Any] | None:
    if isinstance(node, Mapping):
        return {str(key): value for key, value in node.items()}
    problems.append(Problem(f"{path}={schema.show(node)} is not a mapping of keys to values", path))
    return None


def _record(node: Any, record: type, path: str, problems: list[Problem]) -> Any:
    mapping = _mapping(node, path, problems)
    if mapping is None:
        return None
    given, wrong = schema.check(mapping, schema.fields(record), path, path)
    problems += wrong
    return None if wrong else record(*(given[name] for name in schema.fields(record)))


def _part(node: Any, kind: str, record: type[Node], path: str, problems: list[Problem]) -> Node | None:
    """A node that names a part: the record's own keys beside the part's parameters."""
    mapping = _mapping(node, path, problems)
    if mapping is None:
        return None
    inner = INNER.get(record)
    own = {key: kind for key, kind in schema.fields(record).items() if key not in ("name", "parameters", inner)}
    name = mapping.get("name")
    if "name" not in mapping and "." in path and record is PartSettings and kind not in INNER.values():
        problems.append(not_chosen(path, list(mapping)))
        return None
    if not isinstance(name, str) or name not in registry.names(kind):
        right = f"{path}.name={suggestion(name, registry.names(kind))}"
        problems.append(Problem(f"there is no {kind} '{schema.show(name)}'", f"{path}.name", right))
        return None
    part = registry.get(kind, name)
    rest = {key: value for key, value in mapping.items() if key not in ("name",)}
    before = len(problems)
    extra: dict[str, Any] = {}
    if inner is not None:
        extra[inner] = _part(rest.pop(inner, None), inner, PartSettings, f"{path}.{inner}", problems)
    given, wrong = schema.check(rest, {**own, **part.parameters}, path, f"{kind} '{name}'")
    problems += wrong
    if len(problems) > before:
        return None
    extra |= {key: given.pop(key) for key in own}
    return record(name=name, parameters=given, **extra)


def not_chosen(path: str, keys: Sequence[str]) -> Problem:
    """Keys are set of one of several parts (``callbacks.checkpoint``), and no option that was chosen brings it."""
    group, _, name = path.partition(".")
    kind = NAMED.get(group, "augmentation")
    told = ", ".join(f"{path}.{key}" for key in keys) or path
    what = f"{told} is set, and {kind} '{name}' is not chosen"
    options = groups().get(group, [])
    usual = read(conf_folder() / group / "default.yaml").content["defaults"] if "default" in options else []
    brings = "default" if name in usual else name if name in options else ""
    right = f"{group}=[{brings},…] to choose it" if brings else f"{path}.name=<{kind}>"
    return Problem(what, path, f"{right}, or leave {path} out")


def _named(node: Any, kind: str, path: str, problems: list[Problem]) -> dict[str, PartSettings] | None:
    mapping = _mapping(node, path, problems)
    if mapping is None:
        return None
    found = {
        name: _part(value, kind, PartSettings, f"{path}.{name}", problems)
        for name, value in mapping.items()
        if value is not None
    }
    return {name: part for name, part in found.items() if part is not None}


def _augment(node: Any, problems: list[Problem]) -> AugmentSettings | None:
    mapping = _mapping(node, "augment", problems)
    if mapping is None:
        return None
    rest = dict(mapping)
    copies = {"copies": rest.pop("copies")} if "copies" in rest else {}
    given, wrong = schema.check(copies, {"copies": schema.Whole}, "augment", "augment")
    problems += wrong
    parts = _named(rest, "augmentation", "augment", problems)
    return None if wrong or parts is None else AugmentSettings(copies=given["copies"], parts=parts)


def _stages(
    node: Any, usual: Any, model: ModelSettings | None, problems: list[Problem]
) -> dict[str, StageSettings] | None:
    mapping = _mapping(node, "stages", problems)
    if mapping is None or not isinstance(usual, Mapping):
        return None
    names = [field.name for field in dataclasses.fields(StageSettings)]
    stages: dict[str, StageSettings] = {}
    for name, stage in mapping.items():
        if stage is None:
            continue
        given = _mapping(stage, f"stages.{name}", problems)
        if given is None:
            continue
        read = _record({**usual, **given}, StageSettings, f"stages.{name}", problems)
        if read is not None:
            stages[name] = read
            problems += _stage_target(read.train, f"stages.{name}.train")
    if model is not None:
        said = {name: stage for name, stage in mapping.items() if isinstance(stage, Mapping)}
        problems += _without_effect(usual, said, stages, model.trainable)
    if not stages and not problems:
        problems.append(
            Problem("there is no stage: nothing would be trained", "stages", f"a stage of {_outline(names)}")
        )
    return stages


def _without_effect(
    usual: Mapping[str, Any],
    said: Mapping[str, Mapping[str, Any]],
    stages: Mapping[str, StageSettings],
    trainable: bool,
) -> list[Problem]:
    """A problem for each key that was set and changes nothing.

    Args:
        usual: what ``stage`` says.
        said: what each stage says itself.
        stages: the two together, of those that are right.
        trainable: ``model.trainable``.
    """
    defaults = shipped("stage")

    def idle(name: str, key: str, value: Any) -> str:
        """Why the stage can't use the value, empty if it can."""
        if key in ("rank", "targets"):
            return "" if stages[name].train.partition(":")[0] == "lora" else "nothing has adapters: train is not lora"
        of_base = key == "layer_decay" or (key == "batch_norm" and value == "train")
        if of_base and not _trains_base(stages[name].train, trainable):
            return "only the head is trained"
        return "lr says the rate" if key == "lr_factor" and stages[name].lr is not None else ""

    problems = []
    for key, value in usual.items():
        free = [name for name in stages if key not in said[name]]
        reasons = [idle(name, key, value) for name in free] or [f"each stage says its own {key}"]
        if stages and value != defaults.get(key) and all(reasons):
            what = f"stage.{key}={schema.show(value)} changes nothing: {reasons[0]}"
            right = f"stages.{next(iter(stages))}.{key}={schema.show(value)}"
            problems.append(Problem(what, f"stage.{key}", right if not free else "leave it out"))
    for name in stages:
        for key in sorted(said[name].keys() & {"layer_decay", "batch_norm", "rank", "targets"}):
            value = said[name][key]
            if value is not None and (reason := idle(name, key, value)):
                what = f"stages.{name}.{key}={schema.show(value)} changes nothing: {reason}"
                right = "lora" if key in ("rank", "targets") else "all, or from:LAYER"
                problems.append(Problem(what, f"stages.{name}.{key}", f"stages.{name}.train={right}"))
    return problems


def _trains_base(train: str, trainable: bool) -> bool:
    kind, _, count = train.partition(":")
    if train in ("auto", "head", "fit"):
        return trainable and train == "auto"
    return not (kind == "last" and not count.strip("0"))


def _outline(names: list[str]) -> str:
    """Key names as a mapping's outline."""
    return "{" + ", ".join(f"{name}: …" for name in names) + "}"


def _stage_target(train: str, path: str) -> list[Problem]:
    whole = train
    if train.startswith("lora"):
        train = train.removeprefix("lora").removeprefix(":") or "all"
    kind, colon, rest = train.partition(":")
    fits = train in ("auto", "head", "fit", "all") or (
        colon and ((kind == "from" and rest) or (kind == "last" and rest.isdigit()))
    )
    if fits:
        return []
    right = suggestion(whole, ["auto", "head", "fit", "all", "from:LAYER", "last:N", "lora", "lora:last:N"])
    return [Problem(f"{path}={whole} says nothing that can be trained", path, right)]

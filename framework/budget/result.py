"""What auto comes to: one run folder, the recipe that makes it again, and a word on the test images."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.folders import groups
from framework.core.console import in_bash
from framework.core.errors import BadInput, RunFailed, many
from framework.core.files import whole_folder, write_whole
from framework.core.runs import RunFolder
from framework.reports.comparison import Comparison, compare
from framework.reports.entries import Entry
from framework.sweeps import combined
from framework.sweeps.combining import candidates

BEST = "best"
RECIPE = "recipe.yaml"
MOST = 8  # runs as one, one that counts twice as two
LIMIT = "time_limit"
LEFT_BEHIND = ("checkpoints", "state.npz", ".lock", ".hydra", "log.txt")


@dataclass(frozen=True)
class Result:
    """What there is in the end.

    Attributes:
        folder: the run folder.
        recipe: the file.
        said: how good it is and what it is made of, a sentence.
    """

    folder: Path
    recipe: Path
    said: str


def conclude(folder: Path, combines: bool) -> Result:
    """Make the result of the runs that are finished.

    Args:
        folder: of the sweep.
        combines: whether there is time to make one model of several.

    Raises:
        RunFailed: none is finished.
    """
    comparison = compare(folder)
    finished = [entry for entry in comparison.entries if entry.status == "finished" and _has_model(entry)]
    comparison = Comparison(
        comparison.name, comparison.command, tuple(finished), comparison.keys, comparison.metric, comparison.direction
    )
    best = comparison.best_run
    if best is None:
        raise RunFailed("no run is finished: the budget was too short for this machine")
    target, column = folder / BEST, comparison.monitor
    made: Sequence[tuple[str, float]] = ()
    if combines:
        try:
            members, _ = candidates(comparison)
            found, _ = combined.write(comparison, members, "ensemble", MOST, target)
            if len(found.members) > 1:
                made = [(member.entry.name, share) for member, share in found.members]
                said = f"the ensemble of {many(len(made), 'run')}: val_accuracy {found.steps[-1].accuracy:.4f}"
        except BadInput:  # fewer than two, or numbers, which have no ensemble
            pass
    if not made:
        _copy(best, target)
        said = f"{best.name}: {column} {best.best[column]:.4f}"
    recipe = folder / RECIPE
    write_whole(recipe, recipe_text(best, made))
    return Result(target, recipe, said)


def _has_model(entry: Entry) -> bool:
    return RunFolder(entry.folder).model.is_file()


def _copy(entry: Entry, target: Path) -> None:
    """A finished run, as other commands take it."""
    with whole_folder(target) as beside:
        shutil.copytree(
            entry.folder,
            beside,
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if name in LEFT_BEHIND],
        )


def recipe_text(best: Entry, made: Sequence[tuple[str, float]]) -> str:
    """A recipe that trains the best run again; where the result is of several, the lines that lead to it stand above.

    Args:
        best: the best single run.
        made: names of the runs that were combined, and their shares.
    """
    import yaml

    lines = [line for line in map(_without_limit, best.run.get("overrides", ())) if line]
    score = best.best.get(best.yardstick.column)
    head = [
        f"# The best single run of framework.auto: {best.name}",
        f"# Expected: {best.yardstick.column} {score:.3f}" if score is not None else "# Expected: not measured",
    ]
    if made:
        names = ", ".join(f"{name} ({share:.0%})" for name, share in made)
        head.append(f"# The result is the ensemble of {names}; with these runs at hand it is made again by")
        runs = ",".join(str(best.folder.parent / name) for name, _ in made)
        head.append(f"#   python -m framework.ensemble {in_bash(f'runs=[{runs}]')}")
    defaults, values = _as_config(lines)
    text = "\n".join(head) + "\n"
    if defaults:
        text += yaml.safe_dump({"defaults": defaults}, sort_keys=False, default_flow_style=None)
    return text + (yaml.safe_dump(values, sort_keys=False) if values else "")


def _without_limit(line: str) -> str:
    """An override of a run without what only kept it within its time; empty where that is all of it."""
    if line.startswith(f"callbacks.{LIMIT}"):
        return ""
    return line.replace(f",{LIMIT}]", "]") if line.startswith("callbacks=[") else line


def _as_config(lines: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Overrides as a recipe's defaults and values."""
    known = {name.replace("/", "."): name for name in groups()}
    defaults: list[Any] = []
    values: dict[str, Any] = {}
    for line in lines:
        key, _, text = line.lstrip("+").partition("=")
        name, value = key.replace("/", "."), _value(text)
        if name == "recipe":
            defaults.insert(0, value)
        elif name in known:
            defaults.append({f"override /{known[name]}": value})
        elif not name.startswith(("hydra.", "sweep.", "search.", "resume.")):
            node = values
            *path, last = name.split(".")
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
    return defaults, values


def _value(text: str) -> Any:
    import yaml

    value = yaml.safe_load(text) if text else ""
    if isinstance(value, str):
        try:
            return float(value)  # 1e-3, which YAML takes for a text
        except ValueError:
            return value
    return value

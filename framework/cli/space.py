"""The space of a search, from what is typed in Hydra's sweep syntax and from what its config keeps."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from framework.cli.compose import (
    MOST_JOBS,
    Composed,
    IncompleteConfig,
    compose,
    job_count,
    keys_of,
    parse,
    values_of,
)
from framework.cli.primary import primary_config
from framework.cli.typed import fit_for_hydra, hydra_reads
from framework.config.folders import groups
from framework.config.settings import Settings
from framework.core import registry
from framework.core.digits import seconds
from framework.core.errors import BadInput, Problem
from framework.sweeps.space import Choice, Dimension, Number, Space, Values

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

NO_SEARCH = "none"
EXAMPLES = "optim.lr='tag(log,interval(0.0001,0.1))', head.dropout='interval(0,0.6)', head=dense,mlp"


@dataclass(frozen=True)
class Searched:
    """The command line of a search.

    Attributes:
        arguments: what was typed, and the space that the config keeps.
        space: all keys that have several values.
    """

    arguments: list[str]
    space: Space


def searched(arguments: Sequence[str]) -> Searched | None:
    """The search that a command line asks for, itself or by its recipe; None where it asks for none.

    Args:
        arguments: overrides as Hydra takes them.

    Raises:
        BadInput: the space is empty, or a key of it can't be drawn.
    """
    parsed = parse(arguments)[0]
    typed = {override.key_or_group: override for override in parsed}
    if "search" not in typed and "recipe" not in typed:
        return None
    single = [one.input_line or "" for one in parsed if not one.is_sweep_override()]
    if "recipe" in typed or primary_config().run or any(key.startswith("search.space") for key in typed):
        first = [values_of(one)[0] for one in parsed if one.is_sweep_override() and one.key_or_group == "recipe"]
        composed = _composed([*single, *first])
        told = composed.config.get("search")
    else:
        composed, told = None, {"name": typed["search"].value()}
    if not isinstance(told, Mapping) or told.get("name") in (None, NO_SEARCH):
        return None
    kept, problems = [], []
    for key, text in (told.get("space") or {}).items() if isinstance(told.get("space"), Mapping) else ():
        line = fit_for_hydra(f"{key}={text}")
        override = hydra_reads(line)
        if override is None or not override.is_sweep_override():
            where = composed.origins.of(f"search.space.{key}") if composed else "search.space"
            problems.append(Problem(f"search.space: {key}: {text} names no values to draw from", where, EXAMPLES))
        elif override.key_or_group not in typed:
            kept.append(line)
    varied = [one for one in [*parsed, *parse(kept)[0]] if one.is_sweep_override()]
    own = [
        one for one in varied if f"{one.key_or_group.replace('/', '.')}.".startswith(("search.", "sweep.", "hydra."))
    ]
    for one in own:
        what, where = (
            f"{one.key_or_group} is how the search goes about it: it has one value",
            f"command line: {one.input_line}",
        )
        problems.append(Problem(what, where, f"one of {one.input_line}"))
    dimensions, wrong = _dimensions(varied)
    problems += wrong
    if not varied and not problems:
        what = "a search draws values of keys, and no key has several"
        problems.append(Problem(what, "command line", EXAMPLES))
    if problems:
        raise BadInput(problems)
    dimensions = sorted(dimensions, key=lambda dimension: not dimension.group)
    single = [line for line in single if not line.startswith("~")]
    return Searched([*arguments, *kept], Space(tuple(dimensions), _left_out(dimensions, single)))


def refuse_what_is_searched(arguments: Sequence[str]) -> None:
    """Let a sweep without a search be given no key of one, and nothing that only a search can draw.

    Raises:
        BadInput: it is.
    """
    for override in parse(arguments)[0]:
        where, right = f"command line: {override.input_line}", "-m search=tpe"
        if override.key_or_group.startswith("search."):
            what = f"{override.key_or_group} is set, and no search is chosen"
            raise BadInput(Problem(what, where, right))
        if override.is_interval_sweep():
            what = f"{override.key_or_group}: an interval is drawn from, it can't be tried value by value"
            raise BadInput(Problem(what, where, f"{right}, or range(START,STOP,STEP)"))


def runs_of(arguments: Sequence[str], settings: Settings) -> int:
    """How many runs a command line has in all; of more than any sweep can do, one more than that."""
    search = searched(arguments) if settings.search.name != NO_SEARCH else None
    if search is None:
        return job_count(arguments) * (settings.sweep.seeds or 1)
    every = registry.get("sampler", settings.search.name).details["every"]
    return search.space.trials(every, settings.search.trials or MOST_JOBS + 1)


def faults(settings: Settings, space: Space) -> list[Problem]:
    """What speaks against a search, before anything of Optuna's is made."""
    search, problems = settings.search, []
    sampler = registry.get("sampler", search.name)
    numbers = [one for one in space.dimensions if isinstance(one, Number)]
    for package in ("optuna", *sampler.details["needs"]):
        if importlib.util.find_spec(package) is None:
            extra = "optuna" if package in ("optuna", "cmaes") else search.name
            what = f"search={search.name} needs {package}, which is not installed"
            problems.append(Problem(what, "search.name", f"pip install 'framework[{extra}]'"))
    if len(numbers) < sampler.details["numbers"]:
        least = sampler.details["numbers"]
        what = f"search={search.name} draws numbers, of {least} keys at least, and {len(numbers)} has such"
        problems.append(Problem(what, "search.name", "search=tpe, or more keys with an interval or a range"))
    if sampler.details["single"] and len(settings.objectives()) > 1:
        what = f"search={search.name} follows one objective, and search.objectives names {len(settings.objectives())}"
        problems.append(Problem(what, "search.objectives", "search=tpe or search=nsgaii"))
    if sampler.details["every"]:
        endless = [one.name for one in space.dimensions if one.values is None]
        if endless:
            what = f"search={search.name} tries every value, and {', '.join(endless)} has endlessly many"
            problems.append(Problem(what, "search.name", f"{endless[0]}='range(START,STOP,STEP)', or search=tpe"))
    elif search.trials is None:
        what = f"search.trials=null is for search=grid, and search={search.name} could go on for ever"
        problems.append(Problem(what, "search.trials", "search.trials=50"))
    try:
        seconds(search.timeout)
    except ValueError:
        what = f"search.timeout={search.timeout} is no time"
        problems.append(Problem(what, "search.timeout", "90s, 30m, 2h, or a number of seconds"))
    return problems


def _dimensions(varied: Sequence[Override]) -> tuple[list[Dimension], list[Problem]]:
    found: list[Dimension] = []
    problems: list[Problem] = []
    for override in varied:
        try:
            found.append(_dimension(override))
        except ValueError as error:
            what = f"'{override.input_line}' can't be drawn: {error}"
            problems.append(Problem(what, f"command line: {override.input_line}", EXAMPLES))
    return found, problems


def _dimension(override: Override) -> Dimension:
    """What an override with several values is drawn from.

    Raises:
        ValueError: with the reason why it can't be.
    """
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    key, name = override.get_key_element(), override.key_or_group
    value = override.value()
    head = (key, name, _is_group(name))
    tags: set[str] = getattr(value, "tags", set())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None:
            raise ValueError("it has no end")
        whole = isinstance(low, int) and isinstance(high, int)
        return _number(head, low, high, 1 if whole else None, "log" in tags, whole)
    if isinstance(value, RangeSweep) and not value.shuffle:
        start, stop, step = (Decimal(str(one)) for one in (value.start, value.stop, value.step))
        last = start + (math.ceil((stop - start) / step) - 1) * step
        whole = all(isinstance(one, int) for one in (value.start, value.stop, value.step))
        if last != start:
            return _number(
                head, float(min(start, last)), float(max(start, last)), abs(value.step), "log" in tags, whole
            )
    options = tuple(dict.fromkeys(line.partition("=")[2] for line in values_of(override)))
    if not options:
        raise ValueError("it names no value")
    return Choice(*head, options)


def _number(head: tuple[str, str, bool], low: float, high: float, step: float | None, log: bool, whole: bool) -> Number:
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ValueError(f"{high:g} is not above {low:g}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic one begins above 0, not at {low:g}")
    if log and step not in (None, 1):
        raise ValueError("a logarithmic one has no steps")
    return Number(*head, low, high, None if log and not whole else step, log, whole)


def _is_group(name: str) -> bool:
    return name == "recipe" or name in groups()


def _left_out(dimensions: Sequence[Dimension], fixed: Sequence[str]) -> Callable[[Values], frozenset[str]]:
    """From the options that a trial chooses to the keys that it does without, those with a single value among them.

    A key belongs to the options that have it; one that none has, as a stage's, to those that have the node that it stands
    in. What belongs nowhere stays, for the check to name it.
    """
    choosing = [dimension for dimension in dimensions if dimension.group]
    first = {dimension.name: (dimension.values or ("",))[0] for dimension in choosing}
    names = {line: line.partition("=")[0].lstrip("+") for line in fixed}
    options = [line for line, name in names.items() if _is_group(name)]
    keys = [*(dimension.name for dimension in dimensions), *names.values()]
    keys = [key for key in keys if not _is_group(key)]

    @functools.lru_cache(maxsize=1000)
    def known(chosen: tuple[tuple[str, str], ...]) -> frozenset[str]:
        return keys_of(_composed([*options, *(f"{name}={value}" for name, value in chosen)]))

    @functools.cache
    def every() -> frozenset[str]:
        variants = [{**first, one.name: value} for one in choosing for value in one.values or ()]
        return frozenset().union(*(known(tuple(variant.items())) for variant in variants))

    def left_out(chosen: Values) -> frozenset[str]:
        if not choosing:
            return frozenset()
        there = known(tuple((name, chosen.get(name, usual)) for name, usual in first.items()))
        missing = [key for key in keys if key not in there]
        return frozenset(key for key in missing if next(_parents(key, every()), key) in every() - there)

    return left_out


def _parents(key: str, known: frozenset[str]) -> Iterator[str]:
    """The key and the nodes that it stands in, those that are known, the longest first."""
    names = key.split(".")
    return (path for end in range(len(names), 0, -1) if (path := ".".join(names[:end])) in known)


def _composed(arguments: Sequence[str]) -> Composed:
    try:
        return compose(arguments)
    except IncompleteConfig as error:
        return error.composed

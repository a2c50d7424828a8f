"""Command-line overrides to one plain config, with every mistake in them found, not only the first."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from framework.cli.origins import Origins, Places, trace
from framework.cli.primary import primary_config
from framework.cli.typed import either, fit_for_hydra, hydra_reads
from framework.config import defined
from framework.config.checks import NAMED, not_chosen
from framework.config.folders import conf_folder, groups
from framework.config.hydra_private import apply_overrides, mapping_at, with_values
from framework.config.recipe_parts import load_parts
from framework.config.recipes import Bundle, bring, names, offer
from framework.core.errors import BadInput, Problem, nearest, suggestion

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

OPEN_NODES = (
    "task",
    "model",
    "pooling",
    "head",
    "optim",
    "loss",
    "data",
    "augment",
    "metrics",
    "callbacks",
    "stages",
    "search",
)
FULL_PRODUCT = 16
RANGE_TRIED = 8
MOST_JOBS = 10_000

# what choices of options come to, by their overrides
Known = dict[tuple[str, ...], Any]


@dataclass(frozen=True)
class Composed:
    """A config: as OmegaConf composed it, as plain resolved containers, and where its values come from.

    ``whole`` is the same with Hydra's own node beside it; ``chosen`` is what Hydra made of the options, before values are set.
    ``unsure`` names groups whose option was wrong with nothing near it: what is said of their nodes means nothing.
    ``guessed`` names those that the nearest option stands in for: their keys can be checked, how they fit the rest not.
    """

    node: DictConfig
    config: dict[str, Any]
    origins: Origins
    whole: DictConfig
    chosen: DictConfig
    unsure: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()


def normalise(arguments: Sequence[str]) -> list[str]:
    """Overrides as Hydra wants them: ``optim.schedule=cosine`` is ``optim/schedule=cosine``, texts are in quotes."""
    nested = {group.replace("/", "."): group for group in groups() if "/" in group}

    def one(argument: str) -> str:
        key, equals, value = argument.partition("=")
        if equals and key in nested and re.fullmatch(r"[\w,-]+", value):
            return f"{nested[key]}={value}"
        return fit_for_hydra(argument)

    return [one(argument) for argument in arguments]


def opened(arguments: Sequence[str]) -> list[str]:
    """Checked overrides as Hydra takes them: a stage's keys stand in the node ``stage`` until the stage sets them."""
    return [f"++{argument}" if re.match(r"stages\.[^.=]+\.[^.=]+=", argument) else argument for argument in arguments]


def parse(arguments: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Parsed overrides, and a problem for each argument that is none."""
    parsed, problems = [], []
    for argument in filter(None, arguments):
        override = hydra_reads(argument)
        if override is not None and _has_values(override):
            parsed.append(override)
        else:
            problems.append(either(argument) or _no_override(argument))
    return parsed, problems


def _has_values(override: Override) -> bool:
    """Whether a sweep's values can be listed: those of a range within a list can't."""
    from hydra.core.override_parser.types import Glob, IntervalSweep
    from hydra.errors import HydraException

    if override.is_sweep_override() and not isinstance(override.value(), Glob | IntervalSweep):
        try:
            deque(itertools.islice(override.sweep_string_iterator(), MOST_JOBS), maxlen=0)
        except (HydraException, ValueError):
            return False
    return True


def _no_override(argument: str) -> Problem:
    right = "key=value, for instance optim.lr=0.01; text with spaces or special characters in quotes: 'key=\"a b\"'"
    return Problem(f"'{argument}' is not an override", f"command line: {argument}", right)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether any override names several values to try."""
    return any(override.is_sweep_override() for override in parse(arguments)[0])


def refuse_sweep(arguments: Sequence[str], right: str) -> None:
    """Let only one value a key pass.

    Raises:
        BadInput: an override names several; ``right`` is what to do then, beside writing them as one text.
    """
    for argument in arguments:
        if is_sweep([argument]):
            where = f"command line: {argument}"
            raise BadInput(either(argument) or Problem("several values for one key, in a single run", where, right))


def variants(arguments: Sequence[str], search: bool = False) -> Iterator[list[str]]:
    """The overrides of each variant of a sweep; a single run has one.

    Of a large product every value is tried once beside the first of the others: enough to find each bad one. Of a long
    range of numbers some are tried, its ends among them.

    Args:
        arguments: overrides as Hydra takes them.
        search: whether a search draws from them, so that there may be any number.

    Raises:
        BadInput: there are more than any sweep can do.
    """
    choices = _choices(arguments)
    for argument, choice in zip(arguments, choices, strict=True):
        if not choice:
            raise BadInput(Problem(f"'{argument}' names no value to try", f"command line: {argument}", "KEY=A,B"))
    if not search:
        refuse_too_many(math.prod(map(len, choices)))
    if math.prod(map(len, choices)) <= FULL_PRODUCT:
        yield from (list(variant) for variant in itertools.product(*choices))
        return
    first = [choice[0] for choice in choices]
    yield first
    for place, choice in enumerate(choices):
        step = max(1, len(choice) // RANGE_TRIED) if "=range(" in arguments[place] else 1
        for value in [*choice[1:-1:step], *choice[1:][-1:]]:
            yield [*first[:place], value, *first[place + 1 :]]


def refuse_too_many(jobs: int) -> None:
    """Let no sweep begin that could never end.

    Raises:
        BadInput: there are more than ``MOST_JOBS``.
    """
    if jobs > MOST_JOBS:
        what = f"a sweep of more than {MOST_JOBS:,} runs"
        raise BadInput(Problem(what, "command line", "fewer values, or a search: search=tpe"))


def job_count(arguments: Sequence[str]) -> int:
    """How many jobs a command line has: the product of all values to try."""
    return math.prod(map(len, _choices(arguments)))


def _choices(arguments: Sequence[str]) -> list[list[str]]:
    """For each argument the overrides that a job may have of it."""
    choices: list[list[str]] = []
    for argument in arguments:
        override = next(iter(parse([argument])[0]), None)
        choices.append(values_of(override) if override is not None and override.is_sweep_override() else [argument])
    return choices


def values_of(override: Override) -> list[str]:
    """The overrides of one value each that an override with several stands for; of an interval its ends."""
    from hydra.core.override_parser.types import Glob

    key = override.get_key_element()
    value = override.value()
    if override.is_interval_sweep():
        return [f"{key}={value.start}", f"{key}={value.end}"]  # type: ignore[union-attr]
    if isinstance(value, Glob):
        names = groups().get(override.key_or_group, [])
        return [f"{key}={name}" for name in value.filter(names)] or [override.input_line or ""]
    return [f"{key}={value}" for value in itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1)]


def chooses(override: Override) -> bool:
    """Whether an override chooses an option or speaks to Hydra, so that Hydra must compose; any other sets a value."""
    key = override.key_or_group
    return key in ("recipe", "hydra") or "/" in key or key.startswith("hydra.") or key in groups()


def compose(arguments: Sequence[str], known: Known | None = None) -> Composed:
    """Compose the config of one run.

    Args:
        arguments: overrides.
        known: shared by variants that are composed one after the other: those that differ in values alone are one to
            Hydra, whose composing takes nine tenths of the time.

    Raises:
        BadInput: with a problem for each override or recipe that can't be right.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides, problems = parse(normalise(arguments))
    bundle = chosen_recipes([overrides], problems)
    load_parts(bundle.recipes)
    with _hydra() as loader:
        own = defined.offer()
        options = {
            group: [*shipped, *bundle.options.get(group, {}), *own.get(group, ())]
            for group, shipped in groups().items()
        }
        options["recipe"] = names() if any(one.key_or_group == "recipe" for one in overrides) else []
        chosen, values, loose, unsure, guessed = [], [], [], [], []
        plugin = any(one.key_or_group == "hydra/sweeper" and one.value() == "optuna" for one in overrides)
        for override in overrides:
            key = override.key_or_group
            if plugin and key.startswith(("hydra/sweeper", "hydra.sweeper.")):
                problems += _of_the_plugin(override)
            elif key == "search/pruner" and not {one.key_or_group for one in overrides} & {"search", "recipe"}:
                what, where = "search.pruner is set, and no search is chosen", f"command line: {override.input_line}"
                problems.append(Problem(what, where, "search=tpe"))
            elif key == "hydra" or key.startswith(("hydra.", "hydra/")):
                loose.append(override)
            elif key in options:
                problems += (wrong := _bad_choice(override, options[key]))
                meant = parse([_meant(override, options[key])])[0] if wrong else [override]
                chosen += meant
                unsure += [key] if wrong and not meant else []
                guessed += [key] if wrong and meant else []
            elif _near_group(override, options):
                problems.append(_unknown_group(override, options))
            else:
                values.append(override)
        lines = [override.input_line or "" for override in [*chosen, *loose]]
        known = {} if known is None else known
        config = _load(loader, lines, problems, known)
        kept = [override for override in values if _apply(override, config, problems)]
    origins = Origins(lambda: _trace(lines, kept, bundle))
    OmegaConf.set_struct(config, False)
    whole, config = config, OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, HydraException) as error:
        key = str(getattr(error, "full_key", "") or "")
        message = str(error).split("\n", 1)[0]
        problems.append(Problem(f"{key or 'a value'} can't be resolved: {message}", origins.of(key)))
        plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    containers = {str(key): value for key, value in plain.items()}
    composed = Composed(config, containers, origins, whole, known[tuple(lines)], tuple(unsure), tuple(guessed))
    if problems:
        raise IncompleteConfig(problems, composed)
    return composed


def for_hydra(composed: Composed, overrides: Sequence[str]) -> DictConfig:
    """What Hydra would compose of a run's overrides, which are those that were checked with paths in full."""
    parsed = parse(overrides)[0]
    spoken = [one for one in parsed if one.is_hydra_override()]
    known = composed.chosen.hydra.overrides.hydra
    changed = [one for one in spoken if one.input_line not in known]
    config = with_values(composed.chosen, parsed, [*(one for one in parsed if not chooses(one)), *changed])
    config.hydra.overrides.hydra = [one.input_line for one in spoken]
    return config


class IncompleteConfig(BadInput):
    """Some overrides are wrong; carries what composes without them, so that the rest can be checked too."""

    def __init__(self, problems: Sequence[Problem], composed: Composed):
        super().__init__(problems)
        self.composed = composed


def chosen_recipes(variants: Iterable[Sequence[Override]], problems: Sequence[Problem] = ()) -> Bundle:
    """What the recipes bring that these overrides choose, or probably meant to; put where Hydra finds it.

    Args:
        variants: of a sweep; all that its variants choose must go together.
        problems: found before, to be told with those of the recipes.

    Raises:
        BadInput: a recipe can't be used.
    """
    repeated = primary_config().recipe
    wanted = [repeated.name] if repeated else []
    for overrides in variants:
        for override in overrides:
            if override.key_or_group == "recipe" and isinstance(value := override.value(), str | int):
                wanted.append(str(value))
    known = names() if wanted else []
    meant = [name if name in known else nearest(name, known) for name in wanted]
    try:
        bundle = bring(filter(None, meant), groups())
    except BadInput as error:
        raise BadInput([*problems, *error.problems]) from None
    offer(bundle)
    return bundle


@contextlib.contextmanager
def _hydra() -> Iterator[Any]:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder()), job_name="command"):
        yield GlobalHydra.instance().config_loader()


def _load(loader: Any, lines: list[str], problems: list[Problem], known: Known) -> Any:
    """The config of these overrides; where Hydra refuses them, the one at fault is named and taken out of ``lines``."""
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    while True:
        try:
            if tuple(lines) not in known:
                config = loader.load_configuration(primary_config().name, overrides=lines, run_mode=RunMode.RUN)
                known[tuple(lines)] = config
            return copy.deepcopy(known[tuple(lines)])
        except _refusals() as error:
            message = re.sub(r"\s*\n\s*", " ", str(error)).strip()
            if not isinstance(error, HydraException | OmegaConfBaseException):
                message = f"Hydra can't take this: {type(error).__name__} {message}".strip()
            if not lines:
                raise BadInput([*problems, Problem(message)]) from None
            culprit = next((line for line in reversed(lines) if _refused(loader, line)), lines[-1])
            problems.append(Problem(message, f"command line: {culprit}"))
            lines.remove(culprit)


def _refused(loader: Any, line: str) -> bool:
    from hydra.types import RunMode

    try:
        loader.load_configuration(primary_config().name, overrides=[line], run_mode=RunMode.RUN)
    except _refusals():
        return True
    return False


def _refusals() -> tuple[type[Exception], ...]:
    """What Hydra raises where an override does not fit; of its own node it finds some things out by chance."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return (HydraException, OmegaConfBaseException, ValueError, TypeError, KeyError, AttributeError, AssertionError)


def _trace(lines: Sequence[str], values: Sequence[Override], bundle: Bundle) -> Places:
    """All places that set each key; needs a look at every file, so only done for an error or for ``show``."""
    from hydra.types import RunMode

    with _hydra() as loader:
        defaults = loader.compute_defaults_list(primary_config().name, list(lines), RunMode.RUN).defaults
        return trace(defaults, primary_config().file, bundle, lines, values)


def _of_the_plugin(override: Override) -> list[Problem]:
    """What is said to who calls Optuna's sweeper, once, however many of its keys are given."""
    if override.key_or_group != "hydra/sweeper":
        return []
    right = "search=tpe search.trials=50 (show search lists the others)"
    return [Problem("a search is no plugin of Hydra's any more", f"command line: {override.input_line}", right)]


def _bad_choice(override: Override, options: Sequence[str]) -> list[Problem]:
    """A problem for each option of a group override that does not exist."""
    group = override.key_or_group
    value = override.value()
    where = f"command line: {override.input_line}"
    if override.is_delete():
        return []
    if override.is_add():
        return [Problem(f"{group} is set already: '+' would add a second one", where, f"{group}={value}")]
    names = value if isinstance(value, list) else [value]
    if group == "recipe" and isinstance(value, list):
        right = "recipe=a,b with -m to try both, or a recipe that builds on both: see recipes/README.md"
        return [Problem("a run has one recipe", where, right)]
    if any(isinstance(name, dict) or name is None for name in names) and group != "recipe":
        return [Problem(f"{group} takes the name of an option", where, suggestion("", options))]
    return [
        Problem(f"there is no {group} '{name}'", where, f"{group}={suggestion(name, options)}" if options else "")
        for name in names
        if str(name) not in options and name is not None
    ]


def _meant(override: Override, options: Sequence[str]) -> str:
    """A wrong choice with each name as it was probably meant, so that the rest can be checked; empty if unclear."""
    value = override.value()
    names = value if isinstance(value, list) else [value]
    near = [name if name in options else nearest(name, options) for name in map(str, names)]
    if None in near:
        return ""
    return f"{override.key_or_group}={near[0] if not isinstance(value, list) else '[' + ','.join(map(str, near)) + ']'}"


def _near_group(override: Override, options: dict[str, list[str]]) -> bool:
    return "." not in override.key_or_group and (
        "/" in override.key_or_group or nearest(override.key_or_group, options) is not None
    )


def _unknown_group(override: Override, options: dict[str, list[str]]) -> Problem:
    key = override.key_or_group
    return Problem(
        f"there is no key or group '{key}'", f"command line: {override.input_line}", suggestion(key, options)
    )


def _apply(override: Override, config: Any, problems: list[Problem]) -> bool:
    """Apply an override of a value, or note why it can't be."""
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, line = override.key_or_group, override.input_line or ""
    path, _, last = key.rpartition(".")
    try:
        parent = OmegaConf.select(config, path) if path else config
    except OmegaConfBaseException:  # a name where a list has numbers, a value that can't be resolved
        parent = None
    exists = isinstance(parent, DictConfig) and last in parent
    opened = (isinstance(parent, DictConfig) or override.is_add()) and path.split(".")[0] in OPEN_NODES
    where, right = f"command line: {line}", ""
    if override.is_delete() and not exists:
        right = _nearest_key(key, config)
        problems.append(Problem(f"there is no key '{key}' to remove", where, f"~{right}"))
        return False
    if exists and override.is_add() and not isinstance(parent[last], DictConfig):
        problems.append(Problem(f"{key} is set already: '+' would add a second one", where, line.lstrip("+")))
        return False
    group, _, name = path.partition(".")
    if parent is None and group in (*NAMED, "augment") and name in groups()[group]:
        problems.append(replace(not_chosen(path, [last]), where=where))
        return False
    if not exists and not opened and not (override.is_add() and path and isinstance(parent, DictConfig)):
        problems.append(Problem(f"there is no key '{key}'", where, _nearest_key(key, config)))
        return False
    try:
        # an unknown key of an open node is let in: the schema names it, with the nearest that the node does take
        lines = [line] if exists or override.is_add() else [f"++{line.lstrip('+')}"]
        apply_overrides(parse(lines)[0], config)
    except RecursionError:
        problems.append(Problem(f"the value of {key} is nested too deeply", where))
        return False
    except (HydraException, OmegaConfBaseException) as error:
        problems.append(Problem(re.sub(r"\s*\n\s*", " ", str(error)).strip(), where))
        return False
    return True


def keys_of(composed: Composed) -> frozenset[str]:
    """Every key of a config, nodes among them."""
    return frozenset(_keys(composed.node))


def _nearest_key(key: str, config: Any) -> str:
    keys = _keys(config)
    return nearest(key, keys) or suggestion(key, [key for key in keys if "." not in key])


def _keys(config: Any, prefix: str = "") -> list[str]:
    found = []
    for key in config:
        path = f"{prefix}{key}"
        found.append(path)
        if (inner := mapping_at(config, key)) is not None:
            found += _keys(inner, f"{path}.")
    return [key for key in found if not key.startswith("hydra")]

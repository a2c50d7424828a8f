"""What every command shares: its help, its checks, and errors as messages with an exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import framework
from framework.cli.compose import (
    Composed,
    IncompleteConfig,
    Known,
    chosen_recipes,
    compose,
    for_hydra,
    normalise,
    opened,
    parse,
    refuse_sweep,
    refuse_too_many,
    variants,
)
from framework.cli.help import as_called, overview
from framework.cli.job import job_of
from framework.cli.output import hydra_at_work, refuse_unwritable, run_folder
from framework.cli.primary import primary_config, take_primary_config
from framework.cli.space import NO_SEARCH, faults, refuse_what_is_searched, runs_of, searched
from framework.cli.typed import either
from framework.cli.unfinished import RUN_DIR, find_unfinished, take_resume
from framework.config.checks import read_settings
from framework.config.folders import conf_folder
from framework.config.hydra_private import composed_already, flags_parser
from framework.config.kinds import with_full_paths
from framework.config.recipes import offer_names
from framework.config.settings import Settings
from framework.core.console import passing
from framework.core.errors import (
    DONE,
    BadInput,
    FrameworkError,
    Problem,
    suggestion,
)
from framework.core.garbage import spare_command
from framework.core.reporting import guarded
from framework.runs.job import Job

if TYPE_CHECKING:
    from framework.sweeps.request import SweepRequest

Preflight = Callable[[Settings], list[Problem]]
LONGEST_LOOK = 1.0


def run_command(help: Callable[[], str], arguments: Sequence[str] | None, work: Callable[[list[str]], int]) -> int:
    """Print a command's help or the version if that is asked for, else do its work; errors become messages.

    Args:
        help: its text.
        arguments: in place of ``sys.argv``.
        work: takes what was given, returns the exit code.
    """
    if arguments is None:
        spare_command()
    given = sys.argv[1:] if arguments is None else list(arguments)

    # what the encoding of a pipe has no letters for is written out (\u2248): on Windows it has few
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")

    def run() -> int:
        if {"-h", "--help"} & set(given):
            print(as_called(help()))
            return DONE
        if "--version" in given:
            print(framework.__version__)
            return DONE
        return work(given)

    return guarded(run)


def looking(usage: str, arguments: Sequence[str] | None, work: Callable[[list[str]], int]) -> int:
    """As ``run_command``, for a command that takes what ``framework-train`` takes and trains nothing.

    A sweep needs no flag there: ``work`` gets the overrides alone.
    """

    def overridden(given: list[str]) -> int:
        overrides = take_primary_config(given)
        plain = [argument for argument in overrides if argument not in ("-m", "--multirun")]
        unclear = [problem for problem in map(either, normalise(plain)) if problem]
        if unclear and plain == overrides:
            raise BadInput(unclear)
        return work(plain)

    return run_command(lambda: overview(usage), arguments, overridden)


def check(arguments: Sequence[str], preflight: Preflight) -> list[Settings]:
    """Settings of every variant of a command line.

    Raises:
        BadInput: as ``check_all``.
    """
    return [settings for settings, _ in check_all(arguments, preflight)]


def check_all(arguments: Sequence[str], preflight: Preflight) -> list[tuple[Settings, Composed]]:
    """Settings of every variant of a command line, each with the config that they were read from.

    Raises:
        BadInput: with all problems of all variants, each with where it was set; of very many variants, where something
            is wrong already, of as many as a second is enough for.
    """
    problems: list[Problem] = []
    right = []
    known: Known = {}
    started = 0.0
    arguments = normalise(arguments)
    if search := searched(arguments):
        each = map(search.space.kept, variants(search.arguments, search=True))
        tried = list(map(list, dict.fromkeys(map(tuple, each))))
    else:
        tried = list(variants(arguments))
    chosen_recipes(parse(variant)[0] for variant in tried)
    with passing("checking config and data …"):
        for variant in tried:
            composed, settings, wrong = _check(variant, preflight, known)
            problems += wrong
            if settings is not None:
                right.append((settings, composed))
            # what the first one has to import is no part of it
            started = started or time.process_time()
            if problems and time.process_time() - started > LONGEST_LOOK:
                break
    if search and right and not problems:
        settings, composed = right[0]
        problems += [_located(problem, composed) for problem in faults(settings, search.space)]
    if problems:
        raise BadInput(dict.fromkeys(problems))
    return right


def check_one(arguments: Sequence[str], preflight: Preflight) -> tuple[Settings | None, list[Problem]]:
    """Settings of one variant, or None, and all its problems."""
    return _check(arguments, preflight)[1:]


def _check(
    arguments: Sequence[str], preflight: Preflight, known: Known | None = None
) -> tuple[Composed, Settings | None, list[Problem]]:
    composed, problems = _composed(arguments, known)
    settings, wrong = read_settings(with_full_paths(composed.config))
    if settings is not None:
        unfit = preflight(settings)
    else:
        unfit = _problems_of_the_rest(arguments, [problem.where for problem in wrong], preflight)
    unfit = [problem for problem in unfit if problem.where.split(".")[0] not in composed.guessed]
    told = [
        problem
        for problem in _not_told_twice([*wrong, *unfit], composed)
        if problem.where.split(".")[0] not in composed.unsure
    ]
    # values that repeat each other in a circle: none is the first
    wrong = told if told or problems else [*wrong, *unfit]
    wrong = problems + [_located(problem, composed) for problem in wrong]
    return composed, (None if wrong else settings), wrong


def _not_told_twice(problems: Sequence[Problem], composed: Composed) -> list[Problem]:
    """Without problems of a key that only repeats the value of another wrong key."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(composed.node, resolve=False)
    wrong = {problem.where for problem in problems}

    def source(path: str) -> str:
        value: object = plain
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        found = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        return found[1] if found else ""

    return [problem for problem in problems if source(problem.where) not in wrong]


def _composed(arguments: Sequence[str], known: Known | None = None) -> tuple[Composed, list[Problem]]:
    try:
        return compose(arguments, known), []
    except IncompleteConfig as error:
        return error.composed, list(error.problems)


def _problems_of_the_rest(arguments: Sequence[str], wrong: Sequence[str], preflight: Preflight) -> list[Problem]:
    """What preflight says of the command line without the overrides that set a wrong key, where that is complete."""
    overrides = parse(arguments)[0]
    rest = [override.input_line or "" for override in overrides if override.key_or_group not in wrong]
    if len(rest) == len(overrides):
        return []
    settings, _ = read_settings(with_full_paths(_composed(rest)[0].config))
    return preflight(settings) if settings is not None else []


def _located(problem: Problem, composed: Composed) -> Problem:
    """The problem with its config path turned into the file and line or the override that set it."""
    return replace(problem, where=composed.origins.of(problem.where) or problem.where)


def launch(
    arguments: Sequence[str],
    work: Callable[[Job], None],
    preflight: Preflight,
    begin: Callable[[Settings], object],
    sweep: Callable[[SweepRequest, Settings, int], int],
) -> int:
    """Check a command line, then let Hydra start its run or its sweep, or answer its question (``--cfg job``).

    Args:
        arguments: what was typed after the command.
        work: does one run.
        preflight: further checks of settings, without TensorFlow.
        begin: called with its settings when all is known to be right and before a single run.
        sweep: does a sweep: what is asked for, settings of its first run, how many runs.

    Returns:
        the exit code of the run or the sweep.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf

    typed, arguments = arguments, normalise(take_primary_config(take_resume(arguments)))
    overrides, flags = _read_flags(arguments)
    arguments = [*_flags_again(flags), *overrides]
    given_config: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if flags.cfg == "job" and not flags.package:
        print(OmegaConf.to_yaml(compose(overrides).node, resolve=flags.resolve), end="")
        return DONE
    if not (flags.cfg or flags.info or flags.shell_completion or flags.hydra_help):
        if not flags.multirun:
            refuse_sweep(overrides, "add -m")
        checked = check_all(overrides, preflight)
        first, composed = checked[0]
        arguments, overrides = opened(arguments), opened(overrides)
        if first.search.name == NO_SEARCH:
            refuse_what_is_searched(overrides)
        if flags.multirun:
            from framework.cli.multirun import requested

            refuse_too_many(runs := runs_of(overrides, first))
            if first.sweep.jobs != 1 and any(settings.trainer.workers > 1 for settings, _ in checked):
                what = "runs of several workers, and several such runs at once"
                raise BadInput(Problem(what, "trainer.workers", "sweep.jobs=1, or trainer.workers=1"))
            request = requested(arguments, overrides, first, typed)
            refuse_unwritable(request.folder, "hydra.sweep.dir")
            return sweep(request, first, runs)
        unfinished, _ = _destination(overrides, first, composed)
        there = [f"{RUN_DIR}'{unfinished}'"] if unfinished else []
        arguments += there
        given_config = composed_already(for_hydra(composed, [*overrides, *there]))
        begin(first)
    elif flags.cfg or flags.info:
        compose(overrides)
    if flags.shell_completion:
        offer_names()
    codes: list[int] = []

    def job(config: DictConfig) -> None:
        given = HydraConfig.get()
        one = job_of(config, given.runtime.output_dir, list(given.overrides.task), given.runtime.cwd, write_held)

        def run() -> int:
            work(one)
            return DONE

        codes.append(guarded(run))

    sys.argv = [sys.argv[0], *arguments]
    try:
        with hydra_at_work() as write_held, given_config:
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=primary_config().name)(job)()
    except (FrameworkError, OSError):
        raise
    except Exception as error:
        reason = re.sub(r"\s*\n\s*", " ", str(error)).strip()
        raise BadInput(Problem(f"Hydra can't start this: {reason}", "command line")) from error
    return max(codes, default=DONE)


def single(arguments: Sequence[str], preflight: Preflight) -> Job:
    """The job of a command line that is one run, checked as ``launch`` checks it, without a process of Hydra's around it.

    So nothing of the process is changed: no logging, no ``sys.argv``, no current folder, and no ``.hydra`` is written.
    Where the folder that the clock names is taken, by another run of the same second, the next free name is.

    Args:
        arguments: overrides, ``from=``, ``resume=`` and ``recipes=`` among them.
        preflight: further checks of settings.

    Raises:
        BadInput: with every problem.
    """
    overrides = normalise(take_primary_config(take_resume(arguments)))
    refuse_sweep(overrides, "one value; a sweep tries several")
    first, composed = check_all(overrides, preflight)[0]
    typed = opened(overrides)
    unfinished, folder = _destination(typed, first, composed)
    if not unfinished and not any(override.lstrip("+").startswith(RUN_DIR) for override in typed):
        taken, number = folder, 1
        while folder.exists():
            number += 1
            folder = taken.with_name(f"{taken.name}_{number}")
    own = [override for override in typed if not override.lstrip("+").startswith(("hydra.", "hydra/"))]
    return job_of(composed.node, str(folder), own, str(Path.cwd()))


def job_in(arguments: Sequence[str], folder: Path, preflight: Preflight) -> Job:
    """The job of a command line that is one run, in this folder; checked, and nothing is written.

    Args:
        arguments: overrides.
        folder: of the run.
        preflight: further checks of settings.

    Raises:
        BadInput: with every problem.
    """
    overrides = normalise(arguments)
    composed = check_all(overrides, preflight)[0][1]
    own = [override for override in opened(overrides) if not override.lstrip("+").startswith(("hydra.", "hydra/"))]
    return job_of(composed.node, str(folder), own, str(Path.cwd()))


def _destination(overrides: Sequence[str], first: Settings, composed: Composed) -> tuple[Path | None, Path]:
    """The folder of an unfinished run that a single run goes on with, None if there is none, and the run's folder.

    Raises:
        BadInput: it is no single run, or its folder can't be written.
    """
    if first.search.name != NO_SEARCH:
        what = f"search={first.search.name} draws many runs, and this is a single run"
        raise BadInput(Problem(what, "", "add -m, or search=none"))
    if first.sweep.seeds is not None:
        what = f"sweep.seeds={first.sweep.seeds} repeats runs, and this is a single run"
        raise BadInput(Problem(what, "", "add -m"))
    if first.compute.engine != "local" and not (first.compute.engine == "ray" and first.trainer.workers > 1):
        what = f"compute={first.compute.engine} is for the runs of a sweep, and this is a single run"
        more = ", or trainer.workers=2: one training by workers on the cluster" if first.compute.engine == "ray" else ""
        raise BadInput(Problem(what, "", f"add -m, or compute=local{more}"))
    unfinished = find_unfinished(overrides)
    folder = unfinished or run_folder(composed.whole)
    refuse_unwritable(folder, "hydra.run.dir")
    return unfinished, folder


def _read_flags(arguments: Sequence[str]) -> tuple[list[str], argparse.Namespace]:
    """The overrides, and all flags as Hydra reads them.

    Raises:
        BadInput: for a flag that there is not, or one that would bring configs from elsewhere past the checks.
    """
    parser = flags_parser()
    parser.exit_on_error = False
    try:
        flags, unknown = parser.parse_known_args(list(arguments))
    except (argparse.ArgumentError, SystemExit) as error:
        raise BadInput(Problem(str(error), "command line", "--help shows the flags")) from None
    # argparse takes no further positional arguments behind a flag
    flags.overrides += [argument for argument in unknown if not argument.startswith("-")]
    # an empty variable of the shell
    flags.overrides = [argument for argument in flags.overrides if argument]
    unknown = [argument for argument in unknown if argument.startswith("-")]
    problems = [
        Problem(f"there is no flag '{flag}'", f"command line: {flag}", suggestion(flag, FLAGS)) for flag in unknown
    ]
    if flags.config_path or flags.config_name or flags.config_dir or flags.experimental_rerun:
        problems.append(Problem("configs come from conf/ and from recipes", "command line", "recipe=NAME"))
    if problems:
        raise BadInput(problems)
    return flags.overrides, flags


def _flags_again(flags: argparse.Namespace) -> list[str]:
    """The flags as Hydra reads them in front of overrides: one that may have a value would take an override for it."""
    on = {
        "multirun": "-m",
        "run": "-r",
        "resolve": "--resolve",
        "shell_completion": "-sc",
        "hydra_help": "--hydra-help",
    }
    valued = ("cfg", "package", "info")
    return [
        *(flag for name, flag in on.items() if getattr(flags, name)),
        *(f"--{name}={getattr(flags, name)}" for name in valued if getattr(flags, name)),
    ]


FLAGS = (
    "--help",
    "--multirun",
    "-m",
    "--cfg",
    "--resolve",
    "--package",
    "--info",
    "--shell-completion",
    "--hydra-help",
)

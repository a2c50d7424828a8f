"""Hydra's side of a sweep: what the sweep and its runs are called, and jobs handed over together, not one by one.

Whatever launcher is chosen, one that stands before it composes each job of a batch and asks the room ``sweeps`` which
are to be done. In place of Hydra's basic launcher, which runs a job after the other in this process, ``sweeps`` runs
them; any other (``hydra/launcher=joblib``) is given those that are to be done, and brings each to ``Task`` in whatever
process it starts.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from framework.cli.compose import Known, chooses, opened, parse
from framework.cli.job import job_of
from framework.cli.output import hydra_at_work, sweep_folder
from framework.cli.primary import primary_config
from framework.cli.space import NO_SEARCH, searched
from framework.config.folders import conf_folder
from framework.config.hydra_private import batches_checked_already, with_values
from framework.config.settings import Settings
from framework.core.console import program
from framework.core.digits import seconds
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.files import put_back_if
from framework.runs.job import Job
from framework.runs.preflight import OF_RUNS
from framework.sweeps.naming import default_name, run_name
from framework.sweeps.request import Search, SweepRequest
from framework.sweeps.search import Ready

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from framework.sweeps.sweep import Sweep

# by its name: Hydra imports its plugins in a way of its own, so that their classes are not those one imports
BASIC = "BasicLauncher"
MOST_KNOWN = 32  # composed configs that are held, about 1 MB each


class Task:
    """What Hydra is told to do for a job."""

    def __init__(self, sweep: Sweep):
        self.sweep = sweep

    def __call__(self, config: DictConfig) -> float | None:
        """Do a job that a launcher has brought to where it is to run."""
        given = HydraConfig.get()
        runtime = given.runtime
        return self.sweep.alone(job_of(config, runtime.output_dir, list(given.overrides.task), runtime.cwd))


class Together(Launcher):
    """Composes all jobs of a batch, then hands them over together; ``write`` lets Hydra's files go to the disk."""

    def __init__(
        self,
        request: SweepRequest,
        chosen: Launcher,
        hydra_context: HydraContext,
        task: Task,
        config: DictConfig,
        write: Callable[[], None],
    ):
        self.request, self.chosen, self.hydra_context = request, chosen, hydra_context
        self.task, self.config, self.write = task, config, write
        self._known: Known = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """All is known already."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run a batch; a failed job has the value None, its reason is in its run folder."""
        basic = type(self.chosen).__name__ == BASIC
        try:
            setup_globals()
            if self.request.search:
                # what is fixed is one job for Hydra: it is asked for no other
                self.task.sweep.search(self._ready, None if basic else self._launch_ready)
                return [_returned(line, None) for line in job_overrides]
            # a sweeper may have read what is fixed and written it anew, less exactly: here it is as it was typed
            job_overrides = [[*self.request.fixed, *filter(self._varies, line)] for line in job_overrides]
            configs = [self._compose(list(line), initial_job_idx + place) for place, line in enumerate(job_overrides)]
            jobs = [_job(config) for config in configs]
            if basic:
                values = self.task.sweep.run(jobs, lambda place: self._start(configs[place]))
            else:
                values = self.task.sweep.by_launcher(
                    jobs, lambda places: self._launch([job_overrides[place] for place in places], initial_job_idx)
                )
        except Exception as error:
            raise (_Refused if isinstance(error, BadInput) else _PastHydra)(error) from error
        return [_returned(line, value) for line, value in zip(job_overrides, values, strict=True)]

    def _varies(self, override: str) -> bool:
        return override not in self.request.fixed and override.lstrip("+").partition("=")[0] in self.request.varied

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        config = composed(self.hydra_context.config_loader, self.config, overrides, self._known)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _ready(self, drawn: Sequence[str], number: int) -> Ready:
        """The job of a trial; what the search itself was told is no part of it."""
        assert self.request.search is not None
        line = [*self.request.search.space.kept([*self.request.fixed, *opened(drawn)]), f"search={NO_SEARCH}"]
        config = self._compose(line, number)
        return Ready(_job(config), line, functools.partial(self._start, config))

    def _launch_ready(self, batch: Sequence[Ready]) -> None:
        self._launch([one.overrides for one in batch], 0)

    def _start(self, config: DictConfig) -> None:
        run_job(lambda _: None, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context)
        self.write()

    def _launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        self.chosen.launch(job_overrides, initial_job_idx)
        self.write()


def composed(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str], known: Known) -> DictConfig:
    """What ``load_sweep_config`` gives for a job, composed by Hydra once for all that choose the same options.

    Args:
        loader: Hydra's.
        master: config of the sweep.
        overrides: of the job.
        known: configs of before, filled here.
    """
    parsed = parse(overrides)[0]
    choices = tuple(one.input_line or "" for one in parsed if chooses(one))
    if choices not in known:
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[choices] = loader.load_sweep_config(master, list(choices))
    return with_values(known[choices], parsed, [one for one in parsed if not chooses(one)])


class _PastHydra(BaseException):
    """Carries an error through Hydra, which would print a traceback of an ordinary one and exit."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


class _Refused(_PastHydra):
    """Nothing was started."""


def _returned(overrides: Sequence[str], value: float | None) -> JobReturn:
    done = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    done.return_value = value
    return done


def _job(config: DictConfig) -> Job:
    folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir")), str(OmegaConf.select(config, "hydra.sweep.subdir")))
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return job_of(own, str(folder), list(config.hydra.overrides.task), config.hydra.runtime.cwd)


def launch_sweep(request: SweepRequest, sweep: Sweep) -> None:
    """Have Hydra start the sweep.

    Raises:
        FrameworkError: what the sweep raises.
    """
    import hydra

    plugins = Plugins.instance()
    launcher_of = plugins.instantiate_launcher

    def launcher(hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> Launcher:
        assert isinstance(task_function, Task)
        chosen = launcher_of(hydra_context, task_function, config)
        return Together(request, chosen, hydra_context, task_function, config, write)

    sys.argv = [sys.argv[0], *request.arguments]
    name = primary_config().name
    plugins.instantiate_launcher = launcher  # type: ignore[method-assign]
    try:
        refused = put_back_if(_Refused, [request.folder / "multirun.yaml"])
        with hydra_at_work() as write, batches_checked_already(), refused:
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(Task(sweep))()
    except _PastHydra as passed:
        raise passed.error from None
    except Exception as error:
        raise RunFailed(f"the sweeper or launcher failed: {type(error).__name__}: {error}") from error
    finally:
        del plugins.instantiate_launcher


def requested(
    arguments: Sequence[str], overrides: Sequence[str], first: Settings, typed: Sequence[str] = ()
) -> SweepRequest:
    """What the sweep is called, where it goes, and what Hydra must be told for it.

    Args:
        arguments: the whole command line, flags too.
        overrides: the overrides in it.
        first: settings of the first variant.
        typed: the command line before anything was taken out of it.

    Raises:
        BadInput: ``sweep.seeds`` beside a ``trainer.seed``, or in a search.
    """
    added: list[str] = []
    settings = first.sweep
    search = _search(overrides, first)
    if settings.seeds is not None and search:
        what = f"sweep.seeds={settings.seeds} repeats variants, and a search has none to repeat"
        raise BadInput(Problem(what, "", "one of the two"))
    parsed = parse(overrides)[0]
    if settings.seeds is not None:
        given = next((one for one in parsed if one.key_or_group == "trainer.seed"), None)
        if given is not None:
            what = f"sweep.seeds={settings.seeds} sets trainer.seed, and so does the command line"
            raise BadInput(Problem(what, f"command line: {given.input_line}", "one of the two"))
        added.append(f"trainer.seed=range(1,{settings.seeds + 1})")
        parsed += parse(added)[0]
    _refuse_two_engines(parsed, first)
    own = [one for one in parsed if not one.key_or_group.startswith(("hydra.", "hydra/"))]
    varied = [one.key_or_group for one in own if one.is_sweep_override()]
    fixed = [one for one in own if not one.is_sweep_override()]
    if search:
        varied = list(search.space.names)
        fixed = [one for one in fixed if not f"{one.key_or_group}.".startswith(("search.", "search/"))]
        columns = [one.column for one in search.objectives if one.column not in OF_RUNS]
        settings = replace(
            settings, metric=settings.metric or (columns[0] if first.search.objectives and columns else None)
        )
    # where its runs are makes it no other sweep
    lines = [one.input_line or "" for one in fixed if not one.key_or_group.startswith(("compute", "sweep.", "resume."))]
    name = settings.name or default_name(varied, lines)
    if not any(one.key_or_group == "hydra.sweep.dir" for one in parsed):
        added.append(f"hydra.sweep.dir='sweeps/{name}'")
    keys = ",".join(f"'{one}'" for one in dict.fromkeys([*(one.key_or_group for one in fixed), "search"]))
    added.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    single = [one.input_line or "" for one in parsed if not one.is_sweep_override()]
    if search:
        # Hydra composes one job, and never runs it
        usual = search.space.lines({one.name: (one.values or ("",))[0] for one in search.space.dimensions if one.group})
        single = search.space.kept([*single, *usual])
        drawn = {one.input_line for one in parsed if one.is_sweep_override()}
        arguments = search.space.kept([*(argument for argument in arguments if argument not in drawn), *usual])
    folder = sweep_folder(single + [line for line in added if not line.startswith("trainer.seed=range")])
    lines = [one.input_line or "" for one in fixed]
    told = (*arguments, *added)
    command = (*program(), *typed)
    return SweepRequest(
        name, folder, command, tuple(varied), tuple(lines), settings, told, search, first.compute, tuple(typed)
    )


def _refuse_two_engines(parsed: Sequence[Override], first: Settings) -> None:
    """Let a sweep have one place for all its runs.

    Raises:
        BadInput: ``compute`` has several values, or a launcher of Hydra's is chosen too.
    """
    for one in parsed:
        where = f"command line: {one.input_line}"
        if f"{one.key_or_group}.".startswith("compute.") and one.is_sweep_override():
            raise BadInput(
                Problem(f"{one.key_or_group} says where all runs go: it has one value", where, "one of them")
            )
        if one.key_or_group == "hydra/launcher" and first.compute.engine != "local" and one.value() != "basic":
            what = f"compute={first.compute.engine} and a launcher of Hydra's both say where runs go"
            raise BadInput(Problem(what, where, "one of the two"))


def _search(overrides: Sequence[str], first: Settings) -> Search | None:
    """The search that a command line asks for."""
    found = searched(overrides) if first.search.name != NO_SEARCH else None
    if found is None:
        return None
    may_differ = bool(first.resume.allow)
    return Search(
        first.search, found.space, first.objectives(), seconds(first.search.timeout), first.epochs, may_differ
    )


def _resolve_run_name(dirname: Any) -> str:
    return run_name(str(dirname))


OmegaConf.register_new_resolver("run_name", _resolve_run_name, replace=True)

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from framework.cli.compose import parse
from framework.cli.job import job_of
from framework.cli.output import hydra_at_work, sweep_folder
from framework.cli.primary import primary_config
from framework.config.folders import conf_folder
from framework.config.settings import Settings
from framework.core.console import program
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.files import put_back_if
from framework.runs.job import Job
from framework.sweeps.naming import default_name, run_name
from framework.sweeps.request import Search, SweepRequest, jobs_at_once

if TYPE_CHECKING:
    from framework.sweeps.sweep import Sweep

# by its name: Hydra imports its plugins in a way of its own, so that their classes are not those one imports
BASIC, BASIC_SWEEPER = "BasicLauncher", "BasicSweeper"
OPTUNA, STUDY, TRIALS, USUAL_TRIALS = "optuna", "study.db", "hydra.sweeper.n_trials", 20


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

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """All is known already."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run a batch; a failed job has the value None, its reason is in its run folder."""
        # a sweeper may have read what is fixed and written it anew, less exactly: here it is as it was typed
        job_overrides = [[*self.request.fixed, *filter(self._varies, line)] for line in job_overrides]
        try:
            setup_globals()
            configs = [self._compose(list(line), initial_job_idx + place) for place, line in enumerate(job_overrides)]
            jobs = [_job(config) for config in configs]
            if type(self.chosen).__name__ == BASIC:
                values = self.task.sweep.run(jobs, lambda place: self._start(configs[place]), self._search())
            else:
                values = self.task.sweep.hand_over(
                    jobs, lambda places: self._launch([job_overrides[place] for place in places], initial_job_idx)
                )
        except Exception as error:
            raise (_Refused if isinstance(error, BadInput) else _PastHydra)(error) from error
        return [_returned(line, value) for line, value in zip(job_overrides, values, strict=True)]

    def _varies(self, override: str) -> bool:
        return override not in self.request.fixed and override.lstrip("+").partition("=")[0] in self.request.varied

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _search(self) -> Search | None:
        """The study, where one is kept that has a single objective."""
        told = OmegaConf.select(self.config, "hydra.sweeper")
        storage, study, direction = (OmegaConf.select(told, key) for key in ("storage", "study_name", "direction"))
        single = not OmegaConf.is_list(direction)
        trials = OmegaConf.select(told, "n_trials") or 0
        return Search(str(storage), str(study), trials) if storage and study and single else None

    def _start(self, config: DictConfig) -> None:
        run_job(lambda _: None, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context)
        self.write()

    def _launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        self.chosen.launch(job_overrides, initial_job_idx)
        self.write()


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
    launcher_of, sweeper_of = plugins.instantiate_launcher, plugins.instantiate_sweeper

    def launcher(hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> Launcher:
        assert isinstance(task_function, Task)
        chosen = launcher_of(hydra_context, task_function, config)
        return Together(request, chosen, hydra_context, task_function, config, write)

    def sweeper(**given: Any) -> Sweeper:
        chosen = sweeper_of(**given)
        if type(chosen).__name__ != BASIC_SWEEPER:
            chosen.sweep = functools.partial(_search, chosen.sweep, request.varied)  # type: ignore[method-assign]
        return chosen

    sys.argv = [sys.argv[0], *request.arguments]
    name = primary_config().name
    plugins.instantiate_launcher = launcher  # type: ignore[method-assign]
    plugins.instantiate_sweeper = sweeper  # type: ignore[method-assign]
    try:
        with hydra_at_work() as write, put_back_if(_Refused, [request.folder / "multirun.yaml"]):
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(Task(sweep))()
    except _PastHydra as passed:
        raise passed.error from None
    except Exception as error:
        raise RunFailed(f"the sweeper or launcher failed: {type(error).__name__}: {error}") from error
    finally:
        del plugins.instantiate_launcher, plugins.instantiate_sweeper


def _search(search: Callable[[list[str]], object], varied: Sequence[str], arguments: Sequence[str]) -> None:
    """Run a search; it reads each override as a parameter and can't read them all, so it is shown what varies."""
    try:
        search([one.input_line or "" for one in parse(arguments)[0] if one.key_or_group in varied])
    except ValueError as error:
        # Optuna's sweeper ends by asking for the best trial; where all have failed the summary says so, trial by trial
        if str(error) != "Record does not exist.":
            raise


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
    parsed, settings = parse(overrides)[0], first.sweep
    search = any(one.key_or_group == "hydra/sweeper" and one.value() == OPTUNA for one in parsed)
    if settings.seeds is not None and search:
        what = f"sweep.seeds={settings.seeds} repeats variants, and a search has none to repeat"
        raise BadInput(Problem(what, "", "one of the two"))
    if settings.seeds is not None:
        given = next((one for one in parsed if one.key_or_group == "trainer.seed"), None)
        if given is not None:
            what = f"sweep.seeds={settings.seeds} sets trainer.seed, and so does the command line"
            raise BadInput(Problem(what, f"command line: {given.input_line}", "one of the two"))
        added.append(f"trainer.seed=range(1,{settings.seeds + 1})")
        parsed += parse(added)[0]
    own = [one for one in parsed if not one.key_or_group.startswith(("hydra.", "hydra/"))]
    varied = [one.key_or_group for one in own if one.is_sweep_override()]
    fixed = [one for one in own if not one.is_sweep_override()]
    lines = [one.input_line or "" for one in fixed if not one.key_or_group.startswith(("sweep.", "resume."))]
    name = settings.name or default_name(varied, lines)
    if not any(one.key_or_group == "hydra.sweep.dir" for one in parsed):
        added.append(f"hydra.sweep.dir='sweeps/{name}'")
    keys = ",".join(f"'{one.key_or_group}'" for one in fixed)
    added.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    single = [one.input_line or "" for one in parsed if not one.is_sweep_override()]
    folder = sweep_folder(single + [line for line in added if not line.startswith("trainer.seed=range")])
    if search:
        known = {one.key_or_group for one in parsed} - {TRIALS}
        wanted = next((one.value() for one in parsed if one.key_or_group == TRIALS), None)
        told = searching(name, folder, first, wanted if isinstance(wanted, int) else USUAL_TRIALS)
        added += [line for line in told if line.split("=")[0] not in known]
    lines = [one.input_line or "" for one in fixed]
    return SweepRequest(name, folder, (*program(), *typed), tuple(varied), tuple(lines), settings, (*arguments, *added))


def searching(name: str, folder: Path, first: Settings, wanted: int) -> list[str]:
    """What Optuna's sweeper is told: the study is a file in the sweep's folder, trials that it holds count as done.

    Args:
        name: of the sweep.
        folder: of the sweep.
        first: settings of the first variant.
        wanted: how many trials in all.

    Raises:
        BadInput: Optuna's sweeper is not installed.
    """
    try:
        import optuna
        from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper  # noqa: F401
    except ImportError:
        where, right = "command line: hydra/sweeper=optuna", "pip install 'framework[optuna]'"
        raise BadInput(Problem("Optuna's sweeper is not installed", where, right)) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{folder / STUDY}"
    direction = "maximize" if first.sweep_yardstick().higher else "minimize"
    done = 0
    if (folder / STUDY).is_file():  # else the sweeper makes it, once the sweep is not refused
        study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        done = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
    return [
        f"hydra.sweeper.direction={direction}",
        f"hydra.sweeper.storage='{storage}'",
        f"hydra.sweeper.study_name='{name}'",
        f"hydra.sweeper.n_jobs={jobs_at_once(first.sweep)}",
        "hydra.sweeper.max_failure_rate=1.0",
        f"{TRIALS}={max(0, wanted - done)}",
    ]


def _resolve_run_name(dirname: Any) -> str:
    return run_name(str(dirname))


OmegaConf.register_new_resolver("run_name", _resolve_run_name, replace=True)

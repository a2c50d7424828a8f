"""Where Hydra writes: whether it can, known before anything heavy starts, and that its files are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framework.cli.primary import primary_config
from framework.config.folders import conf_folder, shown, unwritable
from framework.config.hydra_private import mode_by_flags, saving_by
from framework.core.errors import BadInput, Problem
from framework.core.files import write_whole

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run_folder(config: DictConfig) -> Path:
    """Where ``hydra.run.dir`` leads, given the config of a single run with Hydra's node.

    Raises:
        BadInput: nowhere: it can't be resolved.
    """
    return _folder(config, "hydra.run.dir")


def sweep_folder(overrides: Sequence[str]) -> Path:
    """Where ``hydra.sweep.dir`` leads, given overrides of which none names several values.

    Raises:
        BadInput: nowhere: it can't be resolved.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        loader = GlobalHydra.instance().config_loader()
        name, mode = primary_config().name, RunMode.MULTIRUN
        return _folder(loader.load_configuration(name, overrides=list(overrides), run_mode=mode), "hydra.sweep.dir")


def _folder(config: DictConfig, key: str) -> Path:
    from hydra.core.utils import setup_globals
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    setup_globals()
    try:
        found = OmegaConf.select(config, key)
    except OmegaConfBaseException as error:
        raise BadInput(
            Problem(f"{key} can't be resolved: {str(error).splitlines()[0]}", key, f"{key}=FOLDER")
        ) from None
    if not isinstance(found, str | int | float) or not str(found).strip():
        raise BadInput(Problem(f"{key} names no folder", key, f"{key}=FOLDER"))
    return Path(os.path.abspath(str(found)))


def refuse_unwritable(folder: Path, key: str) -> None:
    """Let a run begin only where its folder can be made and written.

    Raises:
        BadInput: it can't, with the reason.
    """
    reason = unwritable(folder)
    if reason:
        what = f"the folder {shown(folder)} can't be written: {reason}"
        raise BadInput(Problem(what, key, f"{key}=<a folder that can be written>"))


@contextlib.contextmanager
def hydra_at_work() -> Iterator[Callable[[], None]]:
    """While entered, Hydra raises what goes wrong in it, and its files in ``.hydra`` wait for the function yielded.

    That writes them, each whole, once the run is not refused. By itself Hydra prints a traceback and ends the process,
    writes before anybody has looked at what is in the folder, and a kill finds its files empty.
    """
    held: dict[Path, DictConfig] = {}

    def hold(config: DictConfig, file: Path) -> None:
        held[file] = config

    def write() -> None:
        while held:
            _save_whole(*held.popitem())

    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with saving_by(hold), mode_by_flags():
            yield write
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def _save_whole(file: Path, config: DictConfig) -> None:
    from omegaconf import OmegaConf

    write_whole(file, OmegaConf.to_yaml(config))

"""All that is used of Hydra's and OmegaConf's private names, so that a new release is tried in one place.

``pyproject.toml`` ends below the first minor release that this was not tried with: Hydra 1.3.8 and OmegaConf 2.3.1 pass
the tests of ``cli``, ``config`` and ``sweeps``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


def yaml_loader() -> Any:
    """The YAML loader of every config, ``omegaconf._utils.get_yaml_loader``: 1e-3 is a number, 2020-01-01 a text."""
    from omegaconf._utils import get_yaml_loader

    return get_yaml_loader()


def mapping_at(config: DictConfig, key: Any) -> DictConfig | None:
    """A key's node where it is a mapping, not null; nothing is resolved for that: ``_get_node`` and ``_is_none``."""
    from omegaconf import DictConfig

    node = config._get_node(key)
    return node if isinstance(node, DictConfig) and not node._is_none() else None


def is_quoted(override: Override) -> bool:
    """Whether an override's value stood in quotes, which ``value()`` leaves out and ``_value`` keeps."""
    from hydra.core.override_parser.types import QuotedString

    return isinstance(override._value, QuotedString)


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Set values as Hydra does while it composes: ``ConfigLoaderImpl._apply_overrides_to_config``."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def with_values(config: DictConfig, overrides: Sequence[Override], values: Sequence[Override]) -> DictConfig:
    """A copy of a config that Hydra composed, with values set, and with all overrides noted in Hydra's own node: what
    ``ConfigLoaderImpl._load_configuration_impl`` does last, ``get_overrides_dirname`` among it.

    Args:
        config: composed of the other overrides.
        overrides: all, in their order.
        values: those of them that set a value and choose no option.
    """
    from hydra._internal.config_loader_impl import get_overrides_dirname

    config = copy.deepcopy(config)
    apply_overrides(values, config)
    task = [one for one in overrides if not one.is_hydra_override()]
    config.hydra.overrides.task = [one.input_line for one in task]
    told = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(task, told.exclude_keys, told.item_sep, told.kv_sep)
    return config


def flags_parser() -> argparse.ArgumentParser:
    """The parser of Hydra's own flags, ``hydra._internal.utils.get_args_parser``."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


@contextlib.contextmanager
def saving_by(save: Callable[[DictConfig, Path], None]) -> Iterator[None]:
    """While entered, Hydra gives this its files to save: in place of ``hydra.core.utils._save_config``."""
    from hydra.core import utils

    def save_config(cfg: DictConfig, filename: str, output_dir: Path) -> None:
        save(cfg, Path(output_dir, filename))

    with _in_place(utils, "_save_config", save_config):
        yield


@contextlib.contextmanager
def composed_already(config: DictConfig) -> Iterator[None]:
    """While entered, Hydra takes this for what it would compose: in place of ``ConfigLoaderImpl.load_configuration``."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    with _in_place(ConfigLoaderImpl, "load_configuration", lambda *_, **__: config):
        yield


@contextlib.contextmanager
def batches_checked_already() -> Iterator[None]:
    """While entered, a sweeper composes no job only to see whether it can be: in place of ``Sweeper.validate_batch_is_legal``.

    That takes longer than all else that is done for a job before it begins, and the launcher composes each anyhow.
    """
    from hydra.plugins.sweeper import Sweeper

    with _in_place(Sweeper, "validate_batch_is_legal", lambda *_, **__: None):
        yield


@contextlib.contextmanager
def mode_by_flags() -> Iterator[None]:
    """While entered, Hydra does a run, and a sweep with ``-m``: by itself it composes once more to read ``hydra.mode``."""
    from hydra._internal.hydra import Hydra

    with _in_place(Hydra, "get_mode", lambda *_, **__: None):
        yield


@contextlib.contextmanager
def _in_place(owner: Any, name: str, own: Callable[..., Any]) -> Iterator[None]:
    """While entered, a function of ours stands in place of one of Hydra's."""
    before = getattr(owner, name)
    setattr(owner, name, own)
    try:
        yield
    finally:
        setattr(owner, name, before)

"""Commands that take what a training takes, and write one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from framework.cli.command import run_command
from framework.cli.compose import normalise, refuse_sweep
from framework.cli.help import overview
from framework.core.schema import whole_path


def run_for_a_file(
    usage: str, key: str, usual: str, work: Callable[[list[str], Path], int], arguments: Sequence[str] | None = None
) -> int:
    """Do such a command: answer ``--help``, refuse several values for one key, report errors; returns the exit code.

    Args:
        usage: the help's own part; it begins with ``python -m framework.NAME``.
        key: of the file on the command line, ``key=FILE``; the last one counts.
        usual: name of the file where none is given.
        work: takes the overrides and the file, returns the exit code.
        arguments: in place of ``sys.argv``.
    """

    def begin(given: list[str]) -> int:
        files = [argument.removeprefix(f"{key}=") for argument in given if argument.startswith(f"{key}=")]
        overrides = normalise([argument for argument in given if not argument.startswith(f"{key}=")])
        refuse_sweep(overrides, "one value")
        return work(overrides, Path(whole_path(files[-1] if files else usual)))

    return run_command(lambda: overview(usage), arguments, begin)

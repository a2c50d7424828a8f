"""Compare runs: a sweep, or run folders from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from framework.cli.options import run_with_options
from framework.core.console import passing, say
from framework.core.errors import DONE, FAILED, BadInput, Problem
from framework.core.schema import PathText

USAGE = """
python -m framework.compare sweep=FOLDER | runs=[FOLDER,FOLDER,...] [options]

Compares runs by what varies between them: a table here, and comparison.csv, comparison.png and report.html, one page
that opens offline. Differences that are no more than chance are marked as ties.

  python -m framework.compare sweep=sweeps/rates             a sweep, best variant first
  python -m framework.compare sweep=sweeps/rates follow=true one that is at work, here or on a cluster, to its end
  python -m framework.compare runs=[runs/a,runs/b]           what differs between two runs: config, then metrics
  python -m framework.compare runs=[runs/a,runs/b,runs/c]    runs from anywhere

Exit code 0: done; 1: no run has anything to compare; 2: a folder does not exist or holds no run.
"""


@dataclass(frozen=True)
class Options:
    """What to compare, and where to write it."""

    sweep: Annotated[PathText | None, "folder of a sweep"] = None
    runs: Annotated[list[PathText] | None, "run folders, from anywhere"] = None
    follow: Annotated[bool, "of a sweep that is at work: show how its runs come on, and compare them at its end"] = (
        False
    )
    output: Annotated[PathText | None, "folder for the files; null: the sweep's own, or comparison here for runs"] = (
        None
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line names; returns the exit code."""
    return run_with_options(USAGE, Options, work, arguments)


def work(options: Options) -> int:
    """Print the table and write the files."""
    from framework.reports.comparison import compare
    from framework.reports.files import write
    from framework.reports.table import results, show_pair, show_variants

    if (options.sweep is None) == (options.runs is None) or options.runs == []:
        raise BadInput(
            Problem("say what to compare", "command line", "either sweep=FOLDER or runs=[FOLDER,FOLDER], not both")
        )
    if options.follow:
        if options.sweep is None:
            raise BadInput(Problem("follow=true watches a sweep", "command line: follow=true", "sweep=FOLDER"))
        from framework.sweeps.watching import watch

        watch(Path(options.sweep))
    folders = Path(options.sweep) if options.sweep is not None else [Path(run) for run in options.runs or ()]
    with passing("comparing …"):
        comparison = compare(folders)
        files = write(comparison, Path(options.output or options.sweep or "comparison"))
    show_table = show_pair if options.runs is not None and len(comparison.entries) == 2 else show_variants
    show_table(comparison, results())
    say()
    for path in files:
        say(f"written: {path}")
    return DONE if comparison.best is not None else FAILED


if __name__ == "__main__":
    sys.exit(main())

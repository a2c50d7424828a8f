"""Ensemble: several runs of a sweep as one model, in a run folder that every other command takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from framework.cli.options import run_with_options
from framework.config.folders import shown
from framework.core.console import follow, passing, say
from framework.core.digits import rounded
from framework.core.errors import DONE, BadInput, Problem, many
from framework.core.schema import Count, PathText
from framework.sweeps.combining import Method

USAGE = """
python -m framework.ensemble sweep=FOLDER | runs=[FOLDER,FOLDER,...] [options]

Makes one model of several finished runs: method=ensemble takes the mean of their probabilities, method=soup the mean of
their weights, where their networks are alike and began from the same weights. The runs are chosen greedily on their
validation images: from the best one on, a run joins that makes the whole better. What comes of it is a run folder as any
other, with one model.keras: evaluate, predict, export, serve and visualize take it. A choice made on validation images
flatters there; test images (data.test=0.2) say more.

  python -m framework.ensemble sweep=sweeps/rates
  python -m framework.ensemble sweep=sweeps/seeds method=soup
  python -m framework.ensemble runs=[runs/a,runs/b] most=4 output=runs/both

Exit code 0: done; 2: there are no two runs that can be combined, or the command line is wrong.
"""


@dataclass(frozen=True)
class Options:
    """What ``framework-ensemble`` takes."""

    sweep: Annotated[PathText | None, "folder of a sweep"] = None
    runs: Annotated[list[PathText] | None, "run folders, from anywhere"] = None
    method: Annotated[Method, "ensemble: mean of probabilities; soup: mean of weights"] = "ensemble"
    most: Annotated[Count, "members at most; in an ensemble one may count several times"] = 8
    output: Annotated[PathText | None, "the new run folder; null: runs/<the sweep's name>-<method>"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Combine what the command line names; returns the exit code."""
    return run_with_options(USAGE, Options, work, arguments)


def work(options: Options) -> int:
    """Choose, combine, write, and say what came of it.

    Raises:
        BadInput: there is nothing to combine, or the folder is taken.
    """
    from framework.reports.comparison import compare
    from framework.sweeps import combined
    from framework.sweeps.combining import candidates

    if (options.sweep is None) == (options.runs is None) or options.runs == []:
        right = "either sweep=FOLDER or runs=[FOLDER,FOLDER], not both"
        raise BadInput(Problem("say what to combine", "command line", right))
    with passing("comparing …"):
        comparison = compare(Path(options.sweep) if options.sweep else [Path(run) for run in options.runs or ()])
    folder = Path(options.output or Path("runs", f"{comparison.name}-{options.method}"))
    combined.free(folder)
    members, left_out = candidates(comparison)
    for name, why in left_out.items():
        say(f"left out: {name}: {why}")
    say(f"{many(len(members), 'run')} to choose from, the best {members[0].entry.name}, by {comparison.monitor}")
    found, said = combined.write(comparison, members, options.method, options.most, folder)
    for member, share in found.members:
        print(f"{share:6.1%}  {rounded(member.score)}  {member.entry.name}")
    first, last = found.steps[0], found.steps[-1]
    if len(found.steps) == 1:
        say("no other run makes the best one better: it stands alone")
    print(f"val_accuracy {first.accuracy:.4f} → {last.accuracy:.4f}, val_loss {first.loss:.4f} → {last.loss:.4f}")
    say(f"in {shown(folder)}: {said['title']}, {said['parameters']:,} parameters")
    follow("python", "-m", "framework.evaluate", f"run={shown(folder)}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())

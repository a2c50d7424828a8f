"""The same commands by this version and an earlier one, turn about in one run: nothing may have become slower.

    python -m benchmarks.versions                             against version 0.1.0, on the real photos
    python -m benchmarks.versions --before REVISION --works help,check --repeat 5

The earlier version is checked out to a temporary folder and uses the same packages. The faster time of each side counts,
of the clock and of the processor: the second says more on a busy machine.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from rich.progress import Progress

from benchmarks.measure import ROOT, VERSION_0_1_0, Timed, data_folder, mobilenet, report, run, weights_file

RATES = "optim.lr=0.01,0.001,0.0001"
HEADS = ("optim.lr=0.01,0.003,0.001", "head.hidden=[32],[64],[100],[200],[400]", "head.dropout=0.0,0.3")
WORKS = ("help", "cfg", "check", "sweep", "filled", "variants", "unfrozen", "all")


def main() -> None:
    """Time both versions at each work and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--before", default=VERSION_0_1_0, help="a tag or commit of this repository")
    parser.add_argument("--works", default=",".join(WORKS), help=f"some of {', '.join(WORKS)}")
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    common = mobilenet(data_folder(options.data), weights_file("mobilenet", options.weights))
    works = options.works.split(",")
    with tempfile.TemporaryDirectory() as scratch, Progress(transient=True) as progress:
        earlier = Path(scratch, "before")
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", earlier, options.before], check=True)
        try:
            task = progress.add_task("", total=len(works) * options.repeat * 2)
            rows = []
            for work in works:
                timed: dict[Path, list[Timed]] = {earlier: [], ROOT: []}
                for _ in range(options.repeat):
                    for root, done in timed.items():
                        progress.update(task, description=f"{work}, {'before' if root is earlier else 'now'}")
                        done.append(_timed(work, common, root))
                        progress.advance(task)
                row = [work]
                for seconds in ("seconds", "processor"):
                    before, now = (min(getattr(one, seconds) for one in done) for done in timed.values())
                    row += [f"{before:.2f}", f"{now:.2f}", f"{now / before:.2f}"]
                rows.append(row)
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", earlier], check=False)
    title = f"{options.before} and now, whole processes, the faster of {options.repeat}"
    columns = [f"{what} {when}" for what in ("seconds", "processor") for when in ("before", "now", "ratio")]
    report(title, ["", *columns], rows)


def _timed(work: str, common: list[str], root: Path) -> Timed:
    """One work by the version in ``root``; what it needs beforehand is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        cache, sweep = Path(folder, "cache"), f"hydra.sweep.dir={folder}/sweep"
        ten = [*common, "trainer.epochs=10"]
        if work == "check":  # 0.1.0 opens no image; now each is looked at once and known from then on
            run("framework.check", *common, cache=cache, root=root)
        if work in ("filled", "variants"):
            run("framework.train", *ten, "cache=only", cache=cache, root=root)
        commands = {
            "help": ("framework.train", "--help"),
            "cfg": ("framework.train", *common, "--cfg", "job"),
            "check": ("framework.check", *common),
            "sweep": ("framework.train", "-m", *ten, RATES, sweep),
            "filled": ("framework.train", *ten),
            "variants": ("framework.train", "-m", *ten, "head=mlp", *HEADS, sweep),
            "unfrozen": ("framework.train", *ten, "optim.lr=0.0001", "stages.main.train=from:conv_dw_13"),
            "all": ("framework.train", *common, "trainer.epochs=2", "stages.main.train=all"),
        }
        return run(*commands[work], cache=cache, root=root)


if __name__ == "__main__":
    main()

"""A search of ours against that of Optuna's plugin of 2022, as 0.1.0 had it: real photos, filled cache, turn about.

    python -m benchmarks.search --before-python VENV/bin/python

MobileNet alpha 0.25 at 224 px, 10 epochs, 40 trials of a head, three at once, both with their own pruning. The earlier version
is checked out to a temporary folder. The interpreter given has what its extra ``optuna`` pinned:
``git worktree add --detach before f721d19 && VENV/bin/pip install -e 'before[optuna]'``. Seconds are of whole processes,
imports, report and comparison included; the best accuracy has its 95 % interval for the validation photos.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import ROOT, VERSION_0_1_0, data_folder, mobilenet, needs, report, run, weights_file
from framework.reports.interval import wilson

SPACE = (
    "optim.lr=tag(log,interval(0.0001,0.1))",
    "head.dropout=interval(0,0.6)",
    "head.hidden=choice([32],[100],[400])",
)


def main() -> None:
    """Time both and print their ratio."""
    needs("optuna")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument(
        "--before", default=VERSION_0_1_0, help="a tag or commit of this repository that has the plugin"
    )
    parser.add_argument("--before-python", default=sys.executable, help="an interpreter with hydra-optuna-sweeper")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    common = [
        *mobilenet(data_folder(options.data), weights_file("mobilenet", options.weights)),
        "head=mlp",
        f"trainer.epochs={options.epochs}",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        earlier = Path(scratch, "before")
        sides = {
            "plugin": (
                earlier,
                options.before_python,
                ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={options.trials}"],
            ),
            "ours": (ROOT, sys.executable, ["search=tpe", f"search.trials={options.trials}"]),
        }
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", earlier, options.before], check=True)
        try:
            found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in sides}
            for name, (root, python, _) in sides.items():
                run("framework.train", *common, "cache=only", cache=Path(scratch, name), root=root, python=python)
            for turn in range(options.repeat):
                for name, (root, python, told) in sides.items():
                    folder = Path(scratch, f"{name}-{turn}")
                    line = [*common, *told, *SPACE, f"sweep.jobs={options.jobs}", f"hydra.sweep.dir={folder}"]
                    timed = run("framework.train", "-m", *line, cache=Path(scratch, name), root=root, python=python)
                    found[name].append((timed.seconds, *_best(folder)))
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", earlier], check=False)
    rows = []
    for name, runs in found.items():
        seconds, best = min(one[0] for one in runs), max(one[1] for one in runs)
        low, high = wilson(best, runs[0][2])
        rows.append(
            [name, f"{seconds:.1f}", f"{seconds / options.trials:.2f}", f"{best:.3f} ({low:.3f} to {high:.3f})"]
        )
    ratio = min(one[0] for one in found["ours"]) / min(one[0] for one in found["plugin"])
    title = f"{options.trials} trials, {options.jobs} at once, filled cache, the faster of {options.repeat}"
    columns = ["", "seconds", "seconds a trial", "best val accuracy (95 %)"]
    report(title, columns, rows, f"ours / plugin: {ratio:.2f}")


def _best(folder: Path) -> tuple[float, int]:
    """The best accuracy of a finished run, and of how many validation photos."""
    runs = [json.loads(file.read_text()) for file in folder.glob("*/run.json")]
    best = max(one["best"]["metrics"]["val_accuracy"] for one in runs if one["status"] == "finished")
    return best, next(one["data"].get("images", one["data"].get("pictures"))["validation"] for one in runs)


if __name__ == "__main__":
    main()

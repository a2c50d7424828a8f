"""Two workers against one on this machine: how far their histories differ, and what a step costs more.

    python -m benchmarks.workers

Small images and networks: a step is then little but what lies between the workers. The last batch of an epoch is uneven.
Twice with two workers must be the same to the bit. ``drift`` is what one worker's own history moves by when its sums are
added in another order: without oneDNN. All cases are trained in the same processes, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.measure import report
from framework.cli.command import check
from framework.config.folders import conf_folder
from framework.core.runs import RunFolder
from framework.runs.cluster import Cluster, cluster_of
from framework.runs.preflight import preflight

EPOCHS, BATCH, STEPS = 5, 8, 4
SCRATCH = ("data=image_folder", "data.dir=photos", "data.image_size=32", "model.filters=[4,8]")
HEAD = (
    "data=image_folder",
    "data.dir=photos",
    "data.image_size=64",
    "model=mobilenet",
    "model.alpha=0.25",
    "model.weights=null",
)
PARTS = ("metrics=[default,auc,f1]", "data.class_weights={red: 3.0}")
PLATEAU = (
    "callbacks=[default,reduce_on_plateau,early_stopping]",
    "callbacks.reduce_on_plateau.patience=1",
    "callbacks.reduce_on_plateau.min_delta=1",
)
FINETUNED = ("stages=finetune", "stages.finetune.train=last:6", "stages.finetune.batch_norm=train")
CASES = {
    "head on kept features": (*HEAD, *PARTS),
    "from scratch, batch norm": (*SCRATCH, *PARTS),
    "last batch of one image": (*SCRATCH, "trainer.batch_size=29"),
    "two stages, cosine, clipped": (*SCRATCH, "stages=head_then_all", "optim.schedule=cosine", "optim.clipnorm=1.0"),
    "augmented, mixed, averaged": (*SCRATCH, "augment=[strong,mixup]", "callbacks=[default,weight_averaging]"),
    # the rate is cut at each epoch's end, from the second on
    "plateau, early stopping": (*SCRATCH, *PLATEAU),
    "fine-tuned, batch norm": (*HEAD, *FINETUNED),
    "mixed_bfloat16": (*SCRATCH, "trainer.precision=mixed_bfloat16"),
    "mixed_float16": (*SCRATCH, "trainer.precision=mixed_float16"),
    **{f"optim={file.stem}": (*SCRATCH, f"optim={file.stem}") for file in sorted(conf_folder().glob("optim/*.yaml"))},
}
History = list[dict[str, Any]]


def overrides(case: str) -> list[str]:
    """What a training of a case is told."""
    return [f"trainer.batch_size={BATCH}", f"trainer.epochs={EPOCHS}", *CASES[case]]


def worker(cases: Sequence[str], addresses: Sequence[str], place: int, times: int) -> list[History]:
    """Train cases, each so many times, as one of several workers, or alone where there are no addresses."""
    from framework.runs.keeping import make_callbacks
    from framework.runs.prepare import look, network
    from framework.training.trainer import Trainer
    from framework.training.workers import OneWorker, come_together

    workers = OneWorker()
    if addresses:
        cluster = Cluster(tuple(("worker", address) for address in addresses), (place,))
        os.environ["TF_CONFIG"] = cluster.config(place)
        workers = come_together(place, len(addresses), 0)
    found = []
    for case in [case for case in cases for _ in range(times)]:
        (settings,) = check(overrides(case), preflight)
        start = look(settings).experiment
        with tempfile.TemporaryDirectory() as folder:
            callbacks = make_callbacks(settings, RunFolder(Path(folder)), writing=False)
            trainer = Trainer(start, network(start), callbacks, workers=workers)
            trainer.train()
        found.append(trainer.history)
    return found


def begin(
    folder: Path,
    cases: Sequence[str],
    addresses: Sequence[str] = (),
    place: int = 0,
    times: int = 1,
    onednn: bool = True,
) -> Any:
    """Begin a process that trains cases; it prints their histories at last."""
    words = [json.dumps([list(cases), list(addresses), place, times])]
    environment = {
        **os.environ,
        "PYTHONPATH": str(kills.ROOT),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TF_ENABLE_ONEDNN_OPTS": str(int(onednn)),
    }
    command = [sys.executable, "-m", "benchmarks.workers", "--as", *words]
    log = open(folder / "log.txt", "a", encoding="utf-8")  # noqa: SIM115 - the process keeps it
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)


def histories(folder: Path, process: Any) -> list[History]:
    """What a process has printed."""
    said = process.communicate()[0]
    if process.returncode != 0:
        sys.exit(f"a worker ended with exit code {process.returncode}\n{(folder / 'log.txt').read_text()[-3000:]}")
    return json.loads(said.splitlines()[-1])


def apart(one: History, other: History) -> float:
    """The largest difference of a loss, in training and validation; or of a rate, where a callback has cut it elsewhere."""
    assert len(one) == len(other)
    names = ("loss", "val_loss", "learning_rate")
    return max(abs(first[name] - second[name]) for first, second in zip(one, other, strict=True) for name in names)


def step(history: History) -> float:
    """Milliseconds of a step, of the median epoch after the first, its validation included."""
    return 1000 * statistics.median(row["seconds"] for row in history[1:]) / STEPS


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--as", dest="given", type=json.loads)
    options = parser.parse_args()
    if options.given:
        found = worker(*options.given)
        print(json.dumps(found), flush=True)
        os._exit(0)
    with tempfile.TemporaryDirectory() as name:
        folder, cases = Path(name), options.only
        kills.make_photos(folder / "photos")
        os.chdir(folder)
        (settings,) = check([*overrides(cases[0]), "trainer.workers=2"], preflight)
        addresses = [address for _, address in cluster_of(settings).tasks]
        alone = histories(folder, begin(folder, cases))
        plain = histories(folder, begin(folder, cases, onednn=False))
        both = [begin(folder, cases, addresses, place, times=2) for place in range(2)]
        twice, others = (histories(folder, one) for one in both)
        os.chdir(kills.ROOT)
    table = []
    for number, case in enumerate(cases):
        two, again, other = (
            [{**row, "seconds": 0} for row in found]
            for found in (*twice[2 * number : 2 * number + 2], others[2 * number])
        )
        difference = f"{apart(alone[number], two):.1e}", f"{apart(alone[number], plain[number]):.1e}"
        same = "yes" if two == again == other else "NO"
        table.append([case, *difference, same, f"{step(alone[number]):.1f}", f"{step(twice[2 * number]):.1f}"])
    titles = [
        "case",
        "largest difference of a loss",
        "drift of one",
        "the same again",
        "ms a step, one",
        "ms a step, two",
    ]
    report(f"two workers against one, {EPOCHS} epochs, processes on loopback", titles, table)


if __name__ == "__main__":
    main()

"""Two workers against one on this machine: how far their histories differ, and what a step costs more.

    python -m benchmarks.workers

Small images and networks: a step is then little but what lies between the workers. The last batch of an epoch is uneven.
Twice with two workers must be the same to the bit; ``drift`` is what one worker's own history moves by when its sums are
added in another order (without oneDNN).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.measure import report
from framework.core.runs import RunFolder

SCRATCH = ("data=image_folder", "data.dir=photos", "data.image_size=32", "model.filters=[4,8]")
HEAD = ("data=image_folder", "data.dir=photos", "data.image_size=64", "model=mobilenet", "model.weights=null")
PARTS = ("metrics=[default,auc,f1]", "data.class_weights=balanced")
CASES = {
    "head on kept features": (*HEAD, *PARTS),
    "from scratch, batch norm": (*SCRATCH, *PARTS),
    "two stages, cosine, clipped": (*SCRATCH, "stages=head_then_all", "optim.schedule=cosine", "optim.clipnorm=1.0"),
    "augmented, mixed, averaged": (*SCRATCH, "augment=[strong,mixup]", "callbacks=[default,weight_averaging]"),
    "mixed_bfloat16": (*SCRATCH, "trainer.precision=mixed_bfloat16"),
    "mixed_float16": (*SCRATCH, "trainer.precision=mixed_float16"),
    "plateau, early stopping": (*SCRATCH, "callbacks=[default,reduce_on_plateau,early_stopping]"),
    "last batch of one image": (*SCRATCH, "trainer.batch_size=29"),
    "fine-tuned": (*HEAD, "stages=finetune", "stages.finetune.train=last:6", "stages.finetune.batch_norm=train"),
}
OPTIMIZERS = {
    f"optim={name}": (*SCRATCH, f"optim={name}", "optim.lr=0.001") for name in ("sgd", "adamw", "lion", "rmsprop")
}


def rows(folder: Path, run: str, *arguments: str, onednn: bool = True) -> list[dict[str, Any]]:
    """Train, and give the history."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
    code = kills.train(folder, run, "trainer.batch_size=8", "trainer.epochs=5", *arguments).wait()
    if code != 0:
        sys.exit((folder / f"{run}.log").read_text())
    return RunFolder(folder / run).read_history()


def apart(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """The largest difference of a loss, in training and validation."""
    assert len(one) == len(other)
    names = ("loss", "val_loss")
    return max(abs(first[name] - second[name]) for first, second in zip(one, other, strict=True) for name in names)


def step(history: list[dict[str, Any]], steps: int) -> float:
    """Milliseconds of a step, the median epoch after the first, validation included."""
    return 1000 * statistics.median(row["seconds"] for row in history[1:]) / steps


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kills.make_photos(folder / "photos")
        for number, (case, arguments) in enumerate({**CASES, **OPTIMIZERS}.items()):
            if options.only and case not in options.only:
                continue
            alone = rows(folder, f"one{number}", *arguments)
            plain = rows(folder, f"plain{number}", *arguments, onednn=False)
            two = rows(folder, f"two{number}", *arguments, "trainer.workers=2")
            again = rows(folder, f"again{number}", *arguments, "trainer.workers=2")
            same = [{**row, "seconds": 0} for row in two] == [{**row, "seconds": 0} for row in again]
            times = [f"{step(history, 4):.1f}" for history in (alone, two)]
            difference = f"{apart(alone, two):.1e}", f"{apart(alone, plain):.1e}", "yes" if same else "NO"
            table.append([case, *difference, *times])
            print(*table[-1], flush=True)
    titles = [
        "case",
        "largest difference of a loss",
        "drift of one",
        "twice the same",
        "ms a step, one",
        "ms a step, two",
    ]
    report("two workers against one, CPU, loopback", titles, table)


if __name__ == "__main__":
    main()

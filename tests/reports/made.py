"""Run folders made up for the tests of reports: what training leaves, without the training."""

import json
import math
import random
from pathlib import Path

import yaml

from framework.core.runs import ANSWERS, RunFolder

CLASSES = ("dress", "hat", "<script>alert(1)</script>", "shoes")


def make_run(
    folder: Path,
    overrides=(),
    score=0.8,
    epochs=5,
    seed=1,
    status="finished",
    reason=None,
    images=341,
    classes=CLASSES,
    **more,
) -> RunFolder:
    """A whole run folder; ``overrides`` as on the command line, ``score`` its best validation accuracy."""
    chance = random.Random(f"{overrides}{seed}")
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model": {"name": "mobilenet", "alpha": 0.25},
        "head": {"name": "dense", "hidden": [], "dropout": 0.0},
        "optim": {"name": "adam", "lr": 0.001},
        "trainer": {"epochs": epochs, "seed": seed},
        "data": {"name": "garments"},
        "metrics": {"accuracy": {"name": "accuracy"}},
        "callbacks": {"checkpoint": {"name": "checkpoint", "monitor": "val_accuracy", "mode": "auto"}},
    }
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "head":
            config["head"]["hidden"] = [100] if value == "dense100" else []
        elif key.split(".")[0] in config and "." in key:
            config[key.split(".")[0]][key.split(".")[1]] = (
                json.loads(value) if value[:1] in "[0123456789" or value == "null" else value
            )
    run.config.write_text(yaml.safe_dump(config, sort_keys=False))
    rows = []
    for epoch in range(1, epochs + 1):
        share = 1 - math.exp(-3 * epoch / epochs)
        validation = score * (share / (1 - math.exp(-3))) - (0.01 * chance.random() if epoch < epochs else 0)
        rows.append(
            {
                "stage": "main",
                "epoch": epoch,
                "learning_rate": config["optim"]["lr"],
                "loss": 2.3 * (1 - 0.8 * share) + 0.02 * chance.random(),
                "accuracy": min(1.0, validation + 0.03),
                "val_loss": 2.3 * (1 - 0.7 * share) + 0.02 * chance.random(),
                "val_accuracy": validation,
                "seconds": 0.5,
            }
        )
    finished = status == "finished"
    if epochs:
        run.write_history(rows)
    run.write_run(
        {
            "status": status,
            "overrides": list(overrides),
            "seed": seed,
            "seconds": {"data": 0.5, "training": 0.5 * epochs},
            "classes": list(classes),
            "task": "multiclass",
            "parameters": 221_114,
            "data": {"origin": "photos", "fingerprint": "abc", "images": {"train": 3068, "validation": images}},
            **({"reason": reason} if reason else {}),
            **(
                {
                    "best": {
                        "epoch": epochs,
                        "stage": "main",
                        "monitor": "val_accuracy",
                        "metrics": {key: rows[-1][key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")},
                    }
                }
                if finished
                else {}
            ),
            **more,
        }
    )
    return run


def make_confusion(folder: Path, classes=CLASSES, hits=40) -> None:
    """A confusion matrix, most on its diagonal."""
    lines = [",".join(["true", *classes])]
    for row, name in enumerate(classes):
        lines.append(
            ",".join([name, *(str(hits if row == column else (row + column) % 4) for column in range(len(classes)))])
        )
    (folder / "confusion.csv").write_text("\n".join(lines) + "\n")


def make_answered(folder: Path, right, overrides=(), **more) -> RunFolder:
    """A run whose best model is right about these of its validation images, with ``answers.csv``."""
    right = [bool(value) for value in right]
    run = make_run(folder, overrides, score=sum(right) / len(right), images=len(right), **more)
    rows = [f"hat/{number:05d}.jpg,hat,{'hat' if hit else 'dress'},0.75,{hit:d}" for number, hit in enumerate(right)]
    run.answers.write_text("\n".join([",".join(ANSWERS), *rows]) + "\n")
    return run


def make_sweep(folder: Path, rates=(0.1, 0.01, 0.001), heads=("dense10", "dense100"), dropouts=(), seeds=(1,)) -> Path:
    """A sweep over rate, head and dropout, in which 0.01 is the best rate."""
    number = 0
    for rate in rates:
        for head in heads:
            for dropout in dropouts or (None,):
                for seed in seeds:
                    overrides = ["data=garments", f"optim.lr={rate}", f"head={head}"]
                    overrides += [f"head.dropout={dropout}"] if dropout is not None else []
                    overrides += [f"trainer.seed={seed}"] if len(seeds) > 1 else []
                    score = 0.85 - 0.09 * abs(math.log10(rate / 0.01)) + 0.01 * (head == "dense100")
                    score += 0.004 * seed - 0.1 * abs((dropout or 0.2) - 0.2)
                    make_run(folder / str(number), overrides, score=score, seed=seed, epochs=8)
                    number += 1
                    make_confusion(folder / str(number - 1))
    return folder

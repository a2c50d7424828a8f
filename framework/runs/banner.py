"""The texts around a run: what is about to happen, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.folders import shown
from framework.core.console import follow, say, say_under
from framework.core.errors import listing
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.model.build import Network
from framework.training.experiment import Experiment


def announce(experiment: Experiment, network: Network, folder: RunFolder, keeps_best: bool) -> None:
    """Say what is about to happen; ``keeps_best`` tells whether ``model.keras`` will be the best epoch or the last."""
    settings, images, task = experiment.settings, experiment.images, experiment.task
    counts = ", ".join(f"{len(split):,} {name}" for name, split in images.splits.items())
    weights = settings.model.weights or "random weights"
    total = network.model.count_params()
    hidden = settings.head.parameters.get("hidden") or []
    layers = " → ".join([settings.model.name, settings.pooling.name, *map(str, hidden), f"{task.units} logits"])
    augment = ", ".join(settings.augment.parts) or "none"
    heading, asked = task.told
    _lines(
        ("data", f"{images.origin}: {counts} images, {settings.data.geometry.told}"),
        *images.told(),
        (heading, f"{asked}: {listing(task.classes)}"),
        ("model", f"{layers}, {total:,} parameters, {weights}"),
        ("optimizer", f"{settings.optim.name}, {_schedule(settings.optim.schedule)}, loss {settings.loss.name}"),
        *_teacher(experiment),
        ("batches", f"of {settings.trainer.batch_size}, augmentation {augment}, {settings.trainer.precision}"),
        ("results", [shown(folder.path)]),
        *([] if keeps_best else [("kept", "the last epoch: no checkpoint callback keeps the best")]),
    )


def summarise(folder: RunFolder, run: Mapping[str, Any]) -> None:
    """Say what came of the run, and where it is."""
    best = run["best"]
    first, *more = [f"{key} {value:.4f}" for key, value in best["metrics"].items()]
    files = [folder.model, folder.curves, folder.history]
    files += sorted(folder.checkpoints.iterdir()) if folder.checkpoints.is_dir() else []
    say()
    _lines(
        (best.get("kept", "best"), [f"epoch {best['epoch']} of {run['epochs']}: {first}", *more]),
        ("time", [f"{phase} {seconds:.1f} s" for phase, seconds in run["seconds"].items()]),
        ("files", [str(file.relative_to(folder.path)) for file in files if file.exists()]),
        ("in", [shown(folder.path)]),
        *(("careful", text) for text in run.get("cautions", ())),
    )
    # without validation images there is nothing to measure it on
    command = "evaluate" if any(key.startswith("val_") for key in best["metrics"]) else "export"
    follow("python", "-m", f"framework.{command}", f"run={shown(folder.path)}")


def _teacher(experiment: Experiment) -> list[tuple[str, str]]:
    teacher, distill = experiment.teacher, experiment.settings.distill
    if teacher is None:
        return []
    return [("teacher", f"{teacher.name}, temperature {distill.temperature:g}, {distill.weight:g} of the loss")]


def _schedule(schedule: Any) -> str:
    parameters = " ".join(f"{key}={show(value)}" for key, value in schedule.parameters.items())
    return f"{schedule.name} schedule" + (f" ({parameters})" if parameters else "")


def _lines(*lines: tuple[str, str | list[str]]) -> None:
    for name, text in lines:
        say_under(f"{name:<10} ", text)

"""One training from a job to a finished run folder."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from framework.config.command import Job
from framework.config.settings import Settings, TrainerSettings
from framework.core.backend import keras, load_tensorflow, tf
from framework.core.console import say, warn
from framework.core.errors import BadInput, FrameworkError, Problem, RunFailed, RunStopped
from framework.core.files import is_full, locked, sweep, whole, write_whole
from framework.core.names import in_csv
from framework.core.runs import RunFolder
from framework.data import fingerprint
from framework.data.decode import unreadable
from framework.data.pictures import Pictures, Split
from framework.data.rows import unreadable_problem
from framework.data.selection import take
from framework.model.build import build
from framework.reports import curves
from framework.training import resume
from framework.training.banner import announce, shown, summarise
from framework.training.fit import Fit
from framework.training.preflight import Experiment, experiment, missing_weights
from framework.training.record import Record
from framework.training.repeat import tell_differences


class Run:
    """What ``framework-train`` does for each job.

    Args:
        job: settings, resolved config and folder, as Hydra hands them over.
    """

    def __init__(self, job: Job):
        self.job = job
        self.folder = RunFolder(job.folder)
        self.record = Record(self.folder, job)

    def train(self) -> None:
        """Train, or go on with the run that this folder holds, and leave a folder that says how it ended.

        Raises:
            BadInput: the folder is another run's, in use, or can't be written.
            RunFailed: anything went wrong after the checks; the reason is in ``run.json`` too.
        """
        try:
            with locked(self.folder.lock, self._refuse):
                if not self._is_done():
                    sweep(self.folder.path)
                    self._train_here()
        except PermissionError as error:
            where = shown(self.folder.path)
            raise BadInput(
                Problem(f"the run folder {where} can't be written: {error.strerror}", "hydra.run.dir")
            ) from None

    def _train_here(self) -> None:
        try:
            self.record.note()
            write_whole(self.folder.config, self.job.config)
            self._train()
        except KeyboardInterrupt:
            self.record.end("interrupted")
            raise
        except RunStopped as error:
            self.record.end("stopped", str(error))
            raise
        except FrameworkError as error:
            self.record.end("failed", str(error))
            raise
        except Exception as error:
            if is_full(error):
                what = f"the disk of {shown(self.folder.path)} is full"
                with contextlib.suppress(OSError):
                    self.record.end("stopped", what)
                raise RunStopped(f"{what}: make room, and the same command goes on") from None
            write_whole(self.folder.path / "error.txt", traceback.format_exc())
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            self.record.end("failed", reason)
            where = shown(self.folder.path / "error.txt")
            raise RunFailed(f"the run failed: {reason}\nthe traceback is in {where}") from error

    def _refuse(self) -> None:
        """Another process has the folder: say which."""
        run = resume.earlier(self.folder) or {}
        what = f"{shown(self.folder.path)} is in use by process {run.get('process')}, which trains there since "
        raise BadInput(Problem(what + str(run.get("started")), "hydra.run.dir", "another folder, or wait for its end"))

    def _is_done(self) -> bool:
        """Whether the folder holds this very run, finished.

        Raises:
            BadInput: it holds a run of another config.
        """
        before = resume.earlier(self.folder)
        if before is None:
            return False
        changed = resume.changes(self.job)
        resume.refuse_changes(self.job, self.job.settings.resume.allow)
        if before["status"] != "finished" or changed:
            return False
        say(f"{shown(self.folder.path)} is finished already: nothing to do")
        return True

    def prepare(self) -> Fit:
        """All that comes before the first stage: seeds, a look at the data, the network."""
        load_tensorflow()
        seed_everything(self.job.settings.trainer)
        start = self._data(self._weights(experiment(self.job.settings)))
        with self.record.phase("building"):
            network = build(start.settings, start.task)
        self.record.note(parameters=network.model.count_params())
        return Fit(start, network, self.folder, self.record)

    def _train(self) -> None:
        fit = self.prepare()
        announce(fit.experiment, fit.network, self.folder)
        if fit.settings.cache.use == "only":
            fit.fill_cache()
            self.record.end("finished")
            say("the features are kept; nothing was trained")
            return
        fit.run()
        with self.record.phase("finishing"):
            self.record.note(epochs=fit.history[-1]["epoch"], best=self._save(fit))
            curves.draw(self.folder)
        self.record.end("finished")
        summarise(self.folder, self.record.run)

    def _weights(self, start: Experiment) -> Experiment:
        """On demonstration data missing ImageNet weights are replaced by random ones, and that is said loudly."""
        model = start.settings.model
        if not start.demonstration or missing_weights(start.settings) is None:
            return start
        warn(f"ImageNet weights of {model.name} can't be had here: RANDOM weights take their place.")
        warn("Accuracy will be near chance. This run shows that everything works, nothing else.")
        return replace(start, settings=replace(start.settings, model=replace(model, weights=None)))

    def _data(self, start: Experiment) -> Experiment:
        """Have the files made if the source makes them, look at each once, and note what the run is trained on."""
        pictures = start.pictures
        with self.record.phase("data"):
            if pictures.prepare:
                pictures.prepare()
            pictures, skipped = readable(pictures, start.settings.data.on_error)
            digest = fingerprint.dataset(pictures)
        self.record.note(
            title=title(start.settings, start.task.classes),
            classes=list(start.task.classes),
            task=start.task.kind,
            data={
                "origin": pictures.origin,
                "fingerprint": digest,
                "pictures": {name: len(split) for name, split in pictures.splits.items()},
                "skipped": skipped,
            },
        )
        if self.job.repeats:
            tell_differences(self.job.repeats, self.record.run)
        return replace(start, pictures=pictures)

    def _save(self, fit: Fit) -> dict[str, object]:
        """Write ``model.keras`` from the best epoch, and say which that was."""
        best, file = fit.restore_best()
        with whole(self.folder.model) as beside:
            if file:
                shutil.copyfile(file, beside)
            else:
                fit.network.model.save(beside)
        self._write_confusion(fit)
        metrics = {key: value for key, value in best.items() if isinstance(value, float) and key not in _NO_METRIC}
        return {"epoch": best["epoch"], "stage": best["stage"], "monitor": fit.monitor, "metrics": metrics}

    def _write_confusion(self, fit: Fit) -> None:
        """Count the best model's answers on validation pictures: a row a true class, a column a predicted one."""
        logits, task = fit.answers(), fit.experiment.task
        if logits is None or task.kind == "multilabel":
            return
        predicted = (logits[:, 0] > 0).astype(int) if task.kind == "binary" else logits.argmax(axis=1)
        counts = np.zeros((len(task.classes), len(task.classes)), int)
        np.add.at(counts, (fit.experiment.pictures.splits["validation"].labels, predicted), 1)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        names = [in_csv(name) for name in task.classes]
        table.writerow(["true \\ predicted", *names])
        table.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
        write_whole(self.folder.confusion, text.getvalue())


_NO_METRIC = ("seconds", "learning_rate")


def title(settings: Settings, classes: Sequence[str]) -> str:
    """What the run is, in a line for a picture: ``mobilenet, 10 classes, adam 0.01``."""
    return f"{settings.model.name}, {len(classes)} classes, {settings.optim.name} {settings.optim.lr:g}"


def seed_everything(trainer: TrainerSettings) -> None:
    """Set all seeds, and where wanted make every operation deterministic."""
    keras.utils.set_random_seed(trainer.seed)
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()


def readable(pictures: Pictures, on_error: str) -> tuple[Pictures, dict[str, str]]:
    """The pictures that can be decoded, and those left out with the reason.

    Raises:
        BadInput: some can't be decoded, and ``on_error`` says stop, or a split or a class to learn has none left.
    """
    bad = unreadable([path for split in pictures.splits.values() for path in split.paths])
    if not bad:
        return pictures, {}
    if on_error == "stop":
        raise BadInput(unreadable_problem(bad))
    out = dict(bad)
    warn(f"{len(out)} picture{'s' * (len(out) > 1)} can't be read and {'are' if len(out) > 1 else 'is'} left out")
    splits = {
        name: take(split, [place for place, path in enumerate(split.paths) if path not in out])
        for name, split in pictures.splits.items()
    }
    if not all(len(split) for split in splits.values()) or _lost_class(pictures, splits["train"]):
        raise BadInput(unreadable_problem(bad))
    return replace(pictures, splits=splits), out


def _lost_class(pictures: Pictures, train: Split) -> bool:
    before, after = pictures.splits["train"].labels, train.labels
    if before.ndim == 2:
        return bool((before.any(axis=0) & ~after.any(axis=0)).any())
    return set(before.tolist()) != set(after.tolist())

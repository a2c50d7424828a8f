"""One training from a job to a finished run folder."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import shutil
import traceback
from dataclasses import replace

import numpy as np

from framework.config.folders import shown
from framework.config.settings import Settings, TrainerSettings
from framework.core.backend import keras, load_tensorflow, tf
from framework.core.console import say, warn
from framework.core.errors import BadInput, FrameworkError, Problem, RunFailed, RunStopped
from framework.core.files import is_full, locked, put_back_if, sweep, whole, write_whole
from framework.core.names import in_csv
from framework.core.runs import RunFolder
from framework.core.task import Classification, Task
from framework.data import fingerprint
from framework.data.rows import Undecodable, undecodable
from framework.data.selection import left_out, readable
from framework.model.build import build
from framework.reports import curves
from framework.runs import resume
from framework.runs.banner import announce, summarise
from framework.runs.job import Job
from framework.runs.preflight import experiment, missing_weights
from framework.runs.record import Record
from framework.runs.repeat import tell_differences
from framework.training.experiment import Experiment
from framework.training.fit import Fit
from framework.training.state import State


class Run:
    """What ``framework-train`` does for each job.

    Args:
        job: settings, resolved config and folder, as Hydra hands them over.
    """

    def __init__(self, job: Job):
        self.job = job
        self.folder = RunFolder(job.folder)
        self.record = Record(self.folder, job)
        self._unread: dict[str, str] = {}  # what only reading found, with the reason

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
        before = [file for file in (self.folder.run_json, self.folder.config) if file.is_file()]
        try:
            # a run that is there already stays what it was, if going on with it is refused
            with put_back_if(BadInput, before):
                self.record.note()
                write_whole(self.folder.config, self.job.config)
                self._train()
        except BadInput as error:
            if not before:
                self.record.end("failed", str(error))
            raise
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
            BadInput: it holds a run of another config, or on other data, that can't be gone on with.
        """
        before = resume.earlier(self.folder)
        if before is None:
            return False
        if before["status"] == "finished" and not resume.changes(self.job):
            say(f"{shown(self.folder.path)} is finished already: nothing to do")
            return True
        resume.refuse_changes(self.job)
        state = State.read(self.folder.state, arrays=False)
        if state is not None:
            start, _, digest = self._looked
            counts = {name: len(split) for name, split in start.images.splits.items()}
            now = {"data": digest, "images": counts, "classes": list(start.task.classes)}
            resume.refuse_data(self.job, state, before, now)
        return False

    def prepare(self) -> Fit:
        """All that comes before the first stage: seeds, a look at the data, the network."""
        load_tensorflow()
        seed_everything(self.job.settings.trainer)
        start = self._data()
        with self.record.phase("building"):
            network = build(start.settings, start.task)
        self.record.note(parameters=network.model.count_params())
        return Fit(start, network, self.folder, self.record, self._looked[2])

    def _train(self) -> None:
        """Train; with ``data.on_error=skip`` begin again without the files that only reading them shows to be damaged.

        A run that has trained before, and goes on, had read all: it does not begin again.
        """
        goes_on = self.folder.state.exists()
        while True:
            try:
                return self._attempt()
            except Undecodable as error:
                found = {path: why for path, why in error.reasons.items() if path not in self._unread}
                if self.job.settings.data.on_error != "skip" or goes_on or not found:
                    raise
                self._unread |= found
                del self._looked
                self.folder.state.unlink(missing_ok=True)
                warn("some images turned out to be damaged when they were read: beginning again without them")

    def _attempt(self) -> None:
        fit = self.prepare()
        self.job.begin()
        announce(fit.experiment, fit.network, self.folder, fit.keeps_best)
        if fit.settings.cache.use == "only":
            fit.fill_cache()
            self.record.end("finished")
            say("the features are kept; nothing was trained")
            return
        try:
            fit.run()
        except tf.errors.OpError:
            splits = fit.experiment.images.splits.values()
            error = undecodable([path for split in splits for path in split.paths], fit.settings.data.size)
            if isinstance(error, Undecodable):
                raise error from None
            raise
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

    @functools.cached_property
    def _looked(self) -> tuple[Experiment, dict[str, str], str]:
        """What is trained: files made if the source makes them, each looked at once; those left out; the fingerprint."""
        load_tensorflow()
        start = self._weights(experiment(self.job.settings))
        if self.folder.state.exists():
            start = replace(start, task=start.task.as_begun(resume.earlier(self.folder)))
        images = start.images
        with self.record.phase("data"):
            if images.prepare:
                images.prepare()
            images, skipped = readable(images, start.settings.data.on_error, self._unread)
            if skipped:
                warn(left_out(len(skipped)))
            digest = fingerprint.dataset(images)
        return replace(start, images=images), skipped, digest

    def _data(self) -> Experiment:
        """Note what the run is trained on."""
        start, skipped, digest = self._looked
        images = start.images
        self.record.note(
            title=title(start.settings, start.task),
            **start.task.record(),
            data={
                "origin": images.origin,
                "fingerprint": digest,
                "images": {name: len(split) for name, split in images.splits.items()},
                "skipped": skipped,
                "not_used": {one.kind.several: one.count for one in images.unused},
                "notes": [text for heading, text in images.told() if heading == "note"],
            },
        )
        if self.job.repeats:
            tell_differences(self.job.repeats, self.record.run)
        return start

    def _save(self, fit: Fit) -> dict[str, object]:
        """Write ``model.keras`` from the best epoch, or the last where no callback kept the best; say which that was."""
        best, file, kept = fit.restore_best()
        with whole(self.folder.model) as beside:
            if file:
                shutil.copyfile(file, beside)
            else:
                fit.network.model.save(beside)
        self._write_confusion(fit)
        metrics = {key: value for key, value in best.items() if isinstance(value, float) and key not in _NO_METRIC}
        said = {"epoch": best["epoch"], "stage": best["stage"], "kept": kept}
        return said | {"monitor": fit.yardstick.column, "mode": fit.yardstick.mode, "metrics": metrics}

    def _write_confusion(self, fit: Fit) -> None:
        """Count the best model's answers on validation images: a row a true class, a column a predicted one."""
        logits, task = fit.answers(), fit.experiment.task
        if logits is None or not isinstance(task, Classification) or task.several:
            return
        predicted = task.answers(logits)
        counts = np.zeros((len(task.classes), len(task.classes)), int)
        np.add.at(counts, (fit.experiment.images.splits["validation"].labels, predicted), 1)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        names = [in_csv(name) for name in task.classes]
        table.writerow(["true \\ predicted", *names])
        table.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
        write_whole(self.folder.confusion, text.getvalue())


_NO_METRIC = ("seconds", "learning_rate")


def title(settings: Settings, task: Task) -> str:
    """What the run is, in a line for an image: ``mobilenet, 10 classes, adam 0.01``."""
    return f"{settings.model.name}, {task.counted}, {settings.optim.name} {settings.optim.lr:g}"


def seed_everything(trainer: TrainerSettings) -> None:
    """Set all seeds, and where wanted make every operation deterministic."""
    keras.utils.set_random_seed(trainer.seed)
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()

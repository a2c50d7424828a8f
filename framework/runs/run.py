"""One training from a job to a finished run folder."""

from __future__ import annotations

import contextlib
import functools
import shutil
import traceback
from pathlib import Path

from framework.config.folders import shown
from framework.config.settings import Settings
from framework.core.console import say, warn
from framework.core.errors import BadInput, FrameworkError, Problem, RunFailed, RunStopped
from framework.core.files import is_full, locked, put_back_if, sweep, whole, write_whole
from framework.core.runs import RunFolder
from framework.core.task import Classification, Task
from framework.data import written
from framework.data.rows import Undecodable
from framework.evaluation import temperature
from framework.evaluation.measures import Answers
from framework.reports import curves
from framework.runs import answers, resume
from framework.runs.banner import announce, summarise
from framework.runs.cautions import cautions
from framework.runs.job import Job
from framework.runs.keeping import FolderStore, make_callbacks
from framework.runs.meeting import SharedStore, meet, tell
from framework.runs.mirror import Mirror, address_of
from framework.runs.preflight import Data
from framework.runs.prepare import Looked, look, network, train
from framework.runs.record import Record
from framework.runs.repeat import tell_differences
from framework.training import distilling
from framework.training.state import State
from framework.training.trainer import Trainer
from framework.training.workers import OneWorker


class Run:
    """What ``framework-train`` does for each job.

    Args:
        job: settings, resolved config and folder, as Hydra hands them over.
        data: that the command has listed and looked at already.
        workers: that train it together; of several this is the first.
    """

    def __init__(self, job: Job, data: Data | None = None, workers: OneWorker | None = None):
        self.job, self.data, self.workers = job, data or Data(), workers or OneWorker()
        self.folder = RunFolder(job.folder)
        self.record = Record(self.folder, job)
        self._unread: dict[str, str] = {}  # what only reading found, with the reason

    def train(self) -> None:
        """Train, or go on with the run that this folder holds, and leave a folder that says how it ended.

        Raises:
            BadInput: the folder is another run's, in use, or can't be written; or the run is one of several workers.
            RunFailed: anything went wrong after the checks; the reason is in ``run.json`` too.
        """
        wanted = self.job.settings.trainer.workers
        if wanted != self.workers.count:
            what = f"trainer.workers={wanted}, and this trains in one process"
            raise BadInput(Problem(what, "trainer.workers", "the command framework.train, or trainer.workers=1"))
        try:
            with locked(self.folder.lock, self._refuse), self._mirrored():
                if not self._is_done():
                    sweep(self.folder.path)
                    self._train_here()
        except PermissionError as error:
            where = shown(self.folder.path)
            raise BadInput(
                Problem(f"the run folder {where} can't be written: {error.strerror}", "hydra.run.dir")
            ) from None

    def _mirrored(self) -> contextlib.AbstractContextManager[object]:
        """While entered, the folder is copied to where the settings say."""
        address = self.job.settings.mirror
        if address is None:
            return contextlib.nullcontext()
        return Mirror(address_of(address, self.folder.path), self.folder)

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
            tell(self.workers, done=True)
            return True
        resume.refuse_changes(self.job)
        state = State.read(self.folder.state, arrays=False)
        if state is not None:
            start, digest = self._looked.experiment, self._looked.fingerprint
            counts = {name: len(split) for name, split in start.images.splits.items()}
            now = {"data": digest, "images": counts, "classes": list(start.task.classes)}
            resume.refuse_data(self.job, state, before, now)
            resume.refuse_teacher(self.job, before, distilling.record(start.teacher))
        return False

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
        trainer = self._prepare()
        self.job.begin()
        announce(trainer.experiment, trainer.network, self.folder, trainer.keeps_best)
        if trainer.settings.cache.use == "only":
            trainer.fill_cache()
            self.record.end("finished")
            say("the features are kept; nothing was trained")
            return
        train(trainer)
        with self.record.phase("finishing"):
            self.record.note(epochs=trainer.history[-1]["epoch"], best=self._save(trainer))
            curves.draw(self.folder)
            best = {**self.record.run["best"]["metrics"], "epoch": self.record.run["best"]["epoch"]}
            self.record.note(cautions=cautions(trainer.experiment, trainer.history, best))
        self.record.end("finished")
        summarise(self.folder, self.record.run)

    @functools.cached_property
    def _looked(self) -> Looked:
        begun = resume.earlier(self.folder) if self.folder.state.exists() else None
        tell(self.workers, begun=begun)
        return look(self.job.settings, self.record, self._unread, self.data, begun)

    def _prepare(self) -> Trainer:
        """Note what is trained on, build the network, make the callbacks."""
        looked, settings = self._looked, self.job.settings
        start, images = looked.experiment, looked.experiment.images
        self.record.note(
            title=title(start.settings, start.task),
            **start.task.record(),
            **distilling.record(start.teacher),
            data={
                "origin": images.origin,
                "fingerprint": looked.fingerprint,
                "images": {name: len(split) for name, split in images.splits.items()},
                "skipped": looked.skipped,
                "not_used": {one.kind.several: one.count for one in images.unused},
                "notes": [text for heading, text in images.told() if heading == "note"],
            },
        )
        files = [self.folder.split, *([Path(settings.data.write_split)] if settings.data.write_split else [])]
        for file in files:
            written.write(file, images)
        if self.job.repeats:
            tell_differences(self.job.repeats, self.record.run)
        with self.record.phase("building"):
            traced = self.data.last.serves(settings, looked.fingerprint)
            built = network(start, self.data.bases, traced)
        self.record.note(parameters=built.model.count_params())
        meet(self.workers, self.job, looked, built)
        callbacks, store = make_callbacks(settings, self.folder), SharedStore(FolderStore(self.folder), self.workers)
        return Trainer(start, built, callbacks, self.record, store, looked.fingerprint, self.workers, self.data.last)

    def _save(self, trainer: Trainer) -> dict[str, object]:
        """Write ``model.keras`` from the best epoch, or the last where no callback kept the best; say which that was."""
        best, file, kept = trainer.restore_best()
        with whole(self.folder.model) as beside:
            if file:
                shutil.copyfile(file, beside)
            else:
                trainer.network.model.save(beside)
        start = trainer.experiment
        if isinstance(start.task, Classification) and (logits := trainer.answers()) is not None:
            split = start.images.splits["validation"]
            answers.write(self.folder, Answers(start.task, split.paths, split.labels, logits), start.images.origin)
            self.record.note(calibration=temperature.record(start.task, logits, split.labels))
        metrics = {key: value for key, value in best.items() if isinstance(value, float) and key not in _NO_METRIC}
        said = {"epoch": best["epoch"], "stage": best["stage"], "kept": kept}
        return said | {"monitor": trainer.yardstick.column, "mode": trainer.yardstick.mode, "metrics": metrics}


_NO_METRIC = ("seconds", "learning_rate")


def title(settings: Settings, task: Task) -> str:
    """What the run is, in a line for an image: ``mobilenet, 10 classes, adam 0.01``."""
    return f"{settings.model.name}, {task.counted}, {settings.optim.name} {settings.optim.lr:g}"

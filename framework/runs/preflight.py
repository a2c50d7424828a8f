"""Everything about a run that can be known wrong before TensorFlow is loaded: parts against each other and the data."""

from __future__ import annotations

import json
import os
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from framework.config.settings import ModelSettings, Settings
from framework.core import registry
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.schema import show
from framework.core.task import Classification, Task
from framework.data import fingerprint, sources
from framework.data.embedded import Embedded, unlike
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.selection import left_out, readable
from framework.model import weights
from framework.model.bases import Bases
from framework.runs import capacity, cluster, heads, networks, places, teaching
from framework.training.experiment import Experiment
from framework.training.traced import LastTraced

T = TypeVar("T")
# Where something else is wrong already, nobody waits for a first look at more images than these.
QUICK = 5_000
USUAL_HEAD = "dense"  # named first where another head is advised


class Data:
    """The data sets of one command line: each is listed, and its images looked at, once for all variants and runs.

    Attributes:
        bases: what the networks of its runs stand on.
        last: the training that its last run has left.
    """

    _known: ClassVar[WeakValueDictionary[str, Data]] = WeakValueDictionary()

    def __init__(self, name: str | None = None) -> None:
        self._name = name or uuid.uuid4().hex
        self._known[self._name] = self
        self.bases, self.last = Bases(), LastTraced()
        self._listed: dict[str, Images | BadInput] = {}
        self._looked: dict[str, tuple[Images, dict[str, str]] | BadInput] = {}
        self._digests: dict[str, str | BadInput] = {}

    def __reduce__(self) -> tuple[Callable[[str], Data], tuple[str]]:
        """A process that was forked has the same; in any other all is listed anew: names by the hundred thousand are slower
        sent than listed."""
        return Data._called, (self._name,)

    @classmethod
    def _called(cls, name: str) -> Data:
        return cls._known.get(name) or cls(name)

    def images(self, settings: Settings) -> Images:
        """What the settings ask for.

        Raises:
            BadInput: the data can't be used.
        """
        return _once(self._listed, _key(settings), lambda: sources.read(settings.data, settings.task.asks))

    def readable(self, settings: Settings) -> tuple[Images, dict[str, str]]:
        """Those of the images that can be read, and the files left out, each with the reason.

        Raises:
            BadInput: some can't be read and are not to be skipped, or too few are left.
        """
        return _once(self._looked, _key(settings), lambda: readable(self.images(settings), settings.data.on_error))

    def fingerprint(self, settings: Settings) -> str:
        """Digest of the images that can be read, and their labels; raises as ``readable``."""
        return _once(self._digests, _key(settings), lambda: fingerprint.dataset(self.readable(settings)[0]))

    def unreadable(self, settings: Settings) -> list[Problem]:
        """Why a training would refuse images that can't be read; files that are still to be made are none."""
        if self.images(settings).prepare is not None:
            return []
        try:
            self.readable(settings)
        except BadInput as error:
            return list(error.problems)
        return []

    def told(self) -> list[tuple[str, str]]:
        """What people should know of the data, a heading and a text each."""
        listed = [found for found in self._listed.values() if isinstance(found, Images)]
        looked = [found for found in self._looked.values() if not isinstance(found, BadInput)]
        skipped = [files for _, files in looked if files]
        told = [line for images in (*listed, *(images for images, _ in looked)) for line in images.told()]
        return list(dict.fromkeys(told + [("not used", left_out(len(files))) for files in skipped]))


def _once(known: dict[str, T | BadInput], key: str, find: Callable[[], T]) -> T:
    """What was found before for this key, or is found now; an error is found once, too."""
    if key not in known:
        try:
            known[key] = find()
        except BadInput as error:
            known[key] = error
    found = known[key]
    if isinstance(found, BadInput):
        raise found
    return found


def _key(settings: Settings) -> str:
    return repr((settings.data, settings.task.asks))


def preflight(settings: Settings, data: Data | None = None) -> list[Problem]:
    """All problems of these settings, images that can't be read among them.

    Args:
        settings: of one run.
        data: shared by the variants of one command line.
    """
    data = Data() if data is None else data
    found, problems = _examine(settings, data)
    if found is not None and (not problems or _count(found.images) <= QUICK):
        problems += data.unreadable(settings)
    return problems


def experiment(settings: Settings, data: Data | None = None) -> Experiment:
    """The settings with their data and task; the images have not been looked at.

    Args:
        settings: of one run.
        data: that have been listed already.

    Raises:
        BadInput: with every problem.
    """
    found, problems = _examine(settings, Data() if data is None else data)
    if found is None or problems:
        raise BadInput(problems)
    return found


# of a whole run, beside its columns: what a search can make small
OF_RUNS = ("seconds", "parameters")


def columns(settings: Settings, validated: bool) -> list[str]:
    """Columns of the history that have a number: what a monitor can name."""
    measured = ["loss", *settings.metrics]
    return [*measured, *(f"val_{name}" for name in measured if validated), "learning_rate"]


def _examine(settings: Settings, data: Data) -> tuple[Experiment | None, list[Problem]]:
    problems = [
        *places.computed(settings),
        *networks.faults(settings),
        *_schedule(settings),
        *places.kept(settings),
        *heads.faults(settings),
        *cluster.faults(settings),
    ]
    demonstration = bool(registry.get("source", settings.data.name).details["demonstration"])
    try:
        images = data.images(settings)
    except BadInput as error:
        problems += [*_callbacks(settings, True), *error.problems]
        return None, [*problems, *_weights(settings, demonstration, hurried=True)]
    if images.features is not None:
        problems += _features(settings, images.features)
    problems += _callbacks(settings, "validation" in images.splits)
    problems += _sweep(settings, "validation" in images.splits)
    task, wrong = _task(settings, images)
    problems += wrong
    problems += heads.neighbours(settings, len(images.splits["train"]))
    if task is not None:
        problems += [*_fit_to_task(settings, task), *_class_weights(settings, task), *_balance(settings, task)]
        problems += capacity.faults(settings, task)
    teacher, wrong = teaching.teacher(settings, task)
    problems += wrong
    problems += _weights(settings, demonstration, hurried=bool(problems))
    if task is None:
        return None, problems
    return Experiment(settings, images, task, demonstration, teacher), problems


def _count(images: Images) -> int:
    return sum(map(len, images.splits.values()))


def _task(settings: Settings, images: Images) -> tuple[Task | None, list[Problem]]:
    """The question that task, data and head agree on, or a problem where they do not."""
    head = registry.get("head", settings.head.name)
    tasks = head.details["tasks"]
    asked = settings.data.positive is not None
    try:
        task = registry.get("task", settings.task.name)(images, asked, tasks, **settings.task.parameters)
    except BadInput as error:
        return None, list(error.problems)
    if not task.fits(head):
        fitting = [part.name for part in registry.parts("head") if task.fits(part)]
        fitting.sort(key=lambda name: name != USUAL_HEAD)
        what = f"head '{head.name}' answers {' or '.join(tasks)} questions; the data ask a {task.kind} one"
        what += f" ({task.counted}: {listing(task.classes)})"
        right = f"head={fitting[0]}" if fitting else ""
        if tasks == ("binary",) and not images.numbers:
            right += " or data.positive=CLASS"
        return None, [Problem(what, "head.name", right)]
    loss = registry.get("loss", settings.loss.name)
    return task.for_loss(loss.details["labels"]), []


def _fit_to_task(settings: Settings, task: Task) -> Iterator[Problem]:
    units = settings.head.parameters.get("units")
    if units is not None and units != task.units:
        yield Problem(
            f"head.units={units}, but {task.wanted}", "head.units", f"head={USUAL_HEAD} (as many as the data need)"
        )
    loss = registry.get("loss", settings.loss.name)
    if not task.fits(loss):
        what = f"loss '{loss.name}' does not fit a {task.kind} head"
        fitting = [part.name for part in registry.parts("loss") if task.fits(part)]
        yield Problem(what, "loss.name", f"loss=auto (or one of: {listing(fitting)})")
    smoothed = {"loss.label_smoothing": settings.loss.parameters.get("label_smoothing")}
    smoothed |= {f"stages.{name}.label_smoothing": stage.label_smoothing for name, stage in settings.stages.items()}
    for where, smoothing in smoothed.items():
        if smoothing and not isinstance(task, Classification):
            what = f"{where}={smoothing:g} smooths over classes, and the labels are numbers"
            yield Problem(what, where, f"{where}=0")
        elif smoothing is not None and "label_smoothing" not in loss.parameters and where.startswith("stages."):
            what = f"{where}={smoothing:g}: loss '{loss.name}' smooths no labels"
            yield Problem(what, where, "loss=auto, or leave it out")
    for where, name in settings.blending.items():
        if task.labels == "index":
            what = f"augmentation '{name}' blends labels, which loss '{loss.name}' can't take"
            yield Problem(what, where, "loss=categorical_crossentropy")
        if settings.augment.copies:
            what = f"augment.copies keeps each image by itself, but augmentation '{name}' blends several"
            yield Problem(what, "augment.copies", f"augment.copies=0, or leave '{name}' out")
    for name, chosen in settings.metrics.items():
        metric = registry.get("metric", chosen.name)
        if not task.fits(metric):
            what = (
                f"metric '{metric.name}' measures {' or '.join(metric.details['tasks'])} answers, not {task.kind} ones"
            )
            fitting = [part.name for part in registry.parts("metric") if task.fits(part)]
            yield Problem(what, f"metrics.{name}", f"one of: {listing(fitting)}")


def _callbacks(settings: Settings, validated: bool) -> Iterator[Problem]:
    names = columns(settings, validated)
    for key, chosen in settings.callbacks.items():
        monitor = chosen.parameters.get("monitor")
        if monitor is not None and monitor not in names:
            path = f"callbacks.{key}.monitor"
            yield Problem(f"{path}={monitor} names no column of the history", path, suggestion(monitor, names))
        template = chosen.parameters.get("filename")
        if template is not None:
            path = f"callbacks.{key}.filename"
            yield from _template(template, path, [*names, "epoch"])
            if chosen.name == "checkpoint" and _leads_out(template):
                what = f"{path}={template} leads out of the run's checkpoints/"
                yield Problem(what, path, f"{os.path.basename(template)}; hydra.run.dir=FOLDER says where the run goes")


def _leads_out(name: str) -> bool:
    """Whether a file of this name would not lie in the folder that it is meant for."""
    return os.path.isabs(name) or name.startswith("~") or ".." in Path(name).parts


def _sweep(settings: Settings, validated: bool) -> Iterator[Problem]:
    metric, names = settings.sweep.metric, columns(settings, validated)
    if metric is not None and metric not in names:
        yield Problem(
            f"sweep.metric={metric} names no column of the history", "sweep.metric", suggestion(metric, names)
        )
    known = [*names, *OF_RUNS]
    for objective in settings.search.objectives or ():
        if objective not in known:
            what = f"search.objectives names '{objective}', which no run will have"
            yield Problem(what, "search.objectives", suggestion(objective, known))


def _template(template: str, path: str, names: list[str]) -> Iterator[Problem]:
    example = "{epoch:02d}_{val_accuracy:.3f}"
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        yield Problem(f"{path}={template} is no template: {error}", path, example)
        return
    unknown = [field for field in fields if field not in names]
    for field in unknown:
        yield Problem(f"{path}={template} names '{field}', which will not exist", path, suggestion(field, names))
    if not unknown:
        try:
            template.format(**dict.fromkeys(names, 0.5) | {"epoch": 1})
        except (ValueError, KeyError, IndexError) as error:
            yield Problem(f"{path}={template} can't be filled in: {error}", path, example)


def _schedule(settings: Settings) -> Iterator[Problem]:
    schedule = settings.optim.schedule.name
    if registry.get("schedule", schedule).details["constant"]:
        return
    for key, chosen in settings.callbacks.items():
        if chosen.name == "reduce_on_plateau":
            what = f"callback '{key}' sets the learning rate, and so does schedule '{schedule}'"
            yield Problem(what, f"callbacks.{key}.name", "optim.schedule=constant, or leave the callback out")


def _features(settings: Settings, embedded: Embedded) -> Iterator[Problem]:
    """What data that are features can't do, and a base that did not make them."""
    if settings.augment.parts:
        what = "data=features has no images that augmentation could vary"
        yield Problem(what, "augment", "augment=none, or images varied before: embed once for each copy")
    if settings.distill.from_ is not None:
        yield Problem("data=features has no images that a teacher could see", "distill.from", "distill.from=null")
    for name, stage in settings.stages.items():
        if stage.image_size is not None:
            what = f"stage {name} has images of a size of its own, and data=features has no images"
            yield Problem(what, f"stages.{name}.image_size", f"stages.{name}.image_size=null")
        if stage.train not in ("head", "fit") and (stage.train != "auto" or settings.model.trainable):
            what = f"stage {name} trains the base, and data=features has no images to train it on"
            yield Problem(what, f"stages.{name}.train", "model.trainable=false stages=default")
    if settings.cache.use == "off":
        yield Problem(
            "data=features lays features down in the cache, and cache=off has none", "cache.use", "cache=auto"
        )
    now, words = network_of(settings), " ".join(embedded.made["words"])
    for key in unlike(embedded.made, now):
        (group, name), made = key.split("."), embedded.made
        was, wanted = (of["geometry" if group == "data" else group].get(name) for of in (made, now))
        what = f"the features in {embedded.files[0]} were made with {key}={show(was)}, not {show(wanted)}"
        yield Problem(what, key, f"as they were made: {words}" if words else f"{key}={show(was)}")


def network_of(settings: Settings) -> dict[str, Any]:
    """The network that makes an image's features, as ``data.embedded`` holds it against that of others, as plain values."""
    model, pooling, geometry = settings.model, settings.pooling, settings.data.geometry
    found = {
        "model": {"name": model.name, **model.parameters},
        "pooling": {"name": pooling.name, **pooling.parameters},
        "geometry": {"image_size": list(geometry.size), "resize": geometry.resize, "channels": geometry.channels}
        | ({"fill": geometry.fill} if geometry.resize == "pad" else {}),
    }
    return dict(json.loads(json.dumps(found)))


def _balance(settings: Settings, task: Task) -> Iterator[Problem]:
    how = settings.data.balance
    if how == "none":
        return
    if not isinstance(task, Classification) or task.several:
        what = f"data.balance={how}: images have {'several labels' if isinstance(task, Classification) else 'numbers'}"
        yield Problem(f"{what}, and no class to balance", "data.balance", "none")
    elif settings.data.class_weights == "balanced":
        what = f"data.balance={how} and data.class_weights=balanced both make classes equal: together they overdo it"
        yield Problem(what, "data.balance", "one of them")


def _class_weights(settings: Settings, task: Task) -> Iterator[Problem]:
    given = settings.data.class_weights
    if given is not None and not isinstance(task, Classification):
        yield Problem("data.class_weights: numbers have no classes to weigh", "data.class_weights", "null")
        return
    if isinstance(given, dict):
        for name in given:
            if class_name(name) not in task.classes:
                where = "data.class_weights"
                yield Problem(f"{where} names '{name}', which is no class", where, suggestion(name, task.classes))


def _weights(settings: Settings, demonstration: bool, hurried: bool) -> list[Problem]:
    """Weights that can't be had; on demonstration data random ones serve, and the run says so.

    Asking the network takes up to three seconds: where something else is wrong already, nobody waits for that.
    """
    if settings.model.weights in weights.PUBLISHED and (demonstration or hurried):
        problem = weights.unpublished(registry.get("base", settings.model.name), settings.model.weights)
        return [problem] if problem else []
    problem = missing_weights(settings) or _unfit_weights(settings.model)
    return [problem] if problem else []


def _unfit_weights(model: ModelSettings) -> Problem | None:
    """What is wrong with a file of weights; Keras's own are held against the base when they are loaded."""
    if model.weights in (None, *weights.PUBLISHED):
        return None
    return weights.unfit(registry.get("base", model.name), Path(model.weights).expanduser(), model.parameters)


def missing_weights(settings: Settings) -> Problem | None:
    """Why the base's weights can't be had, None if they can."""
    model = settings.model
    found = weights.find(registry.get("base", model.name), model.weights, settings.data.size, model.parameters)
    return found if isinstance(found, Problem) else None

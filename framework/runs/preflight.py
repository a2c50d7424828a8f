"""Everything about a run that can be known wrong before TensorFlow is loaded: parts against each other and the data."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from framework.config.earlier import here
from framework.config.folders import unwritable
from framework.config.settings import ModelSettings, Settings
from framework.core import keras_hub_private, registry
from framework.core.digits import seconds
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.schema import show
from framework.core.task import Classification, Task
from framework.data import fingerprint, remote, sources
from framework.data.embedded import Embedded, unlike
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.selection import left_out, readable
from framework.features.upkeep import root_folder
from framework.model import weights
from framework.model.bases import Bases
from framework.parts import presets
from framework.runs import capacity, cluster, teaching
from framework.training.experiment import Experiment

T = TypeVar("T")
# of engines that are no process of this machine's: the package, and the keys of ``compute`` that only some have a use for
PACKAGES = {"ray": "ray", "slurm": "submitit"}
OF_ENGINE = {
    "retries": ("ray", "slurm"),
    "address": ("ray",),
    "partition": ("slurm",),
    "time": ("slurm",),
    "array": ("slurm",),
}
# Where something else is wrong already, nobody waits for a first look at more images than these.
QUICK = 5_000
USUAL_HEAD = "dense"  # named first where another head is advised


class Data:
    """The data sets of one command line: each is listed, and its images looked at, once for all variants and runs.

    Attributes:
        bases: what the networks of its runs stand on.
    """

    _known: ClassVar[WeakValueDictionary[str, Data]] = WeakValueDictionary()

    def __init__(self, name: str | None = None) -> None:
        self._name = name or uuid.uuid4().hex
        self._known[self._name] = self
        self.bases = Bases()
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
        *_compute(settings),
        *_size(settings),
        *_stage_sizes(settings),
        *_pooling(settings),
        *_backbone(settings.model),
        *_schedule(settings),
        *_cache(settings),
        *_written(settings),
        *_mirror(settings.mirror),
        *_fitted(settings),
        *_averaged(settings),
        *_texts(settings),
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
    problems += _neighbours(settings, len(images.splits["train"]))
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


def _stage_sizes(settings: Settings) -> Iterator[Problem]:
    """Sizes that a stage's images can't have, as far as that is known of the parts."""
    base, pooling = registry.get("base", settings.model.name), registry.get("pooling", settings.pooling.name)
    smallest, gives = base.details["minimum_size"], base.details["gives"]
    for name, stage in settings.stages.items():
        size, where = settings.geometry_of(stage).size, f"stages.{name}.image_size"
        if size == settings.data.size:
            continue
        given, right = f"{where}={show(stage.image_size)}", "leave it out"
        try:
            output = gives(settings.data.size, settings.model.parameters) if gives else None
        except BadInput:
            continue  # the size of the data is told already
        if output is not None and output.kind != "maps":
            what = f"base '{base.name}' takes images of one size, that of its patches' places"
            yield Problem(f"{given}: {what}", where, f"{right}, or a convolutional base such as model=mobilenet")
        elif min(size) < smallest:
            what = f"{given} is too small: base '{base.name}' needs sides of {smallest} at least"
            yield Problem(what, where, f"{where}={smallest}")
        elif not pooling.details["any_size"]:
            what = f"pooling '{pooling.name}' gives vectors of a length that depends on the size"
            yield Problem(f"{given}: {what}", where, f"{right}, or pooling=avg")
        elif registry.get("head", settings.head.name).details["fit"] is not None:
            what = f"head '{settings.head.name}' is made of images as it will be asked about them"
            yield Problem(f"{given}: {what}", where, right)


def _size(settings: Settings) -> Iterator[Problem]:
    smallest = registry.get("base", settings.model.name).details["minimum_size"]
    if min(settings.data.size) < smallest:
        given = show(settings.data.image_size)
        what = f"data.image_size={given} is too small: base '{settings.model.name}' needs sides of {smallest} at least"
        yield Problem(what, "data.image_size", f"data.image_size={smallest}")


def _pooling(settings: Settings) -> Iterator[Problem]:
    """A size that the base can't take, or a pooling that asks for what it does not give."""
    gives = registry.get("base", settings.model.name).details["gives"]
    if gives is None:
        return
    try:
        output = gives(settings.data.size, settings.model.parameters)
    except BadInput as error:
        yield from error.problems
        return
    if output.offers(registry.get("pooling", settings.pooling.name).details["takes"]):
        return
    fitting = [part.name for part in registry.parts("pooling") if output.offers(part.details["takes"])]
    what = f"pooling '{settings.pooling.name}' does not fit base '{settings.model.name}', which gives {output}"
    yield Problem(what, "pooling.name", f"pooling={fitting[0]} (one of: {listing(fitting)})")


def _backbone(model: ModelSettings) -> Iterator[Problem]:
    """Of a base of Keras Hub: the package is missing, or its preset is none, of another network or of another size."""
    part = registry.get("base", model.name)
    backbone = part.details["backbone"]
    if backbone is None:
        return
    if not keras_hub_private.installed():
        what = f"base '{model.name}' needs the package keras-hub, which is not installed"
        yield Problem(what, "model.name", "pip install 'framework[hub]'")
        return
    preset = model.parameters["preset"]
    if preset is None or (backbone.described and model.weights != weights.PRESET):
        return
    try:
        found = presets.find(preset, model.name, backbone)
        if isinstance(found, Path):
            presets.stated(found, model.name, backbone, model.parameters)
    except BadInput as error:
        yield from error.problems
    else:
        # what it is made of is in the preset: without that not even one of random weights can be built
        if isinstance(found, presets.Remote) and not backbone.described:
            problem = weights.find(part, weights.PRESET, model.size, model.parameters)
            yield from [problem] if isinstance(problem, Problem) else []


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


def _texts(settings: Settings) -> Iterator[Problem]:
    """Head ``text`` for a base whose preset has no texts, or for vectors that are not compared with any."""
    model, prompts = settings.model, settings.data.prompts
    if not registry.get("head", settings.head.name).details["texts"]:
        return
    backbone = registry.get("base", model.name).details["backbone"]
    if backbone is None or not backbone.whole:
        what = f"head '{settings.head.name}' needs a base that was trained with texts, and '{model.name}' was not"
        yield Problem(what, "head.name", "model=siglip2_base or model=clip_base")
        return
    if model.weights != weights.PRESET:
        what = f"head '{settings.head.name}' takes its texts from the preset, and model.weights={model.weights}"
        yield Problem(what, "model.weights", "model.weights=preset")
    if backbone.family == "clip" and settings.pooling.name != "cls":
        what = f"CLIP compares its class token with texts, and pooling is '{settings.pooling.name}'"
        yield Problem(what, "pooling.name", "pooling=cls")
    for prompt in [prompts] if isinstance(prompts, str) else prompts:
        if "{}" not in prompt:
            what = f"data.prompts: '{prompt}' has no place for a class's name"
            yield Problem(what, "data.prompts", "'a photo of a {}'")


def _averaged(settings: Settings) -> Iterator[Problem]:
    """Adapters are factors: the product of their averages is not the average of what they add."""
    averaging = [key for key, chosen in settings.callbacks.items() if chosen.name == "weight_averaging"]
    adapted = [name for name, stage in settings.stages.items() if stage.train.partition(":")[0] == "lora"]
    if averaging and adapted:
        what = f"callback '{averaging[0]}' averages each weight by itself, and stage {adapted[0]} trains factors of weights"
        yield Problem(what, f"callbacks.{averaging[0]}.name", f"~callbacks.{averaging[0]}, or another train than lora")


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


@functools.cache
def _shipped_compute() -> dict[str, Any]:
    """The node ``compute`` as it is where nobody says anything, read once for all variants of a sweep."""
    return here()


def _compute(settings: Settings) -> Iterator[Problem]:
    """An engine whose package is missing, and keys that its runs have no use for."""
    compute, engine = settings.compute, settings.compute.engine
    spread = settings.cache.compute
    for key, chosen in {"compute": engine, "cache.compute": spread}.items():
        package = PACKAGES.get(chosen)
        if package and importlib.util.find_spec(package) is None:
            where = "compute.engine" if key == "compute" else key
            what = f"{key}={chosen} needs {package}, which is not installed"
            yield Problem(what, where, f"pip install 'framework[{chosen}]'")
    if spread != "local" and engine != "local":
        what = f"cache.compute={spread} with compute={engine}: each run would hold a place while it waits for others"
        yield Problem(
            what, "cache.compute", f"cache=only cache.compute={spread} first, then the sweep with compute={engine}"
        )
    if spread != "local" and settings.augment.parts and settings.augment.copies:
        what = f"augment.copies={settings.augment.copies}: varied copies are computed by this process, not by cache.compute"
        yield Problem(what, "cache.compute", "cache.compute=local, or augment.copies=0")
    for key, engines in OF_ENGINE.items():
        value = getattr(compute, key)
        if key == "address" and spread == "ray":
            continue
        if engine not in engines and value != _shipped_compute()[key]:
            what = f"compute.{key}={show(value)} changes nothing with compute={engine}"
            yield Problem(what, f"compute.{key}", f"compute={engines[0]}, or leave it out")
    try:
        seconds(compute.time)
    except ValueError:
        yield Problem(f"compute.time={compute.time} is no time", "compute.time", "30m, 2h, 1d")
    if engine == "slurm" and compute.gpus is not None and compute.gpus != int(compute.gpus):
        what = f"compute.gpus={compute.gpus:g}: Slurm gives whole cards"
        yield Problem(what, "compute.gpus", f"compute.gpus={int(compute.gpus) + 1}")
    if settings.sweep.detach and engine == "local":
        what = "sweep.detach hands a sweep over to a cluster, and compute=local is this machine"
        yield Problem(what, "sweep.detach", "compute=ray or compute=slurm")


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


def _fitted(settings: Settings) -> Iterator[Problem]:
    """Of heads that are made of examples: a stage that can't have this head, and what would change nothing."""
    head = registry.get("head", settings.head.name)
    for name, stage in settings.stages.items():
        where = f"stages.{name}.train"
        if settings.fits(stage):
            if head.details["fit"] is None:
                yield Problem(f"{where}=fit: head '{head.name}' is trained, not fitted", where, f"{where}=head")
            elif stage.epochs is not None:
                what = f"stages.{name}.epochs={stage.epochs} changes nothing: a head is fitted in one pass"
                yield Problem(what, f"stages.{name}.epochs", "leave it out")
            for key, value in (("label_smoothing", stage.label_smoothing), ("mixup", stage.mixup)):
                if value is not None:
                    what = f"stages.{name}.{key}={value:g} changes nothing: the head is fitted to each image, without a loss"
                    yield Problem(what, f"stages.{name}.{key}", "leave it out")
        elif head.details["remembers"]:
            what = f"head '{head.name}' remembers the training images and can't be trained: {where}={stage.train}"
            yield Problem(what, where, "stages=default and model.trainable=false")
    if not all(map(settings.fits, settings.stages.values())) or head.details["fit"] is None:
        return
    drawn = bool(settings.augment.parts) and not settings.augment.copies
    idle = {
        "augment": (drawn, "augment", "augment.copies=N, which it is fitted to, or augment=none"),
        "data.balance": (settings.data.balance != "none", f"data.balance={settings.data.balance}", "data.balance=none"),
        "data.class_weights": (settings.data.class_weights is not None, "data.class_weights", "null"),
    }
    for where, (given, shown, right) in idle.items():
        if given:
            what = f"{shown} changes nothing: head '{head.name}' is fitted to each image once, without a loss"
            yield Problem(what, where, right)


def _neighbours(settings: Settings, images: int) -> Iterator[Problem]:
    """More neighbours than an image can have; augmented copies count."""
    wanted, copies = settings.head.parameters.get("neighbours"), settings.augment.copies or 1
    if isinstance(wanted, int) and wanted >= images * copies:
        what = f"head.neighbours={wanted}: an image has {images * copies - 1} others in training"
        yield Problem(what, "head.neighbours", f"head.neighbours={max(1, (images * copies - 1) // 2)}")


def _schedule(settings: Settings) -> Iterator[Problem]:
    schedule = settings.optim.schedule.name
    if registry.get("schedule", schedule).details["constant"]:
        return
    for key, chosen in settings.callbacks.items():
        if chosen.name == "reduce_on_plateau":
            what = f"callback '{key}' sets the learning rate, and so does schedule '{schedule}'"
            yield Problem(what, f"callbacks.{key}.name", "optim.schedule=constant, or leave the callback out")


def _cache(settings: Settings) -> Iterator[Problem]:
    """A cache folder that features are likely to be kept in, and can't be."""
    cache, model = settings.cache, settings.model
    if cache.use == "off" or (cache.dir is None and (model.weights is None or model.trainable)):
        return
    folder = root_folder(cache.dir).absolute()
    reason = unwritable(folder)
    if reason:
        what = f"the feature cache can't be kept in {folder}: {reason}"
        yield Problem(what, "cache.dir", "cache.dir=<another folder>, or cache=off")


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


def _written(settings: Settings) -> Iterator[Problem]:
    """A file of the split that can't be written."""
    file = settings.data.write_split
    if file is None:
        return
    where = "data.write_split"
    if os.path.isdir(file):
        yield Problem(f"{where}={file} is a folder", where, os.path.join(file, "split.csv"))
    elif reason := unwritable(Path(file).absolute().parent):
        yield Problem(f"{where}={file} can't be written: {reason}", where, "a file in a folder that can be written")


def _mirror(address: str | None) -> Iterator[Problem]:
    """A mirror that is no address, or whose package is missing."""
    if address is None:
        return
    if not remote.is_address(address):
        what = f"mirror={address} is no address of an object store"
        yield Problem(what, "mirror", "mirror=s3://bucket/path; a folder of this machine is hydra.run.dir=FOLDER")
        return
    try:
        remote.system_of(address, "mirror")
    except BadInput as error:
        yield from error.problems


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

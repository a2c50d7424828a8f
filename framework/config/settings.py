"""The whole experiment as plain, frozen values: what every room above ``config`` works from.

Every class here is also the schema of its config node: the check reads names and types from it. A node that names a
part has the keys of its class here and, beside them, the parameters of the part's signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from framework.core import better, registry
from framework.core.better import Direction, Yardstick
from framework.core.geometry import Channels, Geometry, Level, Resize
from framework.core.schema import ENDLESS, Count, NonNegative, PathText, Portion, Positive, Seed, Share, Whole
from framework.core.task import Labels

MIXUP = "mixup"  # the augmentation that a stage can have of its own

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class PartSettings:
    """A part's name and the values of its keyword-only parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class TaskSettings(PartSettings):
    """What is asked of an image; ``monitor`` is the column that epochs are judged by, where nothing else is said."""

    monitor: str

    @property
    def asks(self) -> Labels:
        """What a data source has to list as labels."""
        return registry.get("task", self.name).details["labels"]


@dataclass(frozen=True)
class ModelSettings(PartSettings):
    """The base: weights are ``imagenet``, ``preset``, a file, or None for random ones; the size one side or [height, width]."""

    weights: Literal["imagenet", "preset"] | PathText | None
    trainable: bool
    image_size: Count | list[Count]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return _size(self.image_size)


@dataclass(frozen=True)
class OptimSettings(PartSettings):
    """The optimizer, its learning rate, and how that moves within a stage."""

    lr: Positive
    schedule: PartSettings


@dataclass(frozen=True)
class DataSettings(PartSettings):
    """The source, and what holds for any source.

    ``resize``, ``fill`` and ``channels`` are those of ``core.geometry.Geometry``; ``exclude`` and ``relabel`` are the
    lists of ``data.edits``, ``pseudo`` is that of ``data.pseudo``; ``group``, ``time``, ``folds`` and ``fold`` are those of
    ``data.splits.Splitting``; ``write_split`` is a CSV file that says who is where; ``balance`` is that of
    ``data.pipeline.Balance``; ``classes`` keeps only these, in this order; ``prompts`` makes texts of their names for head
    ``text``; ``positive`` makes it a yes-or-no question about one class; ``limit`` keeps so many images a split, spread over
    the classes; ``memory_limit`` is how many MiB of decoded images are kept in memory before files are read again each
    epoch; ``disk_limit`` is how many GiB copies of data that lie elsewhere may take; ``seed`` decides splits and what is
    drawn, apart from ``trainer.seed``, so that repeats of a training see the same data.
    """

    image_size: Count | list[Count]
    resize: Resize
    fill: Level
    channels: Channels
    classes: list[str] | None
    positive: str | None
    limit: Count | None
    exclude: PathText | None
    relabel: PathText | None
    pseudo: PathText | None
    group: str | None
    time: str | None
    folds: Count | None
    fold: Whole
    write_split: PathText | None
    balance: Literal["none", "over", "under"]
    prompts: str | list[str]
    class_weights: Literal["balanced"] | dict[str, Positive] | None
    seed: Seed
    memory_limit: Whole
    disk_limit: Annotated[Positive, ENDLESS]
    on_error: Literal["stop", "skip"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the model sees."""
        return _size(self.image_size)

    @property
    def geometry(self) -> Geometry:
        """How a file becomes an image that the model sees."""
        return Geometry(self.size, self.resize, self.fill, self.channels)


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentations by name, in order; ``copies`` keeps so many augmented versions of each image, 0 draws anew."""

    copies: Whole
    parts: Mapping[str, PartSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class StageSettings:
    """One phase of training.

    ``train`` says what: ``auto`` (everything if ``model.trainable``, else the head), ``head``, ``all``, ``from:NAME``
    (from the named layer or block up), ``last:N`` (the last N layers of the base with weights, of a transformer the
    last N blocks, and the head), ``lora`` (adapters of ``rank`` in the base's layers called as ``targets``, and the head;
    ``lora:last:2`` in those blocks alone) or ``fit`` (a head that is made of examples is fitted, in one pass; what ``auto``
    means for such a head).
    ``epochs`` None means ``trainer.epochs``. The rate is ``lr``, or ``optim.lr`` times ``lr_factor``; with
    ``layer_decay`` each layer below the head has that times the rate of the one above it. ``batch_norm`` of the base
    keeps its statistics (``inference``) or renews them (``train``); ``auto`` keeps those that came with weights.
    ``image_size`` is that of the images that train; ``label_smoothing``, and ``mixup``, its alpha or 0 for none, stand in
    place of what loss and augment say. None means what holds for the run.
    """

    train: str
    epochs: Count | None
    lr: Positive | None
    lr_factor: Positive
    layer_decay: Positive | None
    batch_norm: Literal["auto", "inference", "train"]
    rank: Count
    targets: list[str]
    image_size: Count | list[Count] | None
    label_smoothing: Share | None
    mixup: NonNegative | None


@dataclass(frozen=True)
class TrainerSettings:
    """How long, in what batches and numbers, from which seed, by how many workers.

    ``workers_timeout`` is how many seconds a worker waits for the others to come.
    """

    epochs: Count
    batch_size: Count
    gradient_accumulation_steps: Count
    precision: Precision
    feature_precision: Literal["float32", "bfloat16"]
    seed: Seed
    deterministic: bool
    save_steps: Count | None
    steps_per_execution: Count | Literal["auto"]
    workers: Count
    workers_timeout: Positive


@dataclass(frozen=True)
class DistillSettings:
    """Knowledge distillation: the run ``from_``, in config ``from``, teaches; None for none.

    Both logits are divided by ``temperature``; ``weight`` is the teacher's share of the loss.
    """

    from_: PathText | None
    temperature: Positive
    weight: Portion


@dataclass(frozen=True)
class CacheSettings:
    """The feature cache: whether, where (None: the user's cache folder), in which dtype, how many GiB at most, and what
    computes the features: this process, or tasks of the Ray cluster that ``ComputeSettings`` names."""

    use: Literal["auto", "off", "only"]
    dir: PathText | None
    dtype: Literal["float32", "float16", "bfloat16"]
    size_limit: Annotated[NonNegative, ENDLESS]
    compute: Literal["local", "ray"]


@dataclass(frozen=True)
class ComputeSettings:
    """Where runs are, and what each gets: processes of this machine, tasks of a Ray cluster or jobs of Slurm's.

    ``cpus`` cores, and as many threads; ``gpus`` cards, None what is usual there. ``retries`` is how often a run that was
    killed is begun again. ``address`` is Ray's; ``partition``, ``time`` (seconds, or a text such as ``2h``) and ``array``, how
    many runs are submitted at a time, are Slurm's.
    """

    engine: Literal["local", "ray", "slurm"]
    cpus: Count | None
    gpus: NonNegative | None
    retries: Whole
    address: str
    partition: str | None
    time: Count | str
    array: Count


@dataclass(frozen=True)
class SweepSettings:
    """What a sweep does; a single run has no use for it.

    ``name`` None is made from what is varied. ``jobs`` run at once; ``auto`` is three for two cores, one for each graphics
    card, and on a cluster what it has room for. ``detach`` hands the sweep over to a cluster; ``stop`` calls it back.
    ``seeds`` N repeats each variant with ``trainer.seed`` 1 to N. ``metric`` is the column that variants are judged by, at the
    best epoch of a run; None is what the run itself monitors. ``direction`` says which way is better; ``auto`` is what the
    run says of its own column, else down for a loss, up for anything else.
    """

    name: str | None
    jobs: Count | Literal["auto"]
    seeds: Count | None
    fail_fast: bool
    detach: bool | Literal["stop"]
    metric: str | None
    direction: Direction


@dataclass(frozen=True)
class SearchSettings(PartSettings):
    """A search in place of a sweep's combinations; a single run has no use for it.

    The sampler draws trials until there are ``trials`` in all (None: every combination), or, ``timeout`` after the command
    (seconds, or a text such as ``30m``), no more begin. ``pruner`` ends some early. ``storage`` None is a journal in the
    sweep's folder. ``objectives`` are columns of the history, ``seconds`` or ``parameters``; None is the one that the
    sweep judges by. ``space`` maps keys to values to draw from, in Hydra's sweep syntax.
    """

    pruner: PartSettings
    trials: Count | None
    timeout: Count | str | None
    storage: PathText | None
    objectives: list[str] | None
    seed: Seed | None
    space: dict[str, str]


@dataclass(frozen=True)
class ResumeSettings:
    """Going on with a run: keys of the config that may differ from what it was begun with."""

    allow: list[str]


@dataclass(frozen=True)
class Settings:
    """One run; ``mirror`` is the address of an object store that its folder is copied to, None for none."""

    task: TaskSettings
    model: ModelSettings
    pooling: PartSettings
    head: PartSettings
    optim: OptimSettings
    loss: PartSettings
    metrics: Mapping[str, PartSettings]
    callbacks: Mapping[str, PartSettings]
    augment: AugmentSettings
    data: DataSettings
    stages: Mapping[str, StageSettings]
    trainer: TrainerSettings
    distill: DistillSettings
    cache: CacheSettings
    resume: ResumeSettings
    compute: ComputeSettings
    sweep: SweepSettings
    search: SearchSettings
    mirror: str | None

    def yardstick(self, validated: bool = True) -> Yardstick:
        """How the run's epochs are judged, with validation images or without."""
        checkpoints = [one.parameters for one in self.callbacks.values() if one.name == "checkpoint"]
        return better.of_run(checkpoints, self.metrics, validated)

    def sweep_yardstick(self) -> Yardstick:
        """How the runs of its sweep are judged."""
        return better.of_sweep(self.yardstick(), self.sweep.metric, self.sweep.direction)

    def objectives(self) -> tuple[Yardstick, ...]:
        """How the trials of its search are judged."""
        if not self.search.objectives:
            return (self.sweep_yardstick(),)
        return tuple(better.of_sweep(self.yardstick(), name, "auto") for name in self.search.objectives)

    @property
    def epochs(self) -> int:
        """How many all stages have together."""
        return sum(map(self.epochs_of, self.stages.values()))

    def epochs_of(self, stage: StageSettings) -> int:
        """How many a stage has; a head is fitted in one."""
        return 1 if self.fits(stage) else stage.epochs or self.trainer.epochs

    @property
    def trains_head_alone(self) -> bool:
        """Whether no stage trains the base, and its output on each image is kept."""
        of_base = [stage for stage in self.stages.values() if stage.train not in ("head", "fit")]
        frozen = not self.model.trainable and all(stage.train == "auto" for stage in of_base)
        return (
            (frozen or not of_base)
            and self.cache.use == "auto"
            and not any(self.draws_anew(stage) for stage in self.stages.values())
        )

    def draws_anew(self, stage: StageSettings) -> bool:
        """Whether the stage's images are others in each epoch."""
        augment = self.augment_of(stage)
        return bool(augment.parts) and not augment.copies

    def augment_of(self, stage: StageSettings) -> AugmentSettings:
        """How the stage varies its images."""
        if stage.mixup is None:
            return self.augment
        own = PartSettings(MIXUP, parameters={"alpha": stage.mixup})
        parts = {key: own if part.name == MIXUP else part for key, part in self.augment.parts.items()}
        if own not in parts.values():
            parts[MIXUP] = own
        return replace(self.augment, parts={key: part for key, part in parts.items() if part is not own or stage.mixup})

    @property
    def blending(self) -> dict[str, str]:
        """By where they are said, the augmentations of any stage that blend the images of a batch."""
        found = {}
        for name, stage in self.stages.items():
            for key, part in self.augment_of(stage).parts.items():
                if registry.get("augmentation", part.name).details["mixes"]:
                    usual = self.augment.parts.get(key) == part
                    found[f"augment.{key}" if usual else f"stages.{name}.mixup"] = key
        return found

    def loss_of(self, stage: StageSettings) -> PartSettings:
        """What the stage makes small."""
        if stage.label_smoothing is None:
            return self.loss
        return replace(self.loss, parameters={**self.loss.parameters, "label_smoothing": stage.label_smoothing})

    def geometry_of(self, stage: StageSettings) -> Geometry:
        """How a file becomes an image that trains in the stage."""
        whole = self.data.geometry
        return whole if stage.image_size is None else replace(whole, size=_size(stage.image_size))

    def fits(self, stage: StageSettings) -> bool:
        """Whether a stage fits the head, and trains nothing."""
        if stage.train == "auto":
            return not self.model.trainable and registry.get("head", self.head.name).details["fit"] is not None
        return stage.train == "fit"


def _size(image_size: int | list[int]) -> tuple[int, int]:
    return (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])

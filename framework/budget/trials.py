"""What is tried, as the overrides of ordinary runs; what a person has given holds for all and is never varied.

But for the seed: a given one is that of the first runs, from which those of further ones count on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Lines = tuple[str, ...]

HIDDEN: Lines = ("head=mlp", "head.dropout=0.2")
HEADS: tuple[Lines, ...] = (
    ("head=dense", "optim.lr=0.01"),
    ("head=dense", "optim.lr=0.003"),
    (*HIDDEN, "optim.lr=0.003"),
)
HEAD_EPOCHS = 20
SEED = "trainer.seed"
LAYERS_OF_A_BLOCK = 4


class Last(NamedTuple):
    """A run of the last layers.

    Attributes:
        layers: how many, of those with weights.
        lines: which head, on which images.
        passes: of the layers below over all images, by which the features are computed.
    """

    layers: int
    lines: Lines
    passes: int = 1


# those of one depth share their features
LAST = (
    Last(8, HIDDEN),
    Last(8, ("head=dense",)),
    Last(16, (*HIDDEN, "augment=crop", "augment.copies=4"), passes=4),
    Last(8, (*HIDDEN, "loss.label_smoothing=0.1")),
    Last(16, ("head=dense",)),
)
MOST_MORE = 6  # runs of last layers beside the first
# of everything: with fewer than enough of them in its share, runs of last layers make the better ensemble, and come first
FEWEST_EPOCHS, ENOUGH_EPOCHS, MOST_EPOCHS = 4, 8, 20
MOST_RUNS = 4
# blended images need labels that the loss can blend, are not kept, and no teacher is asked about them: where a person has said
# something of these, they are left out
NOT_BESIDE = {"stages.all.mixup": ("augment", "distill", "loss")}
# stages.all.lr that serves a network of so many parameters, and the highest; docs/measurements.md
RATE, PARAMETERS = 0.005, 220_000
# an epoch of a training takes so much longer than one on noise: images are varied, weights averaged
SLOWER = 1.3


def heads(base: Lines, seconds: float) -> list[Lines]:
    """Heads on a frozen base, whose features are computed once."""
    common = ("optim.schedule=cosine", f"trainer.epochs={HEAD_EPOCHS}", *limited(seconds))
    return [(*base, *head, *common) for head in HEADS]


def last(variant: int) -> Last:
    """Each of ``LAST`` in turn."""
    return LAST[variant % len(LAST)]


def last_layers(base: Lines, blocks: bool, seconds: float, seed: int, variant: int = 0) -> list[Lines]:
    """The base's last layers too, the head first: what lies below them is still computed once.

    Args:
        base: what chooses the base.
        blocks: whether ``last:N`` counts blocks of it, of which each has several layers with weights.
        seconds: that the run may take.
        seed: of the first variant.
        variant: which of ``LAST`` in turn, each with a seed of its own: runs that differ make a better ensemble.
    """
    count, more, _ = last(variant)
    stages = (
        "stages=finetune",
        f"stages.finetune.train=last:{count // (LAYERS_OF_A_BLOCK if blocks else 1)}",
        "stages.head.epochs=5",
        "stages.head.lr=0.01",
        "stages.finetune.epochs=20",
        "stages.finetune.lr=0.001",
    )
    return [(*base, *more, *stages, "optim.schedule=cosine", *limited(seconds), f"{SEED}={seed + variant}")]


def everything(base: Lines, parameters: int, epochs: int, seconds: float, seed: int, runs: int) -> list[Lines]:
    """The whole network, head first, on varied and blended images with soft labels, its weights averaged.

    Args:
        base: what chooses the base.
        parameters: how many the network has.
        epochs: of all of it.
        seconds: that a run may take.
        seed: of the first run; those of further ones count on from it.
        runs: how many.
    """
    # Adam's best rate falls as a network gets wider, whose parameters grow by the square of that: Yang et al., 2022,
    # https://arxiv.org/abs/2203.03466
    rate = RATE * min(math.sqrt(PARAMETERS / parameters), 1.0)
    common = (
        *base,
        "head=dense",
        "stages=head_then_all",
        "stages.head.epochs=2",
        "stages.head.lr=0.005",
        f"stages.all.epochs={epochs}",
        f"stages.all.lr={rate:.2g}",
        "stages.all.batch_norm=train",
        "stages.all.mixup=0.2",
        "augment=crop",
        "optim.schedule=warmup_cosine",
        "optim.schedule.warmup_epochs=1.5",
        "loss.label_smoothing=0.1",
        *limited(seconds, "weight_averaging"),
    )
    return [(*common, f"{SEED}={seed + number}") for number in range(runs)]


def from_scratch(base: Lines, seconds: float) -> list[Lines]:
    """Without weights of before: the small network, on images as they are and on varied ones."""
    common = ("optim.schedule=cosine", "trainer.epochs=30", *limited(seconds))
    return [(*base, f"augment={augment}", *common) for augment in ("none", "light")]


def limited(seconds: float, *callbacks: str) -> Lines:
    """Callbacks by which a run ends, finished, within its time."""
    return (
        f"callbacks=[{','.join(('default', *callbacks, 'time_limit'))}]",
        f"callbacks.time_limit.seconds={seconds:.0f}",
    )


def epochs_that_fit(usable: float, epoch: float, fewest: int) -> tuple[int, int]:
    """How many runs of everything, and of how many epochs each; 0 runs where fewer epochs than these fit.

    Args:
        usable: seconds.
        epoch: seconds of an epoch on noise.
        fewest: epochs that are worth a run.
    """
    each = epoch * SLOWER
    fit = math.floor(usable / each) - 1
    if fit < fewest:
        return 0, 0
    runs = min(MOST_RUNS, max(1, fit // (MOST_EPOCHS + 1)))
    return runs, min(MOST_EPOCHS, fit // runs)


def merged(given: Iterable[str], tried: Iterable[Sequence[str]]) -> list[Lines]:
    """What is tried behind what is given, without keys that are given but for the seed, each combination once.

    A group that is given takes all keys below it along: ``optim=sgd`` leaves out ``optim.lr``.
    """
    given = tuple(given)
    names = {_name(line) for line in given} - {SEED}

    def is_free(name: str) -> bool:
        apart = NOT_BESIDE.get(name, ())
        return not any(_is_within(name, other) or any(_is_within(other, group) for group in apart) for other in names)

    def whole(lines: Sequence[str]) -> Lines:
        own = [line for line in lines if is_free(_name(line))]
        seeded = any(_name(line) == SEED for line in own)
        return (*(line for line in given if not (seeded and _name(line) == SEED)), *own)

    return list(dict.fromkeys(map(whole, tried)))


def _name(line: str) -> str:
    return line.partition("=")[0].lstrip("+~").replace("/", ".")


def _is_within(name: str, given: str) -> bool:
    return f"{name}.".startswith(f"{given}.")

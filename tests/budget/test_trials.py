"""What is tried within a budget: what a person has given holds, and no more is planned than fits."""

from __future__ import annotations

import pytest

from framework.budget import trials
from framework.budget.asked import refuse_short
from framework.core.errors import BadInput
from tests.options.made import settings


def test_what_is_given_is_not_varied():
    found = trials.merged(["data.dir=photos", "optim.lr=0.1"], trials.heads(("model=mobilenet",), 60))
    common = ("data.dir=photos", "optim.lr=0.1", "model=mobilenet")
    ends = (
        "optim.schedule=cosine",
        "trainer.epochs=20",
        "callbacks=[default,time_limit]",
        "callbacks.time_limit.seconds=60",
    )
    assert found == [(*common, "head=dense", *ends), (*common, "head=mlp", "head.dropout=0.2", *ends)]
    found = trials.merged(["optim=sgd", "stages=default"], trials.everything(("model=cnn",), 10**5, 5, 60, 1, 2))
    assert not any("optim." in line or line.startswith("stages.") for line in found[0][2:])
    assert [lines[-1] for lines in found] == ["trainer.seed=1", "trainer.seed=2"]
    found = trials.merged(["trainer.seed=7"], trials.everything(("model=cnn",), 10**5, 5, 60, 7, 2))
    assert [[line for line in lines if "seed" in line] for lines in found] == [["trainer.seed=7"], ["trainer.seed=8"]]
    (heads,) = {lines[0] for lines in trials.merged(["trainer.seed=7"], trials.heads(("model=cnn",), 60))}
    assert heads == "trainer.seed=7"


@pytest.mark.parametrize(
    "lines",
    [
        *trials.heads((), 60),
        *(lines for variant in range(5) for lines in trials.last_layers((), variant > 2, 50.4, 1, variant)),
        *trials.everything((), 10**5, 12, 300, 1, 1),
        *trials.from_scratch((), 40),
    ],
)
def test_each_is_a_run_that_there_can_be(lines):
    made = settings("model=mobilenet", "data=image_folder", "data.dir=photos", *lines)
    assert made.epochs > 1


@pytest.mark.parametrize("given", ["augment.copies=4", "augment=light", "distill.from=runs/one", "loss=focal"])
def test_images_are_not_blended_beside_what_that_does_not_go_with(given):
    (plain,) = trials.merged([], trials.everything((), 10**5, 12, 300, 1, 1))
    (found,) = trials.merged([given], trials.everything((), 10**5, 12, 300, 1, 1))
    assert "stages.all.mixup=0.2" in plain
    assert "stages.all.mixup=0.2" not in found
    assert "stages.all.batch_norm=train" in found


@pytest.mark.parametrize(
    ("parameters", "rate"), [(1000, 0.005), (221_114, 0.005), (3_500_000, 0.0013), (86_000_000, 0.00025)]
)
def test_a_large_network_changes_at_a_lower_rate(parameters, rate):
    (found,) = trials.everything((), parameters, 12, 300, 1, 1)
    assert f"stages.all.lr={rate}" in found


def test_of_a_transformer_the_last_blocks_are_fewer():
    for blocks, count in ((False, 8), (True, 2)):
        assert f"stages.finetune.train=last:{count}" in trials.last_layers((), blocks, 60, 1)[0]


@pytest.mark.parametrize(
    ("usable", "epoch", "expected"),
    # 13 s an epoch, one of them for what is not an epoch
    [
        (60, 10, (0, 0)),
        (64, 10, (0, 0)),
        (66, 10, (1, 4)),
        (13 * 21, 10, (1, 20)),
        (13 * 43, 10, (2, 20)),
        (1e9, 10, (4, 20)),
    ],
)
def test_so_many_epochs_fit(usable, epoch, expected):
    runs, epochs = trials.epochs_that_fit(usable, epoch, 4)
    assert (runs, epochs) == expected
    assert runs * epochs * epoch * trials.SLOWER <= usable


def test_a_budget_too_short_for_one_run_is_refused():
    refuse_short(60, 3409, "budget=60s")
    with pytest.raises(BadInput, match="5 s are too short for one run on 3,409 images") as error:
        refuse_short(5, 3409, "budget=5s")
    assert error.value.problems[0].right == "budget=1m"
    with pytest.raises(BadInput) as error:
        refuse_short(60, 200_000, "budget=60s")
    assert error.value.problems[0].right == "budget=5m"

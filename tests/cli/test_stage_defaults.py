"""``stage`` is what every stage has unless it says otherwise: each of its keys takes effect, or is refused."""

import pytest

import framework.parts  # noqa: F401
from framework.cli.compose import compose, opened
from framework.config.checks import read_settings
from framework.config.settings import StageSettings
from framework.core import schema

FROZEN = ["model=mobilenet", "model.weights=null"]
TAKEN = {
    "train": "head",
    "epochs": 3,
    "lr": 0.5,
    "lr_factor": 0.5,
    "layer_decay": 0.5,
    "batch_norm": "train",
    "rank": 4,
    "targets": ["key"],
    "image_size": [64, 48],
    "label_smoothing": 0.1,
    "mixup": 0.2,
}
OF_LORA = ("rank", "targets")


def read(*overrides):
    return read_settings(compose(opened(overrides)).config)


def said(*overrides):
    return [problem.what for problem in read(*overrides)[1]]


def test_every_key_is_looked_at():
    assert TAKEN.keys() == schema.fields(StageSettings).keys()


@pytest.mark.parametrize("key", TAKEN)
def test_each_key_reaches_the_shipped_stage(key):
    """The small network trains its base, so that all keys mean something."""
    settings, problems = read(f"stage.{key}={schema.show(TAKEN[key])}", *["stage.train=lora"] * (key in OF_LORA))
    assert problems == []
    assert getattr(settings.stages["main"], key) == TAKEN[key]


@pytest.mark.parametrize(("key", "value"), [("epochs", 7), ("lr", 0.25), ("layer_decay", 0.5), ("batch_norm", "train")])
def test_a_stage_s_own_value_comes_first(key, value):
    own = "null" if key in ("epochs", "lr", "layer_decay") else "inference"
    settings, problems = read("stages=head_then_all", f"stages.head.{key}={own}", f"stage.{key}={value}")
    assert problems == []
    assert schema.show(getattr(settings.stages["head"], key)) == own
    assert getattr(settings.stages["all"], key) == value


def test_what_no_stage_takes_is_refused():
    assert said("stages=head_then_all", "stage.train=head") == [
        "stage.train=head changes nothing: each stage says its own train"
    ]
    assert said(*FROZEN, "stage.layer_decay=0.9") == ["stage.layer_decay=0.9 changes nothing: only the head is trained"]
    assert said(*FROZEN, "stage.batch_norm=train") == [
        "stage.batch_norm=train changes nothing: only the head is trained"
    ]
    for line in ("stage.rank=4", "stage.targets=[key]"):
        (found,) = said(line)
        assert found.startswith(f"{line} changes nothing")
    assert said("stage.lr=0.1", "stage.lr_factor=0.5") == ["stage.lr_factor=0.5 changes nothing: lr says the rate"]
    assert said("stages=head_then_all", "stages.head.layer_decay=0.9") == [
        "stages.head.layer_decay=0.9 changes nothing: only the head is trained"
    ]
    assert said("stages=finetune", "stages.finetune.train=last:0", "stages.finetune.batch_norm=train") == [
        "stages.finetune.batch_norm=train changes nothing: only the head is trained"
    ]


def test_a_frozen_base_keeps_its_statistics_and_asking_for_that_is_right():
    assert said(*FROZEN, "stage.batch_norm=inference") == []


def test_a_size_has_one_side_or_two():
    assert said("stages.main.image_size=[8,8,8]") == [
        "stages.main.image_size=[8,8,8] is neither one side nor [height,width]"
    ]

"""Trainer, stages and the cache: what their keys do to a tiny training."""

from __future__ import annotations

import json

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.training.progress import Progress
from framework.training.state import State
from tests.evaluation.common import make_run
from tests.options.counted import effect, effects
from tests.options.made import SMALL, prepared, settings, trained


def rows(trainer):
    """Stage, epoch and rate of each row of the history."""
    return [(row["stage"], row["epoch"], pytest.approx(row["learning_rate"])) for row in trainer.history]


@effect("trainer.epochs", "trainer.batch_size", "optim.lr")
def test_so_many_epochs_of_so_large_batches_at_this_rate(photos, tmp_path, eager):
    trainer = trained(photos, tmp_path, "trainer.epochs=2", "trainer.batch_size=10", "optim.lr=0.3")
    assert rows(trainer) == [("main", 1, 0.3), ("main", 2, 0.3)]
    assert int(trainer.network.model.optimizer.iterations) == 2 * 3


@effect("trainer.gradient_accumulation_steps")
def test_gradients_of_small_batches_move_weights_as_one_large_batch_does(photos, tmp_path, eager):
    def after(name, *overrides):
        trainer = trained(photos, tmp_path / name, "trainer.epochs=2", "optim.lr=0.01", *overrides)
        assert int(trainer.network.model.optimizer.iterations) == 2 * 3
        return [np.array(weight) for weight in trainer.network.model.trainable_weights], trainer.history

    small, of_small = after("small", "trainer.batch_size=4", "trainer.gradient_accumulation_steps=2")
    large, of_large = after("large", "trainer.batch_size=8")
    for one, other in zip(small, large, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert [row["loss"] for row in of_small] == pytest.approx([row["loss"] for row in of_large], rel=1e-4)


@effect("trainer.precision")
def test_layers_compute_in_the_precision_and_logits_are_whole(photos, tmp_path):
    for precision, computed in (("float32", "float32"), ("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")):
        model = prepared(photos, tmp_path / precision, f"trainer.precision={precision}").network.model
        conv = model.get_layer("block1_conv1")
        assert (conv.compute_dtype, conv.kernel.dtype, model.output.dtype) == (computed, "float32", "float32")


FROZEN = ("model.trainable=false", "pooling=flatten")


def features(trainer):
    """Kept features of the first training images, and whether they have no more digits than bfloat16."""
    values = np.asarray(trainer.inputs.build(trainer.stages[0]).train.read(np.arange(5)), np.float32)
    return values, np.all(values.view(np.uint32) & 0xFFFF == 0)


@effect("trainer.feature_precision")
def test_the_frozen_part_computes_in_its_own_precision(photos, tmp_path):
    for precision in ("float32", "bfloat16"):
        _, short = features(prepared(photos, tmp_path / precision, *FROZEN, f"trainer.feature_precision={precision}"))
        assert short == (precision == "bfloat16")


@effect("trainer.seed")
def test_a_seed_gives_weights_and_order(photos, tmp_path):
    def begun(name, seed):
        trainer = prepared(photos, tmp_path / name, f"trainer.seed={seed}", "trainer.batch_size=24")
        kernel = np.array(trainer.network.model.get_layer("block1_conv1").kernel)
        inputs = trainer.inputs.build(trainer.stages[0])
        _, labels = next(iter(trainer.batches(inputs)))
        return kernel, np.array(labels)

    for one, again, other in zip(begun("one", 1), begun("again", 1), begun("other", 2), strict=True):
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)


@effect("trainer.deterministic")
def test_operations_are_made_deterministic_or_not(photos, tmp_path):
    from tensorflow.python.framework import config

    before = config.is_op_determinism_enabled()
    try:
        config.disable_op_determinism()
        for wanted in (False, True):
            prepared(photos, tmp_path / str(wanted), f"trainer.deterministic={str(wanted).lower()}")
            assert config.is_op_determinism_enabled() == wanted
    finally:
        (config.enable_op_determinism if before else config.disable_op_determinism)()


@effect("trainer.save_steps", "trainer.steps_per_execution")
@pytest.mark.parametrize(
    ("overrides", "looks", "saves"),
    [
        (["trainer.save_steps=2"], [1] * 6, [(0, 2), (0, 4), (1, 0), (1, 0)]),
        (["trainer.steps_per_execution=4"], [4, 2], [(1, 0)]),
    ],
)
def test_so_many_steps_lie_between_two_looks_and_two_states(
    photos, tmp_path, eager, monkeypatch, overrides, looks, saves
):
    seen, saved, write = [], [], State.write
    monkeypatch.setattr(Progress, "step", lambda self, epoch, count, loss: seen.append(count))
    monkeypatch.setattr(
        State, "write", lambda state, path: (saved.append((state.epoch, state.step)), write(state, path))
    )
    trained(photos, tmp_path, "trainer.batch_size=4", *overrides)
    assert seen == looks
    assert saved == saves


DEEP = ("model.filters=[2,3]", "trainer.batch_size=24", "optim.lr=0.1")


def weights(trainer):
    return {layer.name: [np.array(weight) for weight in layer.weights] for layer in trainer.network.model.layers}


def moved(trainer):
    """By how much each weighted layer's kernel moves in the fit's training."""
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    return {name: np.abs(after[name][0] - before[name][0]).sum() for name in before if before[name]}


TARGETS = {
    "head": {"logits"},
    "all": {"block1_conv1", "block2_conv1", "logits"},
    "from:block2": {"block2_conv1", "logits"},
    "last:1": {"block2_conv1", "logits"},
}


@effect("stage.train")
@pytest.mark.parametrize(
    ("trainable", "target"), [("true", "head"), ("false", "all"), ("true", "from:block2"), ("false", "last:1")]
)
@pytest.mark.parametrize("node", ["stage", "stages.main"])
def test_a_stage_trains_what_is_named(photos, tmp_path, node, target, trainable):
    trainer = prepared(photos, tmp_path, *DEEP, f"{node}.train={target}", f"model.trainable={trainable}")
    (stage,) = trainer.stages
    assert stage.trained & TARGETS["all"] == TARGETS[target]


@effect("stages=default")
@pytest.mark.parametrize(("trainable", "expected"), [("true", "all"), ("false", "head")])
def test_the_one_stage_trains_what_the_base_allows_and_nothing_else_changes(
    photos, tmp_path, eager, trainable, expected
):
    trainer = prepared(photos, tmp_path, *DEEP, "stages=default", f"model.trainable={trainable}")
    assert {name for name, far in moved(trainer).items() if far} == TARGETS[expected]
    assert rows(trainer) == [("main", 1, 0.1)]


@effect("stage.epochs", "stage.lr", "stage.lr_factor")
@pytest.mark.parametrize("node", ["stage", "stages.main"])
@pytest.mark.parametrize(("key", "value", "rate"), [("lr", 0.7, 0.7), ("lr_factor", 0.5, 0.05)])
def test_a_stage_has_its_epochs_and_rate(photos, tmp_path, eager, node, key, value, rate):
    trainer = trained(photos, tmp_path, *DEEP, f"{node}.epochs=2", f"{node}.{key}={value}")
    assert rows(trainer) == [("main", 1, rate), ("main", 2, rate)]


@effect("stage.layer_decay")
@pytest.mark.parametrize(("node", "optimizer"), [("stage", "sgd"), ("stages.main", "adam")])
def test_each_layer_below_the_head_has_its_share_of_the_rate(photos, tmp_path, eager, node, optimizer):
    given = (*DEEP, f"optim={optimizer}", "optim.lr=0.01")
    plain = moved(prepared(photos, tmp_path / "plain", *given))
    found = moved(prepared(photos, tmp_path / "decay", *given, f"{node}.layer_decay=0.5"))
    shares = {name: found[name] / plain[name] for name in plain}
    assert shares == pytest.approx({"block1_conv1": 0.25, "block2_conv1": 0.5, "logits": 1.0}, rel=0.01)


@effect("stage.batch_norm")
@pytest.mark.parametrize(
    ("node", "kind", "pretrained", "renewed"),
    [
        ("stage", "train", True, True),
        ("stages.main", "inference", False, False),
        ("stage", "auto", False, True),
        ("stage", "auto", True, False),
    ],
)
def test_batch_statistics_are_kept_or_renewed(photos, tmp_path, eager, node, kind, pretrained, renewed):
    given = (*DEEP, "model.normalization=batch", f"{node}.batch_norm={kind}")
    trainer = prepared(photos, tmp_path / "run", *given)
    if pretrained:
        trainer.network.model.save(tmp_path / "weights.keras")
        trainer = prepared(photos, tmp_path / "run", *given, f"model.weights={tmp_path / 'weights.keras'}")
    layer = trainer.network.model.get_layer("block1_norm1")
    before = np.array(layer.moving_mean)
    trainer.train()
    assert renewed != np.array_equal(before, np.array(layer.moving_mean))


@effect("stages=head_then_all")
def test_the_head_and_then_everything_at_a_tenth_of_the_rate(photos, tmp_path, eager):
    trainer = trained(photos, tmp_path / "usual", *DEEP, "stages=head_then_all", "stages.head.epochs=2")
    assert rows(trainer) == [("head", 1, 0.1), ("head", 2, 0.1), ("all", 3, 0.01)]
    assert [stage.trained & TARGETS["all"] for stage in trainer.stages] == [TARGETS["head"], TARGETS["all"]]
    given = ("stages=head_then_all", "stages.head.train=last:1", "stages.all.train=head", "stages.all.lr_factor=0.5")
    trainer = prepared(photos, tmp_path / "other", *DEEP, *given)
    assert [stage.trained & TARGETS["all"] for stage in trainer.stages] == [TARGETS["last:1"], TARGETS["head"]]
    assert [stage.lr for stage in trainer.stages] == pytest.approx([0.1, 0.05])


@effect("stages=finetune")
def test_the_head_and_then_the_base_from_a_block_up_at_a_tenth_of_the_rate(photos, tmp_path):
    given = ("stages=finetune", "stages.finetune.train=from:block2")
    trainer = prepared(photos, tmp_path / "usual", *DEEP, *given)
    assert [stage.name for stage in trainer.stages] == ["head", "finetune"]
    assert [stage.trained & TARGETS["all"] for stage in trainer.stages] == [TARGETS["head"], TARGETS["from:block2"]]
    assert [stage.lr for stage in trainer.stages] == pytest.approx([0.1, 0.01])
    trainer = prepared(photos, tmp_path / "other", *DEEP, *given, "stages.finetune.lr_factor=0.5")
    assert trainer.stages[1].lr == pytest.approx(0.05)


def kept(folder):
    """What is kept in a cache folder: for each network the bytes of its features, and their dtype."""
    found = {}
    for index in folder.glob("*/*.json"):
        if index.name != "key.json":
            content = json.loads(index.read_text())
            found[index.parent.name] = (content["bytes"], content["dtype"])
    return found


@effects("choice, expected", {
    "cache=auto": ("cache=auto", {"computed": 36}),
    "cache=off": ("cache=off", None),
    "cache.use": ("cache.use='off'", None),
})  # fmt: skip
def test_features_are_kept_or_not(photos, tmp_path, eager, choice, expected):
    folder = tmp_path / "cache"
    trainer = trained(photos, tmp_path / "run", *FROZEN, choice, f"cache.dir={folder}")
    assert len(trainer.history) == 1
    features = trainer.recorder.noted.get("features")
    assert (features and {"computed": features["computed"]}) == expected
    assert len(kept(folder)) == (1 if expected else 0)


@effect("cache=only")
def test_the_cache_is_filled_and_nothing_is_trained(photos, tmp_path):
    from framework.runs.run import Run

    given = (*SMALL, *FROZEN, f"data.dir={photos}", "cache=only", f"cache.dir={tmp_path / 'cache'}")
    run = RunFolder(tmp_path / "run")
    Run(Job(settings(*given), "", run.path, given)).train()
    assert len(kept(tmp_path / "cache")) == 1
    assert run.read_run()["status"] == "finished"
    assert not run.model.exists()
    assert not run.history.exists()


@effect("cache.dir", "cache.dtype")
def test_features_lie_where_and_as_they_are_told(photos, tmp_path):
    for dtype, bytes_each in (("float32", 4), ("float16", 2), ("bfloat16", 2)):
        folder = tmp_path / dtype
        trainer = prepared(photos, tmp_path / f"run-{dtype}", *FROZEN, f"cache.dir={folder}", f"cache.dtype={dtype}")
        features(trainer)
        ((size, found),) = kept(folder).values()
        # 4 by 4 places of 2 channels
        assert (size, found) == (36 * 32 * bytes_each, dtype)


@effect("cache.size_limit")
def test_the_least_recently_used_features_go_beyond_the_limit(photos, tmp_path):
    folder = tmp_path / "cache"
    given = (*FROZEN, f"cache.dir={folder}")
    features(prepared(photos, tmp_path / "first", *given))
    (first,) = kept(folder)
    one = 36 * 32 * 4 / 2**30
    features(prepared(photos, tmp_path / "both", *given, "model.filters=[1]"))
    assert first in kept(folder)
    assert len(kept(folder)) == 2
    features(prepared(photos, tmp_path / "third", *given, "model.activation=tanh", f"cache.size_limit={1.2 * one}"))
    assert first not in kept(folder)
    assert len(kept(folder)) == 1
    with pytest.raises(BadInput, match="more than the cache may hold"):
        features(prepared(photos, tmp_path / "none", *given, "model.activation=elu", f"cache.size_limit={0.5 * one}"))


@effect("augment.copies")
def test_so_many_augmented_copies_of_each_training_image_are_kept(photos, tmp_path):
    given = (*FROZEN, "augment=light", f"cache.dir={tmp_path / 'cache'}")
    trainer = prepared(photos, tmp_path / "copies", *given, "augment.copies=3")
    inputs = trainer.inputs.build(trainer.stages[0])
    assert (len(inputs.train), len(inputs.validation), inputs.copies) == (3 * 24, 12, 3)
    first, second = (np.asarray(inputs.train.read(np.arange(24) + 24 * copy)) for copy in (0, 1))
    assert not np.allclose(first, second)
    trainer = prepared(photos, tmp_path / "anew", *given, "augment.copies=0")
    assert not trainer.inputs.build(trainer.stages[0]).cached


@effect("distill.from", "distill.temperature", "distill.weight")
@pytest.mark.parametrize(("temperature", "weight"), [(2.0, 0.25), (5.0, 1.0)])
def test_so_much_of_the_loss_is_the_distance_from_the_softened_teacher(photos, tmp_path, eager, temperature, weight):
    teacher = make_run(tmp_path / "teacher", photos)
    given = (f"distill.from={teacher}", f"distill.temperature={temperature}", f"distill.weight={weight}")
    # one step on all images: the loss is that of the first weights
    trainer = trained(photos, tmp_path / "run", "trainer.batch_size=24", "optim.lr=0.0000001", *given)
    inputs = trainer.inputs.build(trainer.stages[0])
    labels, logits = trainer.experiment.images.splits["train"].labels, inputs.answers
    found = np.asarray(trainer.network.model(np.asarray(inputs.train.read(np.arange(24)), np.float32)), np.float64)
    task = trainer.experiment.task
    p, q = task.probabilities(logits / temperature), task.probabilities(found / temperature)
    far = temperature**2 * (p * np.log(p / q)).sum(1).mean()
    (row,) = trainer.history
    assert row["loss"] == pytest.approx((1 - weight) * task.surprise(found, labels) + weight * far, rel=1e-4)
    # what validates is judged by its labels alone
    validation = trainer.experiment.images.splits["validation"].labels
    assert row["val_loss"] == pytest.approx(task.surprise(trainer.answers(), validation), rel=1e-4)
    assert row["accuracy"] == pytest.approx((found.argmax(1) == labels).mean())


STAGED = ("stages=head_then_all", "stages.head.epochs=1", "stages.all.epochs=1", "stages.all.lr=0.1", "optim.lr=0.1")


@effect("stage.image_size")
@pytest.mark.parametrize("trained_size", [12, [16, 8]])
def test_images_of_a_stage_s_own_size_train_and_those_of_the_model_s_validate(photos, tmp_path, eager, trained_size):
    given = (*DEEP, *STAGED, "model.trainable=false", f"stages.all.image_size={trained_size}")
    trainer = prepared(photos, tmp_path, *given, "stages.head.image_size=10", f"cache.dir={tmp_path / 'cache'}")
    head, everything = (trainer.inputs.build(stage) for stage in trainer.stages)
    size = tuple(trained_size) if isinstance(trained_size, list) else (trained_size, trained_size)
    assert next(iter(trainer.batches(everything)))[0].shape[1:] == (*size, 3)
    assert everything.validation.read([0]).shape[1:] == (8, 8, 3)
    # a frozen base's output is kept for either size
    assert head.cached
    assert len(kept(tmp_path / "cache")) == 2
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert trainer.network.model.input_shape[1:] == (8, 8, 3)
    assert not any(np.array_equal(before[name][0], after[name][0]) for name in before if before[name])
    split, task = trainer.experiment.images.splits["validation"], trainer.experiment.task
    pixels = np.asarray(everything.validation.read(np.arange(12)), np.float32)
    logits = np.asarray(trainer.network.model(pixels))
    np.testing.assert_allclose(trainer.answers(), logits, rtol=1e-4, atol=1e-5)
    assert trainer.history[1]["val_loss"] == pytest.approx(task.surprise(logits, split.labels), rel=1e-4)
    assert trainer.history[1]["val_accuracy"] == pytest.approx((logits.argmax(1) == split.labels).mean())


@effect("stage.label_smoothing")
@pytest.mark.parametrize(("run", "stage", "expected"), [(0.0, 0.3, 0.3), (0.2, "null", 0.2), (0.2, 0.0, 0.0)])
def test_a_stage_smooths_its_labels_and_is_judged_as_the_run_is(photos, tmp_path, eager, run, stage, expected):
    one_step = ("trainer.batch_size=24", "optim.lr=0.0000001", f"loss.label_smoothing={run}")
    trainer = trained(photos, tmp_path, *one_step, f"stages.main.label_smoothing={stage}")
    rows = trainer.inputs.build(trainer.stages[0])
    task, splits = trainer.experiment.task, trainer.experiment.images.splits
    (row,) = trainer.history
    for name, images, column, smoothing in (
        ("train", rows.train, "loss", expected),
        ("validation", rows.validation, "val_loss", run),
    ):
        found = np.asarray(trainer.network.model(np.asarray(images.read(np.arange(len(images))), np.float32)))
        assert row[column] == pytest.approx(task.surprise(found, splits[name].labels, smoothing), rel=1e-4)


@effect("stage.mixup")
@pytest.mark.parametrize("augment", ["none", "mixup"])
def test_a_stage_blends_images_by_its_own_alpha_or_not_at_all(photos, tmp_path, augment):
    given = (*DEEP, *STAGED, "model.trainable=false", f"augment={augment}")
    trainer = prepared(photos, tmp_path, *given, "stages.head.mixup=0", "stages.all.mixup=1.0")
    head, everything = (trainer.inputs.build(stage) for stage in trainer.stages)
    # nothing changes the head's images, and its base is frozen
    assert head.cached

    def largest(inputs):
        return np.asarray(next(iter(trainer.batches(inputs)))[1]).max(axis=1)

    assert (largest(head) == 1).all()
    assert (largest(everything) < 0.99).any()
    assert [stage.augment.parts.keys() for stage in trainer.stages] == [set(), {"mixup"}]
    usual = prepared(photos, tmp_path / "usual", *given).stages[0].augment.parts
    assert [part.parameters["alpha"] for part in usual.values()] == [0.2] * (augment == "mixup")

"""Learning from another run's answers: what is kept of them, how a training goes on with them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.features import compute
from framework.runs import resume
from framework.runs.job import Job
from framework.runs.preflight import preflight
from framework.runs.prepare import look, network
from framework.training.distilling import record
from framework.training.trainer import Trainer
from tests.conftest import make_images
from tests.evaluation.common import colour_network, make_run
from tests.options.made import SMALL, settings
from tests.training.test_trainer import Memory, weights, without_seconds


@pytest.fixture
def made(photos, here):
    teacher = make_run(here / "teacher", photos)

    def make(*overrides, **given):
        looked = look(settings(*SMALL, f"data.dir={photos}", f"distill.from={teacher}", *overrides))
        return Trainer(looked.experiment, network(looked.experiment), data=looked.fingerprint, **given)

    return make


def test_each_image_comes_with_the_teachers_answer_to_it_as_its_file_is(made, photos, monkeypatch):
    trainer = made("augment=light", "data.class_weights=balanced")
    inputs = trainer.inputs.build(trainer.stages[0])
    pixels, (labels, answers), sample_weights = next(iter(trainer.batches(inputs)))
    assert (pixels.shape, labels.shape, answers.shape, sample_weights.shape) == ((8, 8, 8, 3), (8, 3), (8, 3), (8,))
    np.testing.assert_array_equal(np.argmax(labels, 1), np.argmax(answers, 1))
    # computed once: kept for the next training, whatever its images become; without a cache they are the same
    expected = inputs.answers
    with monkeypatch.context() as patch:
        patch.setattr(compute, "forward_of", None)
        again = made("augment=none", "distill.temperature=2.0")
        np.testing.assert_array_equal(again.inputs.build(again.stages[0]).answers, expected)
    without = made("cache=off")
    np.testing.assert_array_equal(without.inputs.build(without.stages[0]).answers, expected)


def test_on_kept_features_and_of_a_trained_base_it_goes_on_to_the_same_bits(made):
    chosen = ["stages=head_then_all", "stages.head.epochs=1", "stages.all.epochs=1", "head.dropout=0.3"]
    whole = Memory()
    trainer = made(*chosen, "trainer.save_steps=1", store=whole)
    trainer.train()
    stood = [(state.stage, state.epoch, state.step) for state in whole.states]
    for place in (stood.index(("head", 0, 2)), stood.index(("all", 1, 1))):
        again = Memory(whole.states[place])
        resumed = made(*chosen, store=again)
        resumed.train()
        assert without_seconds(again.rows) == without_seconds(whole.rows)
        for one, other in zip(weights(trainer), weights(resumed), strict=True):
            np.testing.assert_array_equal(one, other)
    # what is saved is the student alone, compiled with the loss of the labels
    trainer.network.model.save("student.keras")
    assert "teacher" not in " ".join(layer.name for layer in trainer.network.model.layers)
    assert trainer.network.model.loss.get_config()["from_logits"]


def test_a_teacher_of_something_else_is_refused_before_anything_starts(photos, here):
    others = make_images(here / "others", ("cat", "dog", "red"), count=5)
    pairs = make_run(here / "pairs", photos, colour_network(1), "binary", positive="red")
    teacher = make_run(here / "teacher", photos)

    def said(*overrides, data=photos):
        given = settings(*SMALL, f"data.dir={data}", *overrides)
        return [(problem.what, problem.where) for problem in preflight(given)]

    taught = f"distill.from={teacher}"
    assert said(taught) == []
    ((what, where),) = said(taught, data=others)
    assert what.endswith("knows other classes: blue, green, red")
    assert where == "distill.from"
    ((what, _),) = said(taught, "data.classes=[red,green,blue]")
    assert what.endswith("knows the classes in another order: blue, green, red")
    ((what, _),) = said(f"distill.from={pairs}")
    assert what.endswith("answers a binary question, and the data ask a multiclass one")
    ((what, where),) = said("distill.from=nowhere")
    assert (what, where) == (f"there is no folder {here}/nowhere", "distill.from")
    ((what, where),) = said("distill.from=latest")
    assert (what, where) == (f"there is no folder {here}/latest", "distill.from")
    RunFolder(here / "teacher").model.rename(here / "gone.keras")
    ((what, where),) = said(taught)
    assert (what, where) == ("the run has no model.keras; it is finished", "distill.from")
    (here / "gone.keras").rename(RunFolder(here / "teacher").model)
    assert said(taught, "augment=mixup") == [
        ("augmentation 'mixup' blends images, and the teacher is asked about each by itself", "augment.mixup")
    ]
    ((what, _),) = said(taught, "head=prototypes", "model.trainable=false")
    assert what.startswith("distill.from changes nothing: head 'prototypes' is fitted")
    assert said("distill.weight=0.5") == [("distill.weight=0.5 changes nothing: none teaches", "distill.weight")]


def test_a_run_goes_on_with_the_teacher_that_it_was_begun_with_alone(made, here):
    trainer = made()
    job, then = Job(trainer.settings, "", here / "run", ()), record(trainer.experiment.teacher)
    resume.refuse_teacher(job, then, record(trainer.experiment.teacher))
    resume.refuse_teacher(job, {}, then)
    teacher = trainer.experiment.teacher
    colour_network(wrong=True).save(teacher.file)
    with pytest.raises(BadInput, match="whose model is another now"):
        resume.refuse_teacher(job, then, record(teacher))

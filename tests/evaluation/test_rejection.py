"""Images of none of the classes: the threshold, what a share of validation images makes of it, and what it is worth."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.core.runs import KeptLogits, RunFolder
from framework.core.task import Multiclass, Multilabel
from framework.evaluation.familiar import Familiar
from framework.evaluation.predictions import form_of
from framework.evaluation.rejection import Rejection, asked, coverage, detection, detections, rejection, told_coverage
from framework.model.saved import Trained

TASK = Multiclass(("hat", "shoes"))


def trained(folder, logits, task=TASK, temperature=None):
    run = RunFolder(folder)
    run.write_logits(KeptLogits(np.asarray(logits, np.float32), np.zeros(len(logits), np.int32), "abc"))
    return Trained(folder / "model.keras", task, None, folder, run, temperature=temperature)


def logits_of(confidence):
    """Logits of two classes that are so sure of the first."""
    odds = np.log(confidence) - np.log1p(-np.asarray(confidence))
    return np.stack([odds, np.zeros_like(odds)], axis=1)


@pytest.mark.parametrize(("rate", "count"), [(0.01, 1), (0.02, 2), (0.025, 2), (0.5, 50)])
def test_so_many_validation_images_are_rejected(tmp_path, rate, count):
    sure = np.random.default_rng(0).permutation(np.linspace(0.5, 0.99, 100))
    found = rejection(trained(tmp_path, logits_of(sure)), rate)
    assert (found.rejected, found.images) == (count, 100)
    assert found.threshold == pytest.approx(np.sort(sure)[count], abs=1e-6)
    assert f"so are {count} of 100 validation images ({count}.0%; 95 % interval" in found.told


def test_calibrated_answers_have_a_threshold_of_their_own(tmp_path):
    sure = np.linspace(0.5, 0.99, 100)
    plain, cooled = (rejection(trained(tmp_path, logits_of(sure), temperature=one), 0.1) for one in (None, 2.0))
    assert cooled.threshold < plain.threshold
    assert cooled.rejected == plain.rejected == 10


def test_what_can_t_be_rejected(tmp_path):
    one = trained(tmp_path, logits_of([0.6] * 30))
    with pytest.raises(BadInput, match="less than one") as error:
        rejection(one, 0.02)
    assert error.value.problems[0].right.startswith("reject=0.034")
    several = trained(tmp_path, np.zeros((30, 2)), Multilabel(("hat", "shoes")))
    with pytest.raises(BadInput, match="no one answer"):
        rejection(several, 0.1)
    with pytest.raises(BadInput, match="is called 'unknown' already"):
        rejection(trained(tmp_path, np.zeros((30, 2)), Multiclass(("hat", "unknown"))), 0.1)
    with pytest.raises(BadInput, match=r"has no logits\.npz"):
        rejection(Trained(tmp_path / "m", TASK, None, tmp_path, RunFolder(tmp_path / "old")), 0.1)
    with pytest.raises(BadInput, match="from elsewhere brings none"):
        rejection(Trained(tmp_path / "m", TASK, None, tmp_path), 0.1)
    (tmp_path / "logits.npz").write_text("none")
    with pytest.raises(BadInput, match="can't be read"):
        rejection(one, 0.1)


def test_unknown_is_said_in_every_form():
    form = form_of(TASK, 2, Rejection(0.8, None, 0, 10))
    known, unknown = form.predictions(["a", "b"], logits_of([0.9, 0.7]))
    assert (known.classes, unknown.classes) == (("hat",), ("unknown",))
    assert form.record(unknown)["class"] == "unknown"
    assert form.record(unknown)["top"][0]["class"] == "hat"
    assert form.row(unknown)[:2] == ["unknown", "0.700000"]
    assert form.line(unknown).startswith("unknown  hat")
    assert form.line(known).startswith("         hat")
    assert form.values(unknown)["classes"] == ["unknown"]
    assert form_of(TASK, 2).line(known).startswith("hat")


def test_accuracy_against_coverage():
    found = coverage(np.array([0.9, 0.6, 0.8, 0.8]), np.array([True, False, True, False]))
    assert found["coverage"].tolist() == [0.25, 0.75, 1]
    assert found["accuracy"].tolist() == [1, 2 / 3, 0.5]
    assert found["confidence"].tolist() == [0.9, 0.8, 0.6]
    assert told_coverage(found, (0.2, 0.5))[1] == {"coverage": 0.75, "accuracy": 2 / 3, "confidence": 0.8}


def test_how_well_unknown_images_are_told_apart():
    known = np.linspace(0.5, 1, 100)
    apart = detection(known, np.full(10, 0.2))
    assert (apart["images"], apart["auroc"], apart["detected"]) == (10, 1.0, {"0.01": 1.0, "0.02": 1.0, "0.05": 1.0})
    assert detection(known, known)["auroc"] == pytest.approx(0.5)
    assert detection(known, known)["detected"]["0.05"] == pytest.approx(0.05)


def known(confidence, distances):
    return Familiar(np.ones((3, 2), np.float16), logits_of(confidence), np.asarray(distances, np.float32))


def test_distance_rejects_the_farthest_and_either_no_more_than_asked(tmp_path):
    rng = np.random.default_rng(0)
    sure, far = rng.permutation(np.linspace(0.5, 0.99, 100)), rng.permutation(np.linspace(0, 0.5, 100))
    run = trained(tmp_path, logits_of(sure))
    found = rejection(run, 0.05, known(sure, far), "distance")
    assert (found.threshold, found.rejected, found.images) == (None, 5, 100)
    assert found.farthest == pytest.approx(np.sort(far)[94], abs=1e-6)
    assert found.told.startswith("unknown beyond a distance of 0.47")
    either = rejection(run, 0.05, known(sure, far), "either")
    assert 4 <= either.rejected <= 5  # of each so many that both together are no more
    assert either.threshold < np.sort(sure)[5]
    assert either.farthest > found.farthest
    assert " or beyond a distance of " in either.told
    with pytest.raises(BadInput, match="too few to go by confidence and distance"):
        rejection(run, 0.01, known(sure, sure), "either")
    with pytest.raises(BadInput, match="no validation images"):
        rejection(run, 0.05, known([], []), "distance")


def test_rejecting_by_something_needs_a_rate(tmp_path):
    run = trained(tmp_path, logits_of([0.6] * 30))
    assert asked(run, None, "confidence") == (None, None)
    with pytest.raises(BadInput, match="reject_by=distance says what tells unknown images"):
        asked(run, None, "distance")
    with pytest.raises(BadInput, match="a model from elsewhere brings none"):
        asked(Trained(tmp_path / "m", TASK, None, tmp_path), 0.1, "distance")


def test_an_answer_far_from_all_that_is_known_is_unknown():
    rows = np.concatenate([logits_of([0.9, 0.9, 0.6]), [[0.1], [0.4], [0.1]]], axis=1)
    said = lambda unsure: [one.classes[0] for one in form_of(TASK, 1, unsure).predictions("abc", rows)]  # noqa: E731
    assert said(Rejection(None, 0.3, 0, 10)) == ["hat", "unknown", "hat"]
    assert said(Rejection(0.8, 0.3, 0, 10)) == ["hat", "unknown", "unknown"]


def test_how_well_distance_tells_and_either():
    rng = np.random.default_rng(0)
    sure, near = rng.random(200), rng.random(200)
    # half of the unknown are unsure, the other half far: each measure alone misses half
    found = detections(sure, np.r_[np.full(50, -1), rng.random(50)], near, np.r_[rng.random(50), np.full(50, 2)])
    assert found["auroc"] == pytest.approx(0.75, abs=0.06)
    assert found["distance"]["auroc"] == pytest.approx(0.75, abs=0.06)
    assert found["either"]["auroc"] > 0.9
    assert set(found["either"]) == {"auroc", "detected"}
    assert "distance" not in detections(sure, near, None, None)

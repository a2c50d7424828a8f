"""Images of none of the classes: the threshold, what a share of validation images makes of it, and what it is worth."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.core.runs import KeptLogits, RunFolder
from framework.core.task import Multiclass, Multilabel
from framework.evaluation.predictions import form_of
from framework.evaluation.rejection import coverage, detection, rejection, told_coverage
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
    form = form_of(TASK, 2, threshold=0.8)
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

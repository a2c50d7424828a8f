import numpy as np
import pytest

import framework.parts.losses  # noqa: F401
from framework.core import registry
from framework.core.errors import BadInput
from framework.core.task import Binary, Multiclass, Multilabel
from tests.parts.options import assert_contract, assert_described, assert_light, composed, single

OPTIONS = single("loss")
CLASSES = ("hat", "shirt", "shoes")
TASKS = {
    "one_hot": Multiclass(CLASSES),
    "index": Multiclass(CLASSES, "index"),
    "binary": Binary(("no", "yes")),
    "multi_hot": Multilabel(CLASSES),
}
LABELS = {
    "one_hot": np.float32([[0, 1, 0], [1, 0, 0]]),
    "index": np.int32([1, 0]),
    "binary": np.float32([[1], [0]]),
    "multi_hot": np.float32([[1, 1, 0], [0, 0, 0]]),
}
RIGHT = {
    "one_hot": np.float32([[-1, 1, -1], [1, -1, -1]]),
    "index": np.float32([[-1, 1, -1], [1, -1, -1]]),
    "binary": np.float32([[1], [-1]]),
    "multi_hot": np.float32([[1, 1, -1], [-1, -1, -1]]),
}


def fits(part, task):
    if task.kind not in part.details["tasks"]:
        return False
    return task.kind != "multiclass" or part.name == "auto" or part.details["labels"] == task.labels


def build(name, labels, **changed):
    return registry.get("loss", name)(TASKS[labels], **{**OPTIONS[name], **changed})


def test_contract():
    assert_contract("loss", OPTIONS)
    assert_described("loss")
    assert_light("framework.parts.losses")
    assert composed("+loss=focal")["loss"]["gamma"] == 2.0


@pytest.mark.parametrize("labels", sorted(TASKS))
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_finite_and_smaller_the_surer_the_right_answer(name, labels):
    if not fits(registry.get("loss", name), TASKS[labels]):
        assert name != "auto"
        return
    loss = build(name, labels)
    values = [float(loss(LABELS[labels], sure * RIGHT[labels])) for sure in (-100, -3, -1, 0, 1, 3, 100)]
    assert np.isfinite(values).all()
    assert values == sorted(values, reverse=True)
    assert values[1] > values[2] > values[3] > values[4] > values[5]
    assert values[-1] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "same_as"),
    [
        ("one_hot", "categorical_crossentropy"),
        ("index", "sparse_categorical_crossentropy"),
        ("binary", "binary_crossentropy"),
        ("multi_hot", "binary_crossentropy"),
    ],
)
def test_auto_takes_what_fits(labels, same_as):
    auto, named = build("auto", labels), build(same_as, labels)
    assert type(auto) is type(named)
    assert float(auto(LABELS[labels], RIGHT[labels])) == float(named(LABELS[labels], RIGHT[labels]))


def test_cross_entropy_by_hand():
    logits = np.float32([[2, 0, -1], [0.5, 0, 0]])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smooth = LABELS["one_hot"] * 0.9 + 0.1 / 3
    found = build("categorical_crossentropy", "one_hot", label_smoothing=0.1)(LABELS["one_hot"], logits)
    assert float(found) == pytest.approx(-(smooth * log_p).sum(1).mean(), rel=1e-5)
    found = build("sparse_categorical_crossentropy", "index")(LABELS["index"], logits)
    assert float(found) == pytest.approx(-(LABELS["one_hot"] * log_p).sum(1).mean(), rel=1e-5)


@pytest.mark.parametrize("labels", ["one_hot", "binary", "multi_hot"])
def test_focal_without_focus_is_cross_entropy(labels):
    plain = build("focal", labels, gamma=0.0)(LABELS[labels], 2 * RIGHT[labels])
    assert float(plain) == pytest.approx(float(build("auto", labels)(LABELS[labels], 2 * RIGHT[labels])), rel=1e-4)


def test_focal_alpha_weighs_yes_against_no():
    yes, no = np.float32([[1]]), np.float32([[0]])
    loss = build("focal", "binary", alpha=0.75)
    assert float(loss(yes, -yes)) == pytest.approx(3 * float(loss(no, yes)), rel=1e-5)


def test_indices_are_not_smoothed():
    with pytest.raises(BadInput, match="class indices can't be smoothed"):
        build("auto", "index", label_smoothing=0.1)

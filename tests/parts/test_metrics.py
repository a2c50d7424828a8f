import math

import numpy as np
import pytest
import scipy.special
import sklearn.metrics

import framework.parts.losses
import framework.parts.metrics  # noqa: F401
from framework.core import registry
from framework.core.backend import keras
from framework.core.task import Binary, Multiclass, Multilabel, Regression
from framework.parts.ranking import log_odds
from tests.parts.options import assert_contract, assert_described, assert_light, composed, named

OPTIONS = named("metrics")
CLASSES = tuple("abcde")
TASKS = {
    "one_hot": Multiclass(CLASSES),
    "index": Multiclass(CLASSES, "index"),
    "binary": Binary(("no", "yes")),
    "multi_hot": Multilabel(CLASSES),
}
COUNT = 97


def build(name, labels, **changed):
    return registry.get("metric", name)(TASKS[labels], f"my_{name}", **{**OPTIONS[name], **changed})


def fits(name, labels):
    return TASKS[labels].kind in registry.get("metric", name).details["tasks"]


def made(labels, seed=0):
    """Labels as the task encodes them, their 0/1 columns, logits that are right more often than not, weights."""
    rng = np.random.default_rng(seed)
    units = TASKS[labels].units
    if labels in ("one_hot", "index"):
        index = rng.integers(0, units, COUNT)
        columns = np.eye(units)[index]
    else:
        columns = (rng.random((COUNT, units)) < 0.4).astype(float)
    logits = (rng.normal(0, 1.5, (COUNT, units)) + 2 * columns - 1).astype("float32")
    truth = index.astype("int32") if labels == "index" else columns.astype("float32")
    return truth, columns, logits, rng.random(COUNT).astype("float32") + 0.1


# what logits may be: of any size, as near each other as float32 can tell, as far apart as overflows exp, equal
KINDS = {
    "random": lambda logits: logits,
    "narrow": lambda logits: 3 + logits * np.float32(1e-5),
    "wide": lambda logits: logits * np.float32(300),
    "tied": lambda logits: np.round(logits) + 0,  # Keras takes -0 to be less than 0
    "equal": np.zeros_like,
}


def made_of(kind, labels):
    """As ``made``, with logits of this kind, or labels that are all of one class."""
    truth, columns, logits, weights = made(labels)
    if kind != "one class":
        return truth, columns, KINDS[kind](logits), weights
    one = {"index": np.zeros(COUNT, "int32"), "binary": np.ones((COUNT, 1), "float32")}
    truth = one.get(labels, np.eye(len(CLASSES), dtype="float32")[np.zeros(COUNT, int)])
    return truth, np.eye(len(CLASSES))[truth] if labels == "index" else truth.astype(float), logits, weights


def by_scikit_learn(name, labels, columns, logits, weights):
    """Each metric as scikit-learn has it, from labels and logits as they are."""
    one_of_many = labels in ("one_hot", "index")
    logits = logits.astype(float)
    number, said = columns.argmax(1), logits.argmax(1) if one_of_many else (logits > 0).astype(int)
    if name == "accuracy":
        if one_of_many:
            return sklearn.metrics.accuracy_score(number, said, sample_weight=weights)
        return np.mean(
            [
                sklearn.metrics.accuracy_score(*pair, sample_weight=weights)
                for pair in zip(columns.T, said.T, strict=True)
            ]
        )
    if name == "top_k":
        # of equal ones scikit-learn takes the last to be likelier, we the first, as argmax does
        last, order = len(CLASSES) - 1, range(len(CLASSES))
        return sklearn.metrics.top_k_accuracy_score(
            last - number, logits[:, ::-1], k=OPTIONS["top_k"]["k"], labels=order, sample_weight=weights
        )
    if name == "auc":
        areas = []
        for place, there in enumerate(columns.T):
            score = logits[:, place]
            if one_of_many:
                score = score - scipy.special.logsumexp(np.delete(logits, place, axis=1), axis=1)
            if 0 < there.sum() < len(there):
                areas.append(sklearn.metrics.roc_auc_score(there, np.round(score, 12), sample_weight=weights))
        return np.mean(areas) if areas else math.nan
    score = {"f1": "f1_score", "precision": "precision_score", "recall": "recall_score"}[name]
    more = {"zero_division": 0, "sample_weight": weights}
    if one_of_many:
        return getattr(sklearn.metrics, score)(number, said, average="macro", **more)
    if labels == "binary":
        return getattr(sklearn.metrics, score)(columns[:, 0], said[:, 0], average="binary", **more)
    occur = np.flatnonzero(columns.any(0) | said.any(0))
    return getattr(sklearn.metrics, score)(columns, said, labels=occur, average="macro", **more)


CASES = [(name, labels) for name in sorted(OPTIONS) for labels in sorted(TASKS) if fits(name, labels)]


def test_contract():
    assert_contract("metric", OPTIONS)
    assert_described("metrics")
    assert_light("framework.parts.metrics")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "one class"])
@pytest.mark.parametrize(("name", "labels"), CASES)
def test_in_batches_as_scikit_learn_all_at_once(name, labels, kind, weighted):
    truth, columns, logits, weights = made_of(kind, labels)
    metric = build(name, labels)
    for start in range(0, COUNT, 40):
        part = slice(start, start + 40)
        metric.update_state(truth[part], logits[part], weights[part] if weighted else None)
    expected = by_scikit_learn(name, labels, columns, logits, weights if weighted else np.ones(COUNT))
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert metric.name == f"my_{name}"
    metric.reset_state()
    assert float(metric.result()) == pytest.approx(math.nan if name == "auc" else 0, nan_ok=True)


@pytest.mark.parametrize(("name", "labels"), CASES)
def test_perfect_is_one_and_worst_is_none(name, labels):
    truth, columns, _, _ = made(labels)
    right = (20 * columns - 10).astype("float32")
    metric = build(name, labels, **({"k": 1} if name == "top_k" else {}))
    metric.update_state(truth, right)
    assert float(metric.result()) == pytest.approx(1)
    metric.reset_state()
    metric.update_state(truth, -right)
    assert float(metric.result()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("name", "labels"), CASES)
def test_comes_back_from_its_config(name, labels):
    truth, _, logits, _ = made(labels)
    metric = build(name, labels)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    metric.update_state(truth, logits)
    again.update_state(truth, logits)
    assert float(again.result()) == float(metric.result())
    assert again.name == metric.name


@pytest.mark.parametrize("name", ["auc", "f1", "precision", "recall"])
def test_classes_that_never_occur_do_not_count(name):
    metric = build(name, "index")
    metric.update_state(np.int32([0, 1, 0]), np.float32([[9, 0, -9, -9, -9], [0, 9, -9, -9, -9], [9, 0, -9, -9, -9]]))
    assert float(metric.result()) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
def test_answers_are_told_apart_whatever_their_size(scale):
    metric = build("auc", "binary")
    metric.update_state(np.float32([[0], [1], [0], [1]]), np.float32([[1], [2], [3], [4]]) * np.float32(scale))
    assert float(metric.result()) == pytest.approx(0.75)


def test_images_that_are_surer_than_a_probability_can_say_are_told_apart():
    metric = build("auc", "index")
    sure = np.float32([[50, 0, 0, 0, 0], [60, 0, 0, 0, 0], [70, 0, 0, 0, 0], [80, 0, 0, 0, 0]])
    metric.update_state(np.int32([1, 0, 1, 0]), sure)
    assert next(log_odds(sure)) == pytest.approx(
        [50 - math.log(4), 60 - math.log(4), 70 - math.log(4), 80 - math.log(4)]
    )
    assert float(metric.result()) == pytest.approx(0.75)


def test_what_is_tied_stays_tied_in_whatever_order_classes_are_summed():
    rng = np.random.default_rng(0)
    row = rng.normal(0, 3, 40).astype("float32")
    rows = np.stack([np.r_[row[:1], rng.permutation(row[1:])] for _ in range(500)])
    assert len(set(next(log_odds(rows)))) == 1


@pytest.mark.parametrize("name", ["auc", "top_k"])
def test_what_is_no_number_is_never_right(name):
    metric = build(name, "index")
    metric.update_state(np.int32([0, 1]), np.full((2, 5), np.nan, "float32"))
    assert not float(metric.result()) > 0.5


def test_an_epoch_s_middle_can_be_kept_and_taken_up():
    truth, _, logits, weights = made("index")
    whole, first, second = (build("auc", "index") for _ in range(3))
    whole.update_state(truth, logits, weights)
    first.update_state(truth[:60], logits[:60], weights[:60])
    for kept, variable in zip([np.asarray(variable) for variable in first.variables], second.variables, strict=True):
        variable.assign(kept)
    second.update_state(truth[60:], logits[60:], weights[60:])
    assert float(second.result()) == float(whole.result())


def test_an_epoch_of_100_000_images_takes_the_room_that_it_says():
    metric = build("auc", "index")
    for _ in range(100):
        metric.update_state(np.zeros(1000, "int32"), np.zeros((1000, 5), "float32"))
    assert sum(np.asarray(variable).nbytes for variable in metric.variables) <= 2 * 100_000 * 7 * 4 + 4


def test_more_places_than_classes():
    metric = build("top_k", "index", k=7)
    metric.update_state(np.int32([4]), np.float32([[5, 4, 3, 2, 1]]))
    assert float(metric.result()) == 1


def test_blended_labels_count_as_the_nearest_class():
    metric = build("f1", "one_hot")
    metric.update_state(np.float32([[0.7, 0.3, 0, 0, 0]]), np.float32([[1, 0, 0, 0, 0]]))
    assert float(metric.result()) == 1


def test_work_in_fit():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    fitting = [name for name in sorted(OPTIONS) if fits(name, "one_hot")]
    metrics = [build(name, "one_hot") for name in fitting]
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=metrics)
    truth, _, _, weights = made("one_hot")
    history = model.fit(np.ones((COUNT, 4), "float32"), truth, sample_weight=weights, batch_size=16, verbose=0).history
    assert {f"my_{name}" for name in fitting} <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())


def test_those_of_numbers_work_in_fit_and_are_scikit_learn_s():
    rng, task = np.random.default_rng(0), Regression(("age", "height"), mean=(2000.0, 1.7), deviation=(5.0, 0.1))
    true = rng.normal(task.mean, task.deviation, (COUNT, 2)).astype("float32")
    said = (true + rng.normal(0, task.deviation, (COUNT, 2)) / 2).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False, kernel_initializer="identity")])
    metrics = {name: registry.get("metric", name)(task, name) for name in ("mae", "rmse", "r2")}
    model.compile(
        keras.optimizers.SGD(0.0),
        registry.get("loss", "auto")(task, label_smoothing=0.0),
        metrics=list(metrics.values()),
    )
    # made before the first batch, for a run that is taken up within an epoch
    assert len(metrics["r2"].variables) == 5
    history = model.fit(said, true, batch_size=16, verbose=0).history
    expected = {
        "loss": sklearn.metrics.mean_squared_error(true / task.deviation, said / task.deviation),
        "mae": sklearn.metrics.mean_absolute_error(true, said),
        "rmse": math.sqrt(sklearn.metrics.mean_squared_error(true, said)),
        "r2": sklearn.metrics.r2_score(true, said),
    }
    assert {name: values[0] for name, values in history.items()} == pytest.approx(expected, rel=1e-3)


def test_options_compose():
    assert list(composed("+metrics=default")["metrics"]) == ["accuracy"]
    assert composed("+metrics=[accuracy,f1]")["metrics"] == {"accuracy": {"name": "accuracy"}, "f1": {"name": "f1"}}

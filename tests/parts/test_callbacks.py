import csv
import json
import math

import numpy as np
import pytest

import framework.parts.callbacks  # noqa: F401
from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.runs import RunFolder
from tests.parts.options import assert_contract, assert_described, assert_light, composed, named

OPTIONS = named("callbacks")


def build(name, path, **changed):
    return registry.get("callback", name)(RunFolder(path), **{**OPTIONS[name], **changed})


def small_model(learning_rate=0.1, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="body"), keras.layers.Dense(3, name="top")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate), loss, metrics=["accuracy"])
    return model


def small_data(count=32):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count).astype("int32")
    return (np.eye(4)[labels] + rng.normal(0, 0.3, (count, 4))).astype("float32"), labels


def fit(model, callbacks, epochs=3, **changed):
    x, y = small_data()
    given = dict(validation_data=(x, y), batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.fit(x, y, callbacks=callbacks, **{**given, **changed}).history


def drive(callback, model, values, column="val_accuracy", first=0, before_epoch=None, state=None):
    """The hooks of a run whose monitored column has these values; ends where the callback stops it."""
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    if state is not None:
        callback.set_state(json.loads(json.dumps(state)))
    for epoch, value in enumerate(values, first):
        callback.on_epoch_begin(epoch)
        if before_epoch:
            before_epoch(epoch)
        callback.on_epoch_end(epoch, {"loss": 1.0, column: value})
        if model.stop_training:
            return epoch
    return None


def number(model, value):
    """Give every weight this value, so that a file tells which epoch it holds."""
    for weight in model.weights:
        weight.assign(tf.fill(weight.shape, float(value)))


def held(path):
    return {float(array.flat[0]) for array in keras.saving.load_model(path).get_weights()}


def numbered(model):
    return lambda epoch: number(model, epoch + 1)


def test_contract():
    assert_contract("callback", OPTIONS)
    assert_described("callbacks")
    assert_light("framework.parts.callbacks")
    assert list(composed("+callbacks=default")["callbacks"]) == ["checkpoint", "stop_on_nan"]
    assert "csv" in composed("+callbacks=[default,csv]")["callbacks"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_keeps_the_protocol(name, tmp_path):
    """A Keras callback that trains; if it has a state, that survives JSON and a fresh one goes on from it."""
    if name == "mlflow":
        pytest.importorskip("mlflow")
    model, callback = small_model(), build(name, tmp_path)
    assert isinstance(callback, keras.callbacks.Callback)
    if hasattr(callback, "on_stage_begin"):
        callback.set_model(model)
        callback.on_stage_begin("main")
    assert len(fit(model, [callback])["loss"]) == 3
    assert hasattr(callback, "get_state") == hasattr(callback, "set_state")
    assert hasattr(callback, "get_arrays") == hasattr(callback, "set_arrays")
    fresh = build(name, tmp_path)
    fresh.set_params({"verbose": 0, "epochs": 3, "steps": 4})
    fresh.set_model(model)
    fresh.on_train_begin()
    if hasattr(callback, "get_state"):
        state = callback.get_state()
        fresh.set_state(json.loads(json.dumps(state)))
        assert fresh.get_state() == state
    if hasattr(callback, "get_arrays"):
        arrays = {key: np.array(array) for key, array in callback.get_arrays().items()}
        fresh.set_arrays(arrays)
        assert fresh.get_arrays().keys() == arrays.keys()
        assert all(np.array_equal(array, arrays[key]) for key, array in fresh.get_arrays().items())


class TestCheckpoint:
    def test_named_by_the_template(self, tmp_path):
        callback = build("checkpoint", tmp_path, filename="xception_v1_{epoch:02d}_{val_accuracy:.3f}")
        drive(callback, small_model(), [0.5, 0.75])
        callback.on_train_end()
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["xception_v1_02_0.750.keras"]

    def test_a_name_has_the_number_of_the_history_and_the_image(self, tmp_path):
        # 379 of 400 in float32; the history keeps 0.9475, and its image says 0.948
        callback = build("checkpoint", tmp_path, filename="{val_accuracy:.3f}")
        drive(callback, small_model(), [0.9474999904632568])
        callback.on_train_end()
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["0.948.keras"]

    def test_h5_on_request_and_without_advice(self, tmp_path, caplog):
        callback = build("checkpoint", tmp_path, filename="m_{epoch}.h5")
        drive(callback, small_model(), [0.5])
        callback.on_train_end()
        assert caplog.text == ""
        assert keras.saving.load_model(tmp_path / "checkpoints" / "m_1.h5").count_params() == 67

    def test_an_early_best_is_written_late_with_its_own_weights(self, tmp_path):
        model, callback = small_model(), build("checkpoint", tmp_path)
        drive(callback, model, [0.5, 0.9, 0.7], before_epoch=numbered(model))
        assert not (tmp_path / "checkpoints").exists()
        callback.on_train_end()
        assert held(tmp_path / "checkpoints" / "02_0.900.keras") == {2.0}
        assert float(model.weights[0][0, 0]) == 3.0
        assert (callback.best, callback.best_epoch) == (0.9, 2)
        callback.restore_best()
        assert float(model.weights[0][0, 0]) == 2.0

    @pytest.mark.parametrize(("ending", "whole"), [("keras", True), ("h5", False)])
    def test_names_the_best_epochs_file_once_it_is_written(self, tmp_path, ending, whole):
        model, callback = small_model(), build("checkpoint", tmp_path, filename=f"{{epoch}}.{ending}")
        drive(callback, model, [0.5, 0.9, 0.7], before_epoch=numbered(model))
        assert callback.best_file() is None
        callback.on_train_end()
        best = tmp_path / "checkpoints" / f"2.{ending}"
        assert callback.best_file() == (best if whole else None)
        best.unlink()
        assert callback.best_file() is None

    def test_long_epochs_are_written_at_once(self, tmp_path, monkeypatch):
        model, callback = small_model(), build("checkpoint", tmp_path)
        monkeypatch.setattr(type(callback), "INTERVAL", 0.0)
        drive(callback, model, [0.5, 0.6])
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["02_0.600.keras"]

    def test_a_late_write_still_happens_in_time(self, tmp_path, monkeypatch):
        model, callback = small_model(), build("checkpoint", tmp_path)
        drive(callback, model, [0.5])
        monkeypatch.setattr(type(callback), "INTERVAL", 0.0)
        drive(callback, model, [0.4], first=1)
        assert (tmp_path / "checkpoints" / "01_0.500.keras").exists()

    @pytest.mark.parametrize(
        ("save", "keep", "kept"),
        [
            ("best", 1, ["05"]),
            ("best", 2, ["03", "05"]),
            ("every", 2, ["04", "05"]),
            ("every", None, ["01", "02", "03", "04", "05"]),
        ],
    )
    def test_which_are_kept(self, tmp_path, save, keep, kept):
        theirs = tmp_path / "checkpoints" / "theirs.keras"
        theirs.parent.mkdir()
        theirs.touch()
        model = small_model()
        callback = build("checkpoint", tmp_path, filename="{epoch:02d}", save=save, keep=keep)
        drive(callback, model, [0.5, 0.4, 0.6, 0.65 if save == "every" else 0.6, 0.7], before_epoch=numbered(model))
        callback.on_train_end()
        theirs.unlink()
        assert sorted(file.stem for file in theirs.parent.iterdir()) == kept
        assert all(held(theirs.parent / f"{name}.keras") == {float(name)} for name in kept)

    def test_loss_is_better_when_lower(self, tmp_path):
        callback = build("checkpoint", tmp_path, monitor="val_loss", filename="{epoch}_{val_loss:.1f}")
        drive(callback, small_model(), [0.5, 0.3, 0.4], column="val_loss")
        assert (callback.best, callback.best_epoch) == (0.3, 2)
        callback = build("checkpoint", tmp_path, monitor="val_loss", mode="max", filename="{epoch}")
        drive(callback, small_model(), [0.5, 0.3, 0.4], column="val_loss")
        assert callback.best_epoch == 1

    def test_a_name_that_repeats_holds_the_better(self, tmp_path):
        model, callback = small_model(), build("checkpoint", tmp_path, filename="same", save="every", keep=None)
        drive(callback, model, [0.5, 0.9, 0.7], before_epoch=numbered(model))
        assert held(tmp_path / "checkpoints" / "same.keras") == {2.0}

    def test_epochs_that_are_not_finite_are_never_saved(self, tmp_path):
        callback = build("checkpoint", tmp_path, filename="{epoch}", save="every", keep=None)
        callback.set_model(small_model())
        callback.on_epoch_end(0, {"loss": math.nan, "val_loss": math.nan, "val_accuracy": 0.9})
        callback.on_epoch_end(1, {"loss": 1.0, "val_loss": 1.0, "val_accuracy": math.nan})
        assert callback.best is None
        callback.restore_best()
        callback.on_epoch_end(2, {"loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.1})
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["3.keras"]

    @pytest.mark.parametrize("ending", ["keras", "h5"])
    def test_goes_on_from_its_state(self, tmp_path, ending):
        model = small_model()
        callback = build("checkpoint", tmp_path, filename=f"{{epoch:02d}}.{ending}")
        drive(callback, model, [0.5, 0.9], before_epoch=numbered(model))
        state = json.loads(json.dumps(callback.get_state()))
        fresh = build("checkpoint", tmp_path, filename=f"{{epoch:02d}}.{ending}")
        fresh.set_state(state)
        drive(fresh, model, [0.8], first=2, before_epoch=numbered(model))
        fresh.restore_best()
        assert float(model.weights[0][0, 0]) == 2.0
        drive(fresh, model, [0.95], first=3, before_epoch=numbered(model))
        fresh.on_train_end()
        assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == [f"04.{ending}"]


class TestEarlyStopping:
    VALUES = (0.5, 0.4, 0.45, 0.41, 0.42, 0.39)

    def test_stops_when_patience_is_over(self, tmp_path):
        model, callback = small_model(), build("early_stopping", tmp_path, patience=3)
        assert drive(callback, model, self.VALUES, column="val_loss") == 4
        assert callback.reason == "val_loss has not improved since epoch 2"
        assert not callback.failed

    def test_a_gain_below_min_delta_does_not_count(self, tmp_path):
        callback = build("early_stopping", tmp_path, patience=1, min_delta=0.2)
        assert drive(callback, small_model(), self.VALUES, column="val_loss") == 1

    def test_a_resumed_run_stops_in_the_same_epoch(self, tmp_path):
        model, callback = small_model(), build("early_stopping", tmp_path, patience=3)
        assert drive(callback, model, self.VALUES[:3], column="val_loss") is None
        assert callback.reason is None
        fresh = build("early_stopping", tmp_path, patience=3)
        assert drive(fresh, model, self.VALUES[3:], "val_loss", first=3, state=callback.get_state()) == 4

    def test_each_stage_has_its_own_patience_and_its_own_best(self, tmp_path):
        model, callback = small_model(), build("early_stopping", tmp_path, patience=3)
        assert drive(callback, model, [0.1, 0.5, 0.5], column="val_loss") is None
        callback.on_stage_begin("second")
        for epoch, value in enumerate([0.9, 0.8, 0.8, 0.8, 0.8], 3):
            callback.on_epoch_end(epoch, {"val_loss": value})
            assert model.stop_training == (epoch == 7)
        assert callback.reason == "val_loss has not improved since epoch 5"


class TestReduceOnPlateau:
    VALUES = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)

    def rates(self, tmp_path, cut=None):
        model, callback, found = small_model(1.0), build("reduce_on_plateau", tmp_path, patience=2, cooldown=1), []
        drive(callback, model, self.VALUES[:cut], "val_loss", before_epoch=lambda _: found.append(rate(model)))
        if cut:
            fresh = build("reduce_on_plateau", tmp_path, patience=2, cooldown=1)
            state = callback.get_state()
            drive(fresh, model, self.VALUES[cut:], "val_loss", cut, lambda _: found.append(rate(model)), state)
        return found

    def test_lowers_the_rate(self, tmp_path):
        assert self.rates(tmp_path) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])

    @pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
    def test_a_resumed_run_lowers_it_in_the_same_epochs(self, tmp_path, cut):
        assert self.rates(tmp_path, cut) == self.rates(tmp_path)


def test_a_plateau_of_one_stage_is_none_of_the_next(tmp_path):
    model, callback = small_model(1.0), build("reduce_on_plateau", tmp_path, patience=2)
    drive(callback, model, [0.1, 0.1], "val_loss")
    callback.on_stage_begin("second")
    callback.on_epoch_end(2, {"val_loss": 0.9})
    callback.on_epoch_end(3, {"val_loss": 0.9})
    assert rate(model) == 1.0
    callback.on_epoch_end(4, {"val_loss": 0.9})
    assert rate(model) == pytest.approx(0.1)


def rate(model):
    return float(model.optimizer.learning_rate)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class TestCsv:
    def test_reads_like_that_of_keras(self, tmp_path):
        fit(small_model(), [build("csv", tmp_path), keras.callbacks.CSVLogger(tmp_path / "keras.csv")])
        ours, theirs = table(tmp_path / "log.csv"), table(tmp_path / "keras.csv")
        assert list(ours[0]) == list(theirs[0])
        for one, other in zip(ours, theirs, strict=True):
            assert [float(value) for value in one.values()] == pytest.approx([float(value) for value in other.values()])

    def test_goes_on_after_its_rows(self, tmp_path):
        callback = build("csv", tmp_path)
        drive(callback, small_model(), [0.1, 0.2])
        state = callback.get_state()
        drive(callback, small_model(), [0.9], first=2)
        fresh = build("csv", tmp_path)
        fresh.set_state(json.loads(json.dumps(state)))
        drive(fresh, small_model(), [0.3], first=2)
        rows = [(row["epoch"], row["val_accuracy"]) for row in table(tmp_path / "log.csv")]
        assert rows == [("0", "0.1"), ("1", "0.2"), ("2", "0.3")]


def test_tensorboard_scalars_can_be_read(tmp_path):
    callback = build("tensorboard", tmp_path)
    drive(callback, small_model(), [0.25, 0.5])
    callback.on_train_end()
    found = {}
    for file in (tmp_path / "tensorboard").rglob("events*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found[file.parent.name, value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert found == {
        ("train", "epoch_loss", 0): 1.0,
        ("train", "epoch_loss", 1): 1.0,
        ("validation", "epoch_accuracy", 0): 0.25,
        ("validation", "epoch_accuracy", 1): 0.5,
    }


class TestStopOnNan:
    def test_stops_after_the_batch(self, tmp_path):
        x, y = small_data()
        x[17] = np.inf
        callback = build("stop_on_nan", tmp_path)
        model = small_model()
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[callback]).history
        assert len(history["loss"]) == 1
        assert callback.reason == "the training loss became nan in epoch 1, batch 3"
        assert callback.failed

    def test_sees_validation_too(self, tmp_path):
        model, callback = small_model(), build("stop_on_nan", tmp_path)
        assert drive(callback, model, [0.5, math.inf, 0.4], column="val_loss") == 1
        assert callback.reason == "the validation loss became inf in epoch 2"

    def test_a_sound_run_is_left_alone(self, tmp_path):
        callback = build("stop_on_nan", tmp_path)
        assert len(fit(small_model(), [callback])["loss"]) == 3
        assert callback.reason is None


class TestWeightAveraging:
    MOMENTUM = 0.6

    def averages(self, epochs, steps):
        """Per epoch the trained weights and their average, from plain training without the callback."""
        x, y = small_data()
        model = small_model()
        average = model.get_weights()
        found, updates = [], 0
        for _ in range(epochs):
            for step in range(steps):
                part = slice(8 * step, 8 * step + 8)
                model.train_on_batch(x[part], y[part])
                momentum = min(self.MOMENTUM, (1 + updates) / (10 + updates))
                updates += 1
                average = [momentum * a + (1 - momentum) * w for a, w in zip(average, model.get_weights(), strict=True)]
            found.append((model.get_weights(), average))
        return found

    @pytest.mark.parametrize("at_once", [1, 4])
    def test_validates_and_saves_the_average_and_trains_the_weights(self, tmp_path, at_once):
        model, callback = small_model(), build("weight_averaging", tmp_path, momentum=self.MOMENTUM)
        model.compile(model.optimizer, model.loss, metrics=["accuracy"], steps_per_execution=at_once)
        seen = []
        # Stands before the averaging, as the default callbacks do.
        watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(model.get_weights()))
        history = fit(model, [watch, callback], epochs=3)
        expected = self.averages(3, 4)
        for found, (_, average) in zip(seen, expected, strict=True):
            for one, other in zip(found, average, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        for array, weight in zip(callback.get_arrays().values(), expected[-1][0], strict=True):
            np.testing.assert_allclose(array, weight, rtol=1e-4, atol=1e-6)
        assert history["val_loss"][-1] == pytest.approx(model.evaluate(*small_data(), verbose=0)[0], rel=1e-5)
        assert callback.get_state() == {"updates": 12, "in_model": True}

    @pytest.mark.slow
    def test_a_resumed_run_ends_the_same(self, tmp_path):
        whole = small_model()
        fit(whole, [build("weight_averaging", tmp_path)], epochs=4)
        model, callback = small_model(), build("weight_averaging", tmp_path)
        fit(model, [callback], epochs=2)
        fresh, going_on = build("weight_averaging", tmp_path), small_model(seed=9)
        going_on.set_weights(model.get_weights())
        fresh.set_model(going_on)
        fresh.set_state(json.loads(json.dumps(callback.get_state())))
        # The paths of a model made again in one process begin with another model name.
        fresh.set_arrays(dict(zip([w.path for w in going_on.weights], callback.get_arrays().values(), strict=True)))
        fit(going_on, [fresh], initial_epoch=2, epochs=4)
        for one, other in zip(whole.get_weights(), going_on.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_weights_join_and_leave_with_the_stages(self, tmp_path):
        model, callback = small_model(), build("weight_averaging", tmp_path)
        body, top = model.get_layer("body"), model.get_layer("top")
        loss = model.loss

        def stage(first, last, rate):
            model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
            fit(model, [callback], initial_epoch=first, epochs=last)

        body.trainable = False
        start = body.get_weights()
        stage(0, 1, 0.1)
        np.testing.assert_array_equal(body.get_weights()[0], start[0])
        assert len(callback.get_arrays()) == 2
        body.trainable, top.trainable = True, False
        averaged = top.get_weights()
        stage(1, 2, 0.1)
        np.testing.assert_array_equal(top.get_weights()[0], averaged[0])
        assert not np.array_equal(body.get_weights()[0], start[0])
        assert len(callback.get_arrays()) == 2

    def test_the_checkpoint_holds_the_average(self, tmp_path):
        model, averaging = small_model(), build("weight_averaging", tmp_path)
        checkpoint = build("checkpoint", tmp_path, filename="{epoch}", monitor="val_loss", keep=3)
        history = fit(model, [checkpoint, averaging], epochs=3)
        best = keras.saving.load_model(tmp_path / "checkpoints" / f"{checkpoint.best_epoch}.keras")
        assert best.evaluate(*small_data(), verbose=0)[0] == pytest.approx(min(history["val_loss"]), rel=1e-5)

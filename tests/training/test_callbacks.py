"""Callbacks in a run: any Keras callback trains, is told what Keras says, and lives through all stages."""

from pathlib import Path

import pytest

from framework import train
from framework.core import registry
from framework.core.backend import keras
from framework.core.runs import RunFolder

SMALL = ["model.filters=[4,8]", "data.image_size=32", "trainer.epochs=2", "trainer.batch_size=8", "data=image_folder"]
STAGES = ["stages=head_then_all", "stages.head.epochs=3", "stages.all.epochs=3"]


@pytest.fixture
def run(photos, here):
    """Trains with parts that the test registers; gives the run folder."""

    def start(*arguments, folder="run", code=0):
        given = [*SMALL, f"data.dir={photos}", f"hydra.run.dir={folder}", *arguments]
        assert train.main(given) == code
        return RunFolder(Path(folder))

    return start


HOOKS = [
    "set_params", "set_model", "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin",
    "on_train_batch_end", "on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end",
    "on_predict_begin", "on_predict_end", "on_predict_batch_begin", "on_predict_batch_end",
]  # fmt: skip


def recorder(told):
    """A Keras callback that notes which hooks it is called by, and with what."""

    def noting(hook):
        def note(self, *given):
            told.append((hook, *given))
            return getattr(keras.callbacks.Callback, hook)(self, *given)

        return note

    return type("Recorder", (keras.callbacks.Callback,), {hook: noting(hook) for hook in HOOKS})()


@pytest.mark.slow
def test_a_keras_callback_trains_and_is_told_what_one_fit_of_the_whole_run_tells(run):
    told = []
    registry.callback("terminate_on_nan")(lambda folder: keras.callbacks.TerminateOnNaN())
    registry.callback("recorder")(lambda folder: recorder(told))
    arguments = ["+callbacks.nan={name: terminate_on_nan}", "+callbacks.told={name: recorder}"]
    folder = run(*arguments, "stages=head_then_all", "stages.head.epochs=1", "stages.all.epochs=1", "cache=off")
    assert folder.read_run()["status"] == "finished"
    epoch = [
        "on_epoch_begin", *["on_train_batch_begin", "on_train_batch_end"] * 3,
        "on_test_begin", *["on_test_batch_begin", "on_test_batch_end"] * 2, "on_test_end", "on_epoch_end",
    ]  # fmt: skip
    hooks = [hook for hook, *_ in told]
    assert hooks == ["set_params", "set_model", "on_train_begin", *epoch, *epoch, "on_train_end"]
    assert told[0][1] == {"verbose": 0, "epochs": 2, "steps": 3}
    assert [given[0] for hook, *given in told if hook == "on_train_batch_end"] == [0, 1, 2] * 2
    assert [given[0] for hook, *given in told if hook == "on_epoch_begin"] == [0, 1]
    logs = [given[-1] for hook, *given in told if hook in ("on_epoch_end", "on_train_end")]
    assert all(one.keys() >= {"loss", "accuracy", "val_loss", "val_accuracy"} for one in logs)


@pytest.mark.slow
def test_terminate_on_nan_terminates(run):
    registry.callback("terminate_on_nan")(lambda folder: keras.callbacks.TerminateOnNaN())
    bad = ["optim=sgd", "optim.lr=1e38", "trainer.epochs=5", "callbacks=checkpoint"]
    folder = run(*bad, "+callbacks.nan={name: terminate_on_nan}")
    assert len(folder.read_history()) == 1


@pytest.mark.slow
def test_each_stage_has_the_whole_patience_and_the_best_model_is_that_of_the_run(run):
    """Nothing counts as better, so that each stage ends after its first epoch and two more."""
    early = ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=2"]
    early += ["callbacks.early_stopping.min_delta=100", "callbacks.checkpoint.monitor=learning_rate"]
    folder = run(*STAGES, "stages.head.epochs=9", "stages.all.epochs=9", *early)
    assert [row["stage"] for row in folder.read_history()] == ["head"] * 3 + ["all"] * 3
    assert folder.read_run()["best"]["epoch"] == 1


@pytest.mark.slow
def test_a_plateau_is_forgotten_where_a_stage_begins(run):
    slow = ["callbacks=[default,reduce_on_plateau]", "callbacks.reduce_on_plateau.patience=2"]
    slow += ["callbacks.reduce_on_plateau.min_delta=100", "stages.head.epochs=2"]
    rates = [row["learning_rate"] for row in run(*STAGES, *slow).read_history()]
    assert rates == pytest.approx([1e-3] * 2 + [1e-4] * 3)


@pytest.mark.slow
def test_without_a_checkpoint_the_model_is_the_last_epoch_and_nothing_calls_it_best(run, capsys):
    folder = run("callbacks=early_stopping", "trainer.epochs=3")
    said = capsys.readouterr().err
    assert "kept       the last epoch: no checkpoint callback keeps the best" in said
    assert "last       epoch 3 of 3" in said
    assert "\nbest " not in said
    best = folder.read_run()["best"]
    assert (best["epoch"], best["kept"]) == (3, "last")
    folder = run(folder="with")
    assert "\nbest " in capsys.readouterr().err
    assert folder.read_run()["best"]["kept"] == "best"


@pytest.mark.slow
def test_layer_decay_trains_in_a_run_and_goes_on_to_the_same_bits(run, photos):
    given = ["optim=adamw", "optim.weight_decay=0.1", "stage.layer_decay=0.5", "trainer.precision=mixed_bfloat16"]
    whole = run(*given, "trainer.epochs=4", folder="whole")
    run(*given, folder="run")
    again = run(*given, "trainer.epochs=4", "resume.allow=[trainer.epochs]", folder="run")
    rows = [[{**row, "seconds": 0} for row in one.read_history()] for one in (whole, again)]
    assert rows[0] == rows[1]
    assert rows[0] != [{**row, "seconds": 0} for row in run("trainer.epochs=4", folder="plain").read_history()]

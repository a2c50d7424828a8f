"""Trackers, each read back with its own reader."""

import json
import os

import numpy as np
import pytest

from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import RunFailed
from framework.core.runs import RunFolder
from framework.parts.tracking import hyperparameters
from tests.options.counted import effect
from tests.parts.options import named

OPTIONS = named("callbacks")


@pytest.fixture
def folder(tmp_path):
    """A run of a sweep over the rate and a flag."""
    folder = RunFolder(tmp_path / "sweep" / "optim.lr=0.1")
    folder.write_run({"overrides": ["+optim.lr=0.1", "data=garments", "model.trainable=true", "model=cnn"]})
    varied = {"varied": ["optim.lr", "model.trainable", "model"]}
    (folder.path.parent / "sweep.json").write_text(json.dumps(varied))
    return folder


def fit(folder, name, epochs=2, state=None, **changed):
    callback = registry.get("callback", name)(folder, **{**OPTIONS[name], **changed})
    if state:
        callback.set_state(state)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.zeros((4, 2), "float32")
    model.fit(x, x[:, :1], validation_data=(x, x[:, :1]), epochs=epochs, callbacks=[callback], verbose=0)
    return callback


def test_what_varies_distinguishes_a_run(folder):
    assert hyperparameters(folder) == {"optim.lr": 0.1, "model.trainable": True, "model": "cnn"}
    (folder.path.parent / "sweep.json").unlink()
    assert hyperparameters(folder)["data"] == "garments"
    assert hyperparameters(RunFolder(folder.path / "none")) == {}


def test_tensorboards_hparams_page_shows_a_run(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    fit(folder, "tensorboard")
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder.path.parent)).Reload()
    found = runs.PluginRunToTagToContent("hparams")
    content = found["optim.lr=0.1/tensorboard"][metadata.SESSION_START_INFO_TAG]
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    assert told["optim.lr"].number_value == 0.1
    assert told["model.trainable"].bool_value is True
    assert told["model"].string_value == "cnn"
    assert "epoch_mae" in runs.PluginRunToTagToContent("scalars")["optim.lr=0.1/tensorboard/validation"]


@pytest.mark.slow
@effect("callbacks=mlflow", "callbacks.mlflow.tracking_uri", "callbacks.mlflow.experiment")
def test_mlflow_keeps_choices_and_epochs_in_a_local_store(folder, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    store = str(tmp_path / "mlruns")
    callback = fit(folder, "mlflow", tracking_uri=store, experiment="rates")
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("rates").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.run_name == "optim.lr=0.1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"optim.lr": "0.1", "model.trainable": "True", "model": "cnn"}
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_mae")] == [1, 2]

    fit(folder, "mlflow", state=callback.get_state(), tracking_uri=store, experiment="rates")
    assert len(client.search_runs([experiment])) == 1
    os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)


def test_a_missing_mlflow_is_named(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(RunFailed, match="pip install 'framework\\[mlflow\\]'"):
        fit(folder, "mlflow")

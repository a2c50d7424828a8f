"""The MLflow callback's class; MLflow itself is imported when a training begins."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from framework.core.backend import keras
from framework.core.errors import RunFailed
from framework.core.runs import RunFolder
from framework.parts.tracking import hyperparameters

FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"


class MlflowRun(keras.callbacks.Callback):
    """An MLflow run for each run: its choices as parameters, each epoch's numbers as metrics, epochs counted from 1."""

    def __init__(self, folder: RunFolder, *, tracking_uri: str, experiment: str):
        super().__init__()
        self.folder, self.tracking_uri, self.experiment = folder, tracking_uri, experiment
        self.run_id: str | None = None
        self._client: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Reach the store."""
        if "://" not in self.tracking_uri:
            # MLflow discourages folders since 3.7 in favour of databases, and asks for this word
            os.environ.setdefault(FILE_STORE, "true")
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise RunFailed("callback mlflow: MLflow is not installed; pip install 'framework[mlflow]'") from None
        self._client = MlflowClient(self.tracking_uri)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Open the run, unless a resumed training has one."""
        if self.run_id is None:
            name = self.folder.path.name
            self.run_id = self._client.create_run(self._experiment_id(), run_name=name).info.run_id
            for key, value in hyperparameters(self.folder).items():
                self._client.log_param(self.run_id, key.replace("/", "."), value)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's numbers."""
        for name, value in (logs or {}).items():
            self._client.log_metric(self.run_id, name, float(value), step=epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Close the run."""
        if self.run_id is not None:
            self._client.set_terminated(self.run_id)

    def get_state(self) -> dict[str, Any]:
        """Which run it is."""
        return {"run_id": self.run_id}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with that run."""
        self.run_id = state["run_id"]

    def _experiment_id(self) -> str:
        """The experiment of this name; another process may make it at the same moment."""
        from mlflow.exceptions import MlflowException

        for _ in range(5):
            found = self._client.get_experiment_by_name(self.experiment)
            if found is not None:
                return str(found.experiment_id)
            try:
                return str(self._client.create_experiment(self.experiment))
            except MlflowException:
                time.sleep(0.2)
        raise RunFailed(f"callback mlflow: experiment '{self.experiment}' can't be made in {self.tracking_uri}")

"""Classes of the callbacks that write each epoch's numbers to files: CSV and TensorBoard."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from framework.core.backend import keras, tf
from framework.core.files import write_whole
from framework.core.runs import RunFolder
from framework.parts.callbacks import Logs, State
from framework.parts.tracking import hyperparameters


class CsvLog(keras.callbacks.Callback):
    """A file like that of Keras's CSVLogger, but whole at any moment, and continued by a resumed run."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write all rows, this epoch's last."""
        numbers = {name: float(value) for name, value in sorted((logs or {}).items())}
        self.rows.append({"epoch": epoch, **numbers})
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self.rows for name in row)
        table = csv.DictWriter(text, list(columns), restval="NA", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_whole(self.path, text.getvalue())

    def get_state(self) -> State:
        """The rows so far."""
        return {"rows": list(self.rows)}

    def set_state(self, state: State) -> None:
        """Go on after these rows."""
        self.rows = list(state["rows"])


class TensorBoardScalars(keras.callbacks.Callback):
    """Scalars as Keras's TensorBoard callback names them, nothing a batch, and no TensorBoard needed to write them.

    Training goes to ``train``, validation to ``validation`` below the run folder's ``log_dir``; the step is the epoch,
    from 0. What distinguishes the run goes to ``log_dir`` itself, for the HParams page, where TensorBoard is installed.
    A resumed run writes a further file, and TensorBoard reads both.
    """

    def __init__(self, folder: RunFolder, log_dir: str):
        super().__init__()
        self.run, self.folder = folder, folder.path / log_dir
        self._writers: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        """Write the run's choices."""
        choices = hyperparameters(self.run)
        if not choices or find_spec("tensorboard") is None:
            return
        from tensorboard.plugins.hparams import summary_v2

        with tf.summary.create_file_writer(str(self.folder)).as_default():
            # names of runs of their own: with none, equal choices would be taken for one run
            summary_v2.hparams(choices, trial_id=self.run.path.name)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the epoch's numbers."""
        from tensorflow.compat.v1 import SummaryMetadata

        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
        )
        for name, value in (logs or {}).items():
            split = "validation" if name.startswith("val_") else "train"
            if split not in self._writers:
                self._writers[split] = tf.summary.create_file_writer(str(self.folder / split))
            with self._writers[split].as_default():
                tag = f"epoch_{name.removeprefix('val_')}"
                tf.summary.write(tag, tf.constant(value, tf.float32), step=epoch, metadata=metadata)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

"""Heads on one frozen base are trained one after the other in one process, each as it would be alone."""

import csv
import io
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from framework.core.runs import RunFolder
from tests.conftest import bash
from tests.sweeps.common import sweep

TRIED = Path("sweeps/tried")
HEADS = "-m optim.lr=0.1,0.2 head=mlp head.hidden=[8] sweep.jobs=1 hydra.sweep.dir=tried"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr("framework.sweeps.summary._compare", lambda comparison, folder: None)


def processes(*rates):
    return [RunFolder(TRIED / f"optim.lr={rate}").read_run().get("process") for rate in rates]


def test_heads_share_a_process_and_each_has_its_own_log():
    assert sweep("optim.lr=0.1,0.2,0.3", "model.trainable=false", "sweep.jobs=1") == 0
    assert len(set(processes(0.1, 0.2, 0.3))) == 1
    for rate in (0.1, 0.2, 0.3):
        assert (TRIED / f"optim.lr={rate}" / "log.txt").read_text() == "working\n"


@pytest.mark.parametrize(
    "trains", ["model.trainable=true", "stages=head_then_all", "augment=light", "cache=off", "trainer.seed=1"]
)
def test_what_trains_more_than_a_head_has_a_process_of_its_own(trains):
    frozen = [] if trains.startswith("model.trainable") else ["model.trainable=false"]
    assert sweep("optim.lr=0.1,0.2", "sweep.jobs=1", *frozen, trains) == 0
    assert len(set(processes(0.1, 0.2))) == (1 if trains == "trainer.seed=1" else 2)


def test_a_run_that_is_killed_takes_no_other_of_its_process_along():
    assert sweep("optim.lr=0.1,9,0.3,0.4", "model.trainable=false", "sweep.jobs=1") == 1
    first, second, third = processes(0.1, 0.3, 0.4)
    assert first != second == third
    assert RunFolder(TRIED / "optim.lr=9").read_run()["status"] == "failed"


def history(folder):
    rows = csv.DictReader((folder / "history.csv").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def arrays(folder):
    found = {}
    with zipfile.ZipFile(folder / "model.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.slow
def test_a_head_on_a_base_that_was_there_is_to_the_bit_what_it_is_alone_and_goes_on_so(tmp_path, photos):
    from framework.core.backend import keras

    base = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)
    base.save_weights(tmp_path / "base.weights.h5")
    given = "python -m framework.train data=image_folder data.dir=photos data.image_size=32 trainer.batch_size=8 "
    given += "model=mobilenet model.alpha=0.25 model.weights=base.weights.h5 "
    for line in (
        f"{given} {HEADS} trainer.epochs=2",
        f"{given} {HEADS} trainer.epochs=4 resume.allow=[trainer.epochs]",
        f"{given} optim.lr=0.2 head=mlp head.hidden=[8] trainer.epochs=4 hydra.run.dir=alone",
    ):
        done = bash(line, tmp_path)
        assert done.returncode == 0, done.stderr
    runs = [RunFolder(tmp_path / "tried" / f"optim.lr={rate}") for rate in (0.1, 0.2)]
    assert len({run.read_run()["process"] for run in runs}) == 1
    assert history(runs[1].path) == history(tmp_path / "alone")
    assert [row["epoch"] for row in history(runs[1].path)] == ["1", "2", "3", "4"]
    one, other = arrays(runs[1].path), arrays(tmp_path / "alone")
    assert one.keys() == other.keys()
    # the optimizer's state is that of the epoch at which the file was written
    assert [name for name in one if name.startswith("layers/") and not np.array_equal(one[name], other[name])] == []

"""The lines that are measured are ones that the commands take, each once; what comes of them is told as sums by hand say."""

import importlib
from functools import partial
from pathlib import Path

import pytest

from benchmarks.techniques import FEATURES, TECHNIQUES, Bench, tables, wanted
from framework.cli.command import check
from framework.cli.options import read_options
from framework.core.runs import RunFolder
from framework.runs.preflight import Data, preflight

OF_OTHERS = ("distill.from", "data.pseudo", "hydra.run.dir")  # what is there only when others have run


@pytest.fixture
def bench(tmp_path, photos):
    return Bench(tmp_path / "runs", photos, None)


def test_every_line_is_one_that_its_command_takes(bench):
    trainings = []
    for name in TECHNIQUES:
        for command, *words in bench.words(name, 2):
            if command == "train":
                said = dict(word.split("=", 1) for word in words)
                trainings.append({"stages": "default"} | {key: said[key] for key in said if key not in OF_OTHERS})
            else:
                read_options(importlib.import_module(f"framework.{command}").Options, words, command)
    data = Data()
    while trainings:  # those that say nothing different of a key are looked at together
        together, left = {}, []
        for said in trainings:
            if all(together.get(key, value) == value for key, value in said.items()):
                together |= said
            else:
                left.append(said)
        check([f"{key}={value}" for key, value in together.items()], partial(preflight, data=data))
        trainings = left
    assert "data.classes=[blue,red]" in bench.words("unknown", 2)[0]
    assert f"data.unknown={bench.photos}/train/green" in bench.words("unknown", 2)[1]


def test_each_comes_after_those_that_it_needs():
    for name in TECHNIQUES:
        order = wanted([name])
        assert order[-1] == name
        assert all(order.index(other) < order.index(one) for one in order for other in TECHNIQUES[one].needs)
    assert wanted(["pseudo"]) == ["few", "pseudo"]
    assert wanted(["soup", "distillation"])[-3:] == ["soup", "larger", "distillation"]
    assert wanted([]) == list(TECHNIQUES)


def test_what_is_known_is_not_measured_again(bench, monkeypatch):
    asked = []

    def run(*words):
        asked.append(words)
        folder = next((word.partition("=")[2] for word in words if word.startswith("hydra.run.dir=")), None)
        if folder is not None:
            Path(folder).mkdir(parents=True)
            accuracy = 0.5 + len(asked) / 10
            RunFolder(Path(folder)).write_run({"best": {"metrics": {"val_accuracy": accuracy}}})
        return 2.5

    monkeypatch.setattr(bench, "_run", run)
    assert bench.measure("pseudo", 3) == {"processor": 5.0, "accuracy": 0.7}
    assert [command for command, *_ in asked] == ["predict", "train"]
    assert f"output={bench.folder}/pseudo/3.csv" in asked[0]
    assert f"data.pseudo={bench.folder}/pseudo/3.csv" in asked[1]
    assert bench.measure("pseudo", 3) == {"processor": 5.0, "accuracy": 0.7}
    assert bench.fill() == bench.fill() == 2.5 * len(FEATURES)
    assert len(asked) == 2 + len(FEATURES)


def test_rows_as_by_hand():
    def noted(*accuracies, **more):
        return {seed: {"accuracy": one, "processor": 12.4, **more} for seed, one in enumerate(accuracies, start=1)}

    notes = {
        "plain": noted(0.80, 0.82),
        "smoothing": noted(0.83, 0.83),
        "clipping": noted(0.70, 0.72, 0.74),
        "few": noted(0.5),
        "kept_back": noted(0.81, error=0.25),
        "unknown": noted(0.9, error=0.1, confidence=0.6, distance=0.8, either=0.7),
    }
    trained, kept_back, unknown = tables(notes).split("\n\n")
    # of two seeds Student's t is 12.706, and 0.01 to each side of the mean are its standard error
    assert trained.splitlines() == [
        "|  | given | best validation accuracy | difference | processor seconds | seeds |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| plain | `train stages.main.train=from:conv_dw_13` | 0.810 ± 0.127 |  | 12 | 2 |",
        "| smoothing | `loss.label_smoothing=0.1` | 0.830 ± 0.000 | +0.020 ± 0.127 ≈ to plain | 12 | 2 |",
        "| clipping | `optim.clipnorm=1` | 0.720 ± 0.050 | -0.100 ± 0.000 to plain | 12 | 3 |",
        "| few | `train stages.main.train=from:conv_dw_13 data.limit=600 trainer.epochs=20` | 0.500 |  | 12 | 1 |",
    ]
    assert kept_back.splitlines()[2] == "| kept_back | `evaluate run={plain} split=test` | 0.810 |  | 0.250 | 12 | 1 |"
    assert unknown.splitlines()[2].endswith("| 0.900 |  | 0.600 | 0.800 | 0.700 | 12 | 1 |")

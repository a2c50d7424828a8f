"""The best of many is measured on test images, once, and without such they are advised."""

from __future__ import annotations

import json
import shutil

import pytest

from framework import train
from framework.reports.entries import HeldOut
from framework.runs.preflight import Data
from framework.sweeps import sweep as sweeping
from framework.sweeps.folder import IndexedRun
from framework.sweeps.held_out import held_out
from framework.sweeps.request import SweepRequest
from tests.evaluation.common import make_run
from tests.options.made import settings
from tests.reports.made import make_run as make_entry


def test_a_run_is_measured_on_its_test_images_if_it_has_such(photos, tmp_path):
    run = make_run(tmp_path / "run", photos)
    assert held_out(run) is None
    shutil.copytree(photos / "validation", photos / "test")
    found = held_out(run)
    assert (found.run, found.accuracy, found.images) == ("run", 1.0, 12)
    assert found.low < 0.8 < found.high == 1.0
    assert found.told.startswith("accuracy 1.0000 on 12 images that nothing was chosen by (95 % interval 0.7")


def swept(folder, count, images):
    """A sweep of so many runs, the last one the best, and who has carried it out."""
    data = {"origin": "photos", "fingerprint": "abc", "images": {"train": 3068, "validation": 341, "test": images}}
    for number in range(count):
        make_entry(folder / str(number), [f"optim.lr=0.{number + 1:02}"], score=0.7 + number / 100, data=data)
    request = SweepRequest("tried", folder, (), ("optim.lr",), (), settings().sweep, ())
    made = sweeping.Sweep(request, lambda job: None, lambda: None)
    made.indexed = {str(number): IndexedRun(str(number), [], "finished") for number in range(count)}
    return made


@pytest.mark.parametrize(("count", "images", "best"), [(21, 90, ["20"]), (20, 90, []), (21, 0, [])])
def test_the_best_of_more_than_twenty_is_measured_once(tmp_path, monkeypatch, capsys, count, images, best):
    asked = []

    def measured(folder):
        asked.append(folder.name)
        return HeldOut(folder.name, 0.5, 0.4, 0.6, 90)

    monkeypatch.setattr(sweeping, "held_out", measured)
    monkeypatch.setattr("framework.reports.files.write", lambda comparison, folder: [])
    made = swept(tmp_path, count, images)
    made._end()
    told = "accuracy 0.5000 on 90 images that nothing was chosen by (95 % interval 0.4000 to 0.6000)"
    assert (told in " ".join(capsys.readouterr().out.split())) == bool(best)
    made = swept(tmp_path, count, images)  # the same command once more
    made._end()
    assert asked == best
    if best:
        kept = json.loads((tmp_path / "sweep.json").read_text())["test"]
        assert kept == {"run": "20", "accuracy": 0.5, "low": 0.4, "high": 0.6, "images": 90}


@pytest.mark.parametrize(("runs", "test", "said"), [(21, False, True), (20, False, False), (21, True, False)])
def test_without_test_images_they_are_advised_before_many_are_compared(photos, monkeypatch, capsys, runs, test, said):
    class Stub:
        def __init__(self, *given, **more):
            pass

        def start(self, launch):
            return 0

    monkeypatch.setattr(sweeping, "Sweep", Stub)
    if test:
        shutil.copytree(photos / "validation", photos / "test")
    first = settings("data=image_folder", f"data.dir={photos}", "sweep.seeds=2")
    assert train.sweep(None, Data(), None, first, 2 * runs) == 0
    advice = f"the best of {runs} variants is flattered by the choice, and nothing will say by how much: data.test=0.2"
    assert (advice in capsys.readouterr().err) == said

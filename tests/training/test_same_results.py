"""Nobody can tell from the results that a cache was there: cached and uncached training give the same history."""

from pathlib import Path

import pytest

from framework import train
from framework.core.backend import keras
from framework.core.runs import RunFolder
from tests.conftest import make_images

STAGES = {
    "one": [],
    "two": [
        "stages=finetune",
        "stages.finetune.train=from:conv_dw_12",
        "stages.head.epochs=4",
        "stages.finetune.epochs=6",
    ],
}


def history(*arguments) -> list[dict]:
    assert train.main([*arguments]) == 0
    folder = next(argument for argument in arguments if argument.startswith("hydra.run.dir="))
    return RunFolder(Path(folder.partition("=")[2])).read_history()


def assert_same(kept, anew, loss=1e-3):
    assert len(kept) == len(anew) == 10
    for one, other in zip(kept, anew, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=loss)
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=loss)


@pytest.mark.slow
@pytest.mark.parametrize("stages", STAGES)
def test_a_small_network(tmp_path, monkeypatch, stages):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "photos" / "train", count=16, seed=0)
    make_images(tmp_path / "photos" / "validation", count=8, seed=1)
    base = ["model=mobilenet", "model.alpha=0.25", "model.weights=null", "data.image_size=32", "trainer.batch_size=8"]
    given = [*base, "data=image_folder", f"data.dir={tmp_path}/photos", "head.hidden=[8]", "head.dropout=0.2"]
    kept = history(*given, *STAGES[stages], "stage.batch_norm=inference", "hydra.run.dir=kept")
    anew = history(*given, *STAGES[stages], "stage.batch_norm=inference", "hydra.run.dir=anew", "cache=off")
    assert RunFolder(Path("kept")).read_run()["features"]["computed"] > 0
    assert "features" not in RunFolder(Path("anew")).read_run()
    assert_same(kept, anew)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("stages", ["two"])
def test_mobilenet_on_the_real_photos(shared, tmp_path, monkeypatch, stages):
    monkeypatch.chdir(tmp_path)
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    given = ["recipe=clothing_mobilenet", f"data.dir={shared}/data/clothing", f"model.weights={weights}"]
    given += ["data.limit=96", "data.image_size=128", *STAGES[stages]]
    kept = history(*given, "hydra.run.dir=kept")
    anew = history(*given, "hydra.run.dir=anew", "cache=off")
    assert_same(kept, anew)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(("rate", "reference"), [("0.01", 0.812), ("0.001", 0.786)])
def test_the_course_model_reaches_what_a_plain_script_reaches(shared, tmp_path, monkeypatch, rate, reference):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "shared-cache"))
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    given = ["recipe=clothing_mobilenet", f"data.dir={shared}/data/clothing", f"model.weights={weights}"]
    assert train.main([*given, f"optim.lr={rate}", "hydra.run.dir=run"]) == 0
    folder = RunFolder(Path("run"))
    assert folder.read_run()["best"]["metrics"]["val_accuracy"] == pytest.approx(reference, abs=0.03)
    names = [file.name for file in folder.checkpoints.iterdir()]
    assert names[0].startswith("mobilenet_")
    assert keras.saving.load_model(folder.model).output_shape == (None, 10)


@pytest.mark.slow
def test_kept_copies_are_what_the_first_epochs_would_have_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "photos" / "train", count=8, seed=0)
    make_images(tmp_path / "photos" / "validation", count=4, seed=1)
    base = ["model=mobilenet", "model.alpha=0.25", "model.weights=null", "data.image_size=32", "trainer.batch_size=8"]
    given = [*base, "data=image_folder", f"data.dir={tmp_path}/photos", "augment=light", "trainer.epochs=10"]
    given += ["stage.batch_norm=inference", "cache.dir=cache"]
    anew = history(*given, "hydra.run.dir=anew")
    kept = history(*given, "augment.copies=10", "hydra.run.dir=kept")
    assert_same(kept, anew)
    assert RunFolder(Path("kept")).read_run()["features"]["computed"] == 10 * 24 + 12
    again = history(*given, "augment.copies=12", "hydra.run.dir=again")
    assert RunFolder(Path("again")).read_run()["features"]["computed"] == 2 * 24
    assert [row["loss"] for row in again] == [row["loss"] for row in kept]

"""Plan: what would be done, told without doing it."""

import re

import pytest

from framework import plan, train

pytestmark = pytest.mark.usefixtures("here")

SMALL = ["data=image_folder", "data.image_size=32", "trainer.batch_size=8", "trainer.epochs=2"]


def planned(capsys, *arguments):
    assert plan.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_a_wrong_command_line_is_told_before_anything(capsys):
    assert plan.main(["optm.lr=1"]) == 2
    assert "there is no key 'optm.lr'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_plan_says_what_the_run_then_does(tmp_path, photos, capsys):
    frozen = [*SMALL, f"data.dir={photos}", "model=mobilenet", "model.alpha=0.25", "model.weights=null"]
    frozen += ["model.trainable=false", "trainer.seed=3"]
    text = planned(capsys, *frozen, "hydra.run.dir=out")
    assert f"data       {photos}: 24 train, 12 validation" in text
    assert "pooling             GlobalAveragePooling2D  256" in text
    assert "trains   771 parameters; 218,544 are frozen" in text
    assert "cut      after pooling: 256 an image" in text
    assert "cache    0 of 36 kept already" in text
    assert "2 epochs of 3 steps, learning rate 0.001" in text
    assert "(an estimate)" in text
    files = re.search(r"^files {6}out/: (.*)$", text, re.MULTILINE)[1].split()
    assert {"config.yaml", "model.keras", "answers.csv", "confusion.csv", "checkpoints/"} < set(files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    assert train.main([*frozen, "hydra.run.dir=out"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {file.rstrip("/") for file in files}


@pytest.mark.slow
def test_a_sweep_has_so_many_jobs_and_a_stage_without_a_prefix_says_why(photos, capsys):
    text = planned(
        capsys,
        *SMALL,
        f"data.dir={photos}",
        "model.filters=[4]",
        "augment=light",
        "-m",
        "optim.lr=0.1,0.01,0.001",
        "trainer.seed=range(1,4)",
    )
    assert "jobs       9" in text
    assert "cut      none: nothing is kept: what trains begins at the images" in text
    assert "files      sweeps/" in text


@pytest.mark.slow
@pytest.mark.real
def test_features_that_are_kept_are_counted(shared, capsys, tmp_path):
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    real = ["recipe=clothing_mobilenet", f"data.dir={shared / 'data/clothing'}", f"model.weights={weights}"]
    real += ["data.limit=60", "model.image_size=64", "trainer.epochs=1"]
    assert "cache    0 of 120 kept already" in planned(capsys, *real, f"cache.dir={tmp_path}/cache")
    assert train.main([*real, f"cache.dir={tmp_path}/cache", "hydra.run.dir=run"]) == 0
    capsys.readouterr()
    assert "cache    120 of 120 kept already" in planned(capsys, *real, f"cache.dir={tmp_path}/cache")


@pytest.mark.slow
def test_a_search_that_is_only_looked_at_makes_no_study(photos, here, capsys):
    search = ["search=tpe", "search.trials=7", "optim.lr=interval(0.001,0.9)", "sweep.name=looked"]
    arguments = ["data=image_folder", f"data.dir={photos}", "data.image_size=16", "model.filters=[4]", *search]
    assert "jobs       7" in planned(capsys, *arguments)
    assert not (here / "sweeps").exists()

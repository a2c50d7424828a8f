"""Features as a file: what is in it, and what is told."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from benchmarks import kills, worker_kills
from framework import embed, evaluate, train
from framework.core.backend import keras
from framework.core.runs import RunFolder
from framework.data import columns
from framework.sweeps.folder import rows_of
from tests.conftest import bash, make_images

SMALL = ["model=mobilenet", "model.alpha=0.25", "model.weights=null", "data=image_folder", "data.image_size=32"]


def test_a_row_an_image_with_what_the_network_makes_of_it(here, photos, monkeypatch):
    monkeypatch.setattr(embed, "GROUP", 10)
    make_images(photos / "test", count=2, seed=2)
    command = [*SMALL, f"data.dir={photos}", "trainer.seed=3"]
    assert embed.main(command) == 0
    assert embed.main([*command, "cache.dtype=float16", "output=half.parquet"]) == 0
    table = pyarrow.parquet.read_table("features.parquet")
    assert table.num_rows == 3 * (8 + 4 + 2)
    assert table.schema.metadata[b"model"] == b"mobilenet"
    rows = table.to_pylist()
    assert [row["split"] for row in rows] == ["train"] * 24 + ["validation"] * 12 + ["test"] * 6
    assert all(row["label"] in row["path"] for row in rows)
    found = np.stack(table["features"].to_numpy())
    assert found.dtype == np.float32

    from framework.cli.command import check
    from framework.runs.prepare import trainer

    (settings,) = check([*command, "model.trainable=false"], lambda _: [])
    network = trainer(settings).network.model
    images = np.stack(
        [np.asarray(keras.utils.load_img(row["path"], target_size=(32, 32)), "float32") for row in rows[:5]]
    )
    pooled = keras.Model(network.input, network.get_layer("logits").input)
    np.testing.assert_allclose(pooled(images, training=False), found[:5], atol=0.02)
    half = pyarrow.parquet.read_table("half.parquet")["features"]
    assert half.type.value_type == "halffloat"
    np.testing.assert_allclose(np.stack(half.to_numpy()).astype("float32"), found, rtol=2e-3, atol=1e-3)


def test_what_is_computed_is_found_again_also_by_a_training(here, photos, capsys):
    command = [*SMALL, f"data.dir={photos}", f"cache.dir={here}/kept"]
    assert embed.main(command) == 0
    assert "(0 known, 36 computed)" in capsys.readouterr().err
    assert embed.main([*command, "augment=light", "head=mlp"]) == 0
    assert "(36 known, 0 computed)" in capsys.readouterr().err

    from framework.cli.command import check
    from framework.runs.prepare import trainer

    (settings,) = check([*command, "model.trainable=false"], lambda _: [])
    made = trainer(settings)
    assert "(36 known, 0 computed)" in made.inputs.build(made.stages[0]).says


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("cache=off", "cache=off keeps no features to write"),
        ("data.dir=NOWHERE", "NOWHERE"),
        ("optim.lr=0.1,0.2", "several values for one key"),
    ],
)
def test_what_is_wrong_is_told_and_no_file_is_left(tmp_path, photos, words, what):
    line = f"python -m framework.embed {' '.join(SMALL)} data.dir=photos {words}"
    done = bash(line.replace("data.dir=photos data.dir", "data.dir"), tmp_path)
    assert done.returncode == 2
    assert what in done.stderr
    assert not list(tmp_path.glob("*.parquet"))


def test_a_pooling_that_learns_gives_no_vector_yet(here, photos, capsys):
    command = ["model=cnn", "model.filters=[4]", "pooling=gem", "data=image_folder", f"data.dir={photos}"]
    assert embed.main(command) == 2
    assert "pooling 'gem' gives no vector that is known before a training" in capsys.readouterr().err
    assert not list(here.glob("*.parquet"))


def history(run):
    """All that a history says but how long it took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(RunFolder(Path(run)))]


@pytest.fixture
def embedded(here, photos):
    """Words of a run on photos, of one on their features, and the photos."""
    network = [*SMALL[:3], "model.trainable=false", "trainer.seed=3", "data.image_size=32"]
    images = [*network, "data=image_folder", f"data.dir={photos}"]
    assert embed.main(images) == 0
    return images, [*network, "data=features", "data.files=features.parquet"], photos


GIVEN = ["optim.lr=0.05", "trainer.epochs=3", "trainer.batch_size=5", "data.class_weights=balanced"]


@pytest.mark.slow
def test_a_head_on_features_is_that_on_the_images_and_its_model_takes_images(embedded, capsys):
    images, features, photos = embedded
    assert train.main([*images, *GIVEN, "hydra.run.dir=a"]) == 0
    photos.rename(photos.with_name("moved"))
    assert train.main([*features, *GIVEN, "trainer.epochs=2", "hydra.run.dir=b"]) == 0
    assert train.main([*features, *GIVEN, "hydra.run.dir=b", "resume.allow=[trainer.epochs]"]) == 0
    assert history("b") == history("a")
    assert len(history("a")) == 3
    logits = [RunFolder(Path(run)).read_logits().logits for run in ("a", "b")]
    np.testing.assert_array_equal(*logits)
    models = [keras.saving.load_model(f"{run}/model.keras", compile=False) for run in ("a", "b")]
    noise = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(*(model(noise, training=False) for model in models))
    capsys.readouterr()
    assert evaluate.main(["run=b"]) == 2
    said = capsys.readouterr().err
    assert "the run was trained on features, and none of the images is there that they were made of" in said
    assert evaluate.main(["run=b", f"data.dir={photos.with_name('moved')}", "split=validation"]) == 0


# more of one class than of others, and more epochs than pass before a worker is killed
UNEQUAL = [
    "data.balance=over",
    "data.class_weights={red: 3.0}",
    "trainer.batch_size=7",
    "trainer.epochs=30",
    "trainer.save_steps=1",
]


@pytest.mark.slow
def test_balanced_and_weighed_on_features_as_on_images_by_one_worker_and_by_two(here, monkeypatch):
    for number, (name, count) in enumerate({"red": 12, "green": 5, "blue": 3}.items()):
        make_images(here / "photos" / "train", (name,), count, seed=number)
        make_images(here / "photos" / "validation", (name,), 4, seed=9)
    images = [*SMALL, "data.dir=photos", "model.trainable=false"]
    features = [*SMALL[:3], SMALL[4], "model.trainable=false", "data=features", "data.files=features.parquet", *UNEQUAL]
    assert embed.main(images) == 0
    assert train.main([*images, *UNEQUAL, "hydra.run.dir=images"]) == 0
    assert train.main([*features, "hydra.run.dir=one"]) == 0
    assert history("one") == history("images")
    monkeypatch.setattr(columns, "MANY", 1)
    assert train.main([*features, "hydra.run.dir=columns"]) == 0
    assert history("columns") == history("one")

    two = bash(f"python -m framework.train {shlex.join([*features, 'trainer.workers=2'])} hydra.run.dir=two", here)
    assert two.returncode == 0, two.stderr
    for first, second in zip(history("one"), history("two"), strict=True):
        assert first.pop("stage") == second.pop("stage")
        assert second == pytest.approx(first, rel=0, abs=1e-5)
    process = kills.train(here, "killed", *features, "trainer.workers=2")
    while not RunFolder(here / "killed").state.exists():
        assert process.poll() is None, (here / "killed.log").read_text()
    assert worker_kills.kill(process.pid, 1, signal.SIGKILL, 0, 2) is not None
    assert process.wait() == 3
    assert len(history("killed")) < 30
    assert kills.train(here, "killed", *features, "trainer.workers=2").wait() == 0
    assert kills.fingerprint(here / "killed") == kills.fingerprint(here / "two")


REFUSED = {
    "augment=light": "data=features has no images that augmentation could vary",
    "model.trainable=true": "stage main trains the base, and data=features has no images to train it on",
    "cache=off": "data=features lays features down in the cache, and cache=off has none",
    "model.alpha=0.5": "were made with model.alpha=0.25, not 0.5",
    "pooling=max": "were made with pooling.name=avg, not max",
    "data.resize=crop": "were made with data.resize=stretch, not crop",
    "trainer.seed=4": "were made with other weights than those of model.weights",
}


def test_what_features_can_t_be_trained_for_is_told(embedded, capsys):
    for word, what in REFUSED.items():
        assert train.main([*embedded[1], word, "hydra.run.dir=run"]) == 2, word
        assert what in capsys.readouterr().err
    assert embed.main([*embedded[1], "output=b.parquet"]) == 2
    assert "data=features are features already" in capsys.readouterr().err

"""A vision transformer through every command once: a preset's folder in, a run, and what is made of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framework import doctor, evaluate, export, lr_find, plan, predict, train, visualize
from framework.core import keras_hub_private as hub
from framework.core import registry
from framework.core.runs import RunFolder
from framework.training.trainer import Trainer
from tests.conftest import make_images

pytestmark = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with photos, a preset, and a run that was stopped after its first epoch and gone on with; its command."""
    folder = tmp_path_factory.mktemp("vit")
    make_images(folder / "photos" / "train", count=16, size=40)
    make_images(folder / "photos" / "validation", count=6, size=40, seed=1)
    network = hub.load_hub().models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    network.save_to_preset(str(folder / "preset"))
    words = [
        *("model=vit_tiny", f"model.preset={folder}/preset", "model.weights=preset", "model.trainable=false"),
        *("model.patch_size=8", "model.num_layers=2", "model.num_heads=2", "model.hidden_dim=16", "model.mlp_dim=32"),
        *("model.image_size=32", "data=image_folder", f"data.dir={folder}/photos", f"cache.dir={folder}/cache"),
        *("optim.lr=0.01", "trainer.batch_size=8", "pooling=cls_tokens"),
    ]
    stages = ["stages=finetune", "stages.finetune.train=last:1", "stages.head.epochs=3", "stages.finetune.epochs=2"]
    with pytest.MonkeyPatch.context() as patch, registry.isolated():
        patch.chdir(folder)
        patch.setattr("framework.training.callback_list.STATE_SECONDS", 0.0)
        whole = [*words, *stages, "hydra.run.dir=whole"]
        assert train.main(whole) == 0
        stopped = [*words, *stages, "hydra.run.dir=stopped"]
        save, left = Trainer._save, iter((False, False, False, True))

        def stop(self, at):
            save(self, at)
            if next(left, False):
                raise KeyboardInterrupt

        patch.setattr(Trainer, "_save", stop)
        assert train.main(stopped) == 130
        assert RunFolder(folder / "stopped").read_run()["status"] == "interrupted"
        patch.setattr(Trainer, "_save", save)
        assert train.main(stopped) == 0
    return folder, words


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.chdir(made[0])
    with registry.isolated():
        yield "run=whole"


def rows(folder):
    with open(folder / "history.csv", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_it_learns_and_goes_on_to_the_same_bits(made):
    folder, _ = made
    assert rows(folder / "whole") == rows(folder / "stopped")
    assert float(rows(folder / "whole")[-1]["val_accuracy"]) > 0.8
    states = [np.load(folder / name / "state.npz", allow_pickle=False) for name in ("whole", "stopped")]
    for name in set(states[0].files) - {"json"}:
        np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
    features = RunFolder(folder / "whole").read_run()["features"]
    assert features["cut"] == ["transformer_block_1"]


def test_it_is_evaluated_and_predicts(made, run, capsys):
    assert evaluate.main([run]) == 0
    capsys.readouterr()
    assert predict.main([str(made[0] / "photos" / "validation"), run, "format=csv"]) == 0
    found = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(found) == 18
    assert np.mean([row["class"] in row["path"] for row in found]) > 0.8


def test_it_shows_heads_and_rollout_in_place_of_filters(made, run):
    assert visualize.main([run]) == 0
    for name in ("heads", "rollout", "attention", "diagram", "layers"):
        with Image.open(made[0] / "whole" / "visualize" / f"{name}.png") as image:
            assert min(image.size) > 250
            assert np.asarray(image.convert("L")).std() > 5
    assert not (made[0] / "whole" / "visualize" / "filters.png").exists()


@pytest.mark.parametrize(
    ("format", "needs"), [("saved_model", "keras"), ("litert", "ai_edge_litert"), ("onnx", "onnx")]
)
def test_it_is_exported_and_answers_the_same(made, run, format, needs):
    pytest.importorskip(needs)
    assert export.main([run, f"format={format}"]) == 0
    told = json.loads((made[0] / "whole" / "export" / format / "export.json").read_text())
    assert told["replay"]["agreement"] == 1.0
    assert told["replay"]["largest_difference"] < 1e-3


def test_it_is_served_with_grad_cam(run):
    from framework.serving.limits import Limits
    from tests.serving.made import RED, client, files, jpeg, server

    with server(Path("whole"), Limits()) as address, client(address) as http:
        (found,) = http.post("/predict", **files(jpeg(RED))).json()["predictions"]
        assert found["class"] == "red"
        seen = http.post("/attention?target=red", **files(jpeg(RED)))
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/jpeg")


def test_it_is_planned_and_given_a_rate_and_its_labels_are_looked_at(made, run, capsys):
    _, words = made
    assert plan.main(words) == 0
    assert "cut      after pooling: 32 an image" in capsys.readouterr().out
    relabelled = made[0] / "photos" / "train" / "blue" / "wrong.jpg"
    relabelled.write_bytes(next((made[0] / "photos" / "train" / "red").iterdir()).read_bytes())
    try:
        assert doctor.main([one for one in words if not one.startswith(("optim", "trainer"))]) == 0
    finally:
        relabelled.unlink()
    assert "wrong.jpg" in capsys.readouterr().out
    # a network this small learns at any rate, and is told so
    assert lr_find.main([*words, "optim=sgd", "trainer.batch_size=4"]) == 1
    assert "the loss rises at no learning rate up to 10" in capsys.readouterr().err


@pytest.mark.parametrize(("precision", "dtype"), [("float32", "float16"), ("bfloat16", "bfloat16")])
def test_features_of_half_the_bytes_train_as_well(made, run, precision, dtype):
    _, words = made
    wanted = [f"trainer.feature_precision={precision}", f"cache.dtype={dtype}", f"hydra.run.dir={dtype}"]
    assert train.main([*words, *wanted, "trainer.epochs=3"]) == 0
    assert float(rows(made[0] / dtype)[-1]["val_accuracy"]) > 0.6

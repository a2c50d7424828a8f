"""The command on small runs: files, gate, messages; on the real photos the accuracy that the run's record says."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from framework.core.backend import keras
from framework.core.runs import RunFolder
from framework.evaluate import main
from framework.evaluation.forward import forward
from framework.model.saved import open_run
from tests.conftest import bash, make_images
from tests.evaluation.common import CLASSES, answered, colour_network, make_run

IMAGES = ("confusion.png", "classes.png", "reliability.png", "mistakes.png")


@pytest.fixture
def run(tmp_path, photos):
    return make_run(tmp_path / "run", photos, colour_network(wrong=True))


def test_everything_is_written_and_the_table_printed(run, capsys):
    assert main([f"run={run}"]) == 0
    out, err = capsys.readouterr()
    folder = run / "evaluation" / "validation"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["classes"] == list(CLASSES)
    assert [row["recall"] for row in metrics["per_class"]] == [1, 1, 0]
    assert metrics["most_confused"][0] == {"true": "red", "predicted": "green", "count": 4, "share": 1}
    assert "accuracy           0.6667  (95 % interval 0.3906 to 0.8619)" in out
    assert "red taken for green: 4 (100% of it)" in out
    assert "evaluation/validation" in err
    for name in IMAGES:
        with Image.open(folder / name) as image:
            assert np.asarray(image.convert("L")).std() > 5
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    assert len(rows) == 12
    assert {row["predicted"] for row in rows if row["label"] == "red"} == {"green"}
    assert (folder / "confusion.csv").read_text().splitlines()[-1] == "red,0,4,0"


def test_the_gate_fails_below_the_accuracy_and_passes_above(run, capsys):
    assert main([f"run={run}", "evaluate.min_accuracy=0.7"]) == 1
    assert "accuracy 0.6667 is below min_accuracy=0.7" in capsys.readouterr().err
    assert (run / "evaluation" / "validation" / "metrics.json").exists()
    assert main([f"run={run}", "min_accuracy=0.6"]) == 0


def test_no_mistake_leaves_no_sheet_of_mistakes(run, photos, tmp_path):
    right = make_run(tmp_path / "right", photos)
    old = right / "evaluation" / "validation" / "mistakes.png"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier evaluation")
    assert main([f"run={right}", "min_accuracy=0.99"]) == 0
    assert not old.exists()


def test_a_folder_of_one_s_own_goes_to_a_place_of_its_own(run, tmp_path):
    make_images(tmp_path / "mine", classes=("blue",), count=3)
    assert main([f"run={run}", f"data.dir={tmp_path / 'mine'}"]) == 0
    assert json.loads((run / "evaluation" / "mine" / "metrics.json").read_text())["accuracy"] == 1
    assert main([f"run={run}", f"data.dir={tmp_path / 'mine'}", f"output={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "metrics.json").exists()


def test_images_that_can_t_be_read_stop_it_or_are_counted(run, photos, capsys):
    (photos / "validation" / "red" / "bad.jpg").write_text("no image")
    assert main([f"run={run}"]) == 2
    assert "1 of 13 images can't be read:" in capsys.readouterr().err
    assert main([f"run={run}", "data.on_error=skip"]) == 0
    metrics = json.loads((run / "evaluation" / "validation" / "metrics.json").read_text())
    assert metrics["images"] == 12
    assert list(metrics["unreadable"].values()) == ["not an image but text"]


def test_yes_or_no_has_its_curves(tmp_path, photos, capsys):
    run = make_run(tmp_path / "run", photos, colour_network(1), "binary", positive="red")
    assert main([f"run={run}"]) == 0
    assert (run / "evaluation" / "validation" / "thresholds.png").exists()
    assert "ROC area           1.0000" in capsys.readouterr().out


def test_several_labels_are_measured_each(tmp_path, photos, capsys):
    run = make_run(tmp_path / "run", photos, task="multilabel")
    files = sorted((photos / "train").rglob("*.jpg"))
    rows = [f"{file},{file.parent.name}" for file in files[::3]]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    assert main([f"run={run}", f"data.file={tmp_path / 'list.csv'}"]) == 0
    assert "mean average precision" in capsys.readouterr().out
    assert not (run / "evaluation" / "list" / "confusion.png").exists()


def test_a_foreign_model_is_measured_beside_its_file(tmp_path, photos):
    colour_network().save(tmp_path / "theirs.keras")
    arguments = [f"model={tmp_path / 'theirs.keras'}", "classes=[blue,green,red]", f"data.dir={photos}", "split=train"]
    assert main(arguments) == 0
    metrics = json.loads((tmp_path / "theirs" / "evaluation" / "photos-train" / "metrics.json").read_text())
    assert metrics["accuracy"] == 1


def test_errors_and_help_load_no_tensorflow(run):
    code = (
        "import sys; from framework.evaluate import main\n"
        f"codes = [main(['--help']), main(['run={run}', 'split=test']), main(['run={run}', 'spilt=test'])]\n"
        "assert codes == [0, 2, 2], codes\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


SMALL = "model.filters=[4,8] data.image_size=32 trainer.epochs=2 trainer.batch_size=8 optim.lr=0.02"


@pytest.mark.slow
@pytest.mark.parametrize(("more", "metrics"), [("metrics.top_k.k=2", "top_k,"), ("data.positive=red", "")])
def test_every_number_of_a_run_s_history_is_that_of_evaluate(here, photos, more, metrics):
    names = f"{metrics}accuracy,auc,f1,precision,recall"
    train = f"framework.train {SMALL} data=image_folder data.dir={photos} metrics=[{names}] {more} hydra.run.dir=run"
    done = bash(f"python -m {train} && python -m framework.evaluate run=run top=[2]")
    assert done.returncode == 0, done.stderr
    best = json.loads((here / "run" / "run.json").read_text())["best"]["metrics"]
    said = json.loads((here / "run" / "evaluation" / "validation" / "metrics.json").read_text())
    said |= {**said["overall"], "top_k": said.get("top_k", {}).get("2")}
    for name in names.split(","):
        assert said[name] == pytest.approx(best[f"val_{name}"], abs=2e-6), name


@pytest.fixture(scope="module")
def clothing(shared, tmp_path_factory):
    """A short training of the recipe on the real photos."""
    folder = tmp_path_factory.mktemp("clothing")
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    given = ["recipe=clothing_mobilenet", f"data.dir={shared / 'data/clothing'}", f"model.weights={weights}"]
    given += ["trainer.epochs=2", "optim.lr=0.01", f"hydra.run.dir={folder / 'run'}"]
    assert bash(shlex.join(["python", "-m", "framework.train", *given])).returncode == 0
    return folder / "run"


@pytest.mark.real
@pytest.mark.slow
def test_real_photos_give_the_accuracy_of_the_run_and_predict_says_the_same(clothing, capsys):
    from framework.predict import main as predict

    assert main([f"run={clothing}"]) == 0
    folder = clothing / "evaluation" / "validation"
    metrics = json.loads((folder / "metrics.json").read_text())
    best = json.loads((clothing / "run.json").read_text())["best"]["metrics"]
    assert metrics["accuracy"] == pytest.approx(best["val_accuracy"], abs=5e-5)
    assert metrics["loss"] == pytest.approx(best["val_loss"], abs=1e-3)

    rows = {row["path"]: row for row in csv.DictReader((folder / "predictions.csv").open())}
    capsys.readouterr()
    shared = json.loads((clothing / "run.json").read_text())["data"]["origin"]
    assert predict([f"{shared}/validation", f"run={clothing}", "format=jsonl", "batch_size=50"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(said) == len(rows) == 341
    for one in said:
        assert one["class"] == rows[one["path"]]["predicted"]
        assert one["probability"] == pytest.approx(float(rows[one["path"]][one["class"]]), abs=1e-5)


@pytest.mark.real
@pytest.mark.slow
def test_real_photos_in_another_order_get_the_same_answers(clothing, shared):
    trained = open_run(str(clothing))
    paths = sorted(str(path) for path in (shared / "data" / "clothing" / "validation").rglob("*.jpg"))[::5]
    model = trained.load()
    there = dict(_one_by_one(forward(model, paths, trained.geometry, 32, [])))
    back = dict(_one_by_one(forward(model, paths[::-1], trained.geometry, 7, [])))
    for path in paths:
        np.testing.assert_allclose(there[path], back[path], atol=1e-3)


def _one_by_one(batches):
    for paths, logits in batches:
        yield from zip(paths, logits, strict=True)


def kept(run, temperature):
    """The logits that the run's end leaves of its validation images; its temperature is set to this."""
    folder = RunFolder(answered(run))
    folder.write_run({**folder.read_run(), "calibration": {"temperature": temperature}})
    return folder.read_logits().logits


def test_a_temperature_changes_what_answers_are_worth_and_no_answer(run, photos, tmp_path, capsys):
    assert main([f"run={run}", "calibrate=true"]) == 2
    assert "has no temperature" in capsys.readouterr().err
    kept(run, 4.0)
    found = {}
    for calibrate in ("false", "true"):
        assert main([f"run={run}", f"calibrate={calibrate}", f"output={tmp_path / calibrate}"]) == 0
        found[calibrate] = json.loads((tmp_path / calibrate / "metrics.json").read_text())
    out, err = capsys.readouterr()
    assert ", at temperature 4)" in out
    assert "framework.export run=" in err
    assert "calibrate=true" in err.splitlines()[-1]
    assert found["true"]["accuracy"] == found["false"]["accuracy"] == pytest.approx(2 / 3)
    assert found["true"]["temperature"] == 4
    assert "temperature" not in found["false"]
    confidences = [
        sum(one["answers"] * one["confidence"] for one in each["calibration"]["bins"]) for each in found.values()
    ]
    assert confidences[1] < confidences[0]
    with Image.open(tmp_path / "true" / "coverage.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_images_of_no_class_are_told_apart(run, photos, tmp_path, capsys):
    make_images(tmp_path / "others", classes=("red",), count=6)  # which this run takes for green, or doubts
    assert main([f"run={run}", f"data.unknown={tmp_path / 'others'}"]) == 0
    unknown = json.loads((run / "evaluation" / "validation" / "metrics.json").read_text())["unknown"]
    assert unknown["images"] == 6
    assert 0 <= unknown["auroc"] <= 1
    out, err = capsys.readouterr()
    assert "unknown images     6, by confidence: ROC area" in out
    assert "data.unknown" not in err.splitlines()[-1]
    assert main([f"run={run}", f"data.unknown={tmp_path / 'nowhere'}"]) == 2


def test_predict_says_unknown_at_the_share_that_is_asked_for(run, photos, capsys):
    from framework.predict import main as predict

    logits = kept(run, 1.0)
    assert predict([str(photos / "validation"), f"run={run}", "format=jsonl", "reject=0.25"]) == 0
    out, err = capsys.readouterr()
    said = [json.loads(line)["class"] for line in out.splitlines()]
    assert said.count("unknown") == 3 == len(logits) // 4
    assert "unknown below a confidence of" in err
    assert "so are 3 of 12 validation images (25.0%" in err
    assert predict([str(photos / "validation"), f"run={run}", "reject=0.01"]) == 2
    assert "reject=0.01 of 12 validation images is less than one" in capsys.readouterr().err


def test_a_calibrated_export_has_the_temperature_inside(run, photos, tmp_path):
    from framework.export import main as export

    logits = kept(run, 4.0)
    assert export([f"run={run}", "calibrate=true", "answer=logits", f"output={tmp_path / 'out'}"]) == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["temperature"] == 4
    model = keras.saving.load_model(tmp_path / "out" / "model.keras", compile=False)
    file = sorted(str(path) for path in (photos / "validation").rglob("*.jpg"))[0]
    with Image.open(file) as image:
        pixels = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_allclose(np.asarray(model(pixels[None]))[0], logits[0] / 4, atol=0.1)

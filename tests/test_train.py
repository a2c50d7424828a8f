"""The train command on small images: what a run leaves, and that the same command leaves the same."""

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest

from framework import evaluate, train
from framework.core.backend import keras
from framework.core.geometry import Geometry
from framework.core.runs import RunFolder
from framework.data import columns
from framework.data.rows import FileImages, decode_all
from tests.conftest import bash, make_images
from tests.data.sharded import parquet

SMALL = ["model.filters=[4,8]", "data.image_size=32", "trainer.epochs=2", "trainer.batch_size=8"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(photos, *arguments, folder="run", code=0) -> RunFolder:
    given = [*SMALL, "data=image_folder", f"data.dir={photos}", f"hydra.run.dir={folder}", *arguments]
    assert train.main(given) == code
    return RunFolder(Path(folder).resolve())


@pytest.mark.slow
def test_a_run_folder_has_all_that_the_contract_says(photos):
    folder = run(photos)
    for path in (folder.config, folder.run_json, folder.history, folder.curves, folder.model):
        assert path.stat().st_size > 0, path
    assert [file.suffix for file in folder.checkpoints.iterdir()] == [".keras"]
    assert (folder.path / ".hydra" / "overrides.yaml").is_file()
    record = folder.read_run()
    assert record["status"] == "finished"
    assert record["classes"] == ["blue", "green", "red"]
    assert record["data"]["images"] == {"train": 24, "validation": 12}
    assert record["best"]["metrics"].keys() >= {"loss", "accuracy", "val_loss", "val_accuracy"}
    rows = folder.read_history()
    assert list(rows[0]) == [
        "stage", "epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds",
    ]  # fmt: skip
    assert [(row["stage"], row["epoch"]) for row in rows] == [("main", 1), ("main", 2)]


@pytest.mark.slow
def test_the_saved_model_gives_the_accuracy_that_the_history_says(photos):
    folder = run(photos)
    model = keras.saving.load_model(folder.model)
    files = sorted((photos / "validation").glob("*/*.jpg"))
    images = np.stack(
        [np.asarray(keras.utils.load_img(file, target_size=(32, 32), interpolation="bilinear")) for file in files]
    )
    classes = folder.read_run()["classes"]
    answers = [classes[index] for index in model.predict(images, verbose=0).argmax(axis=1)]
    accuracy = np.mean([answer == file.parent.name for answer, file in zip(answers, files, strict=True)])
    assert accuracy == pytest.approx(folder.read_run()["best"]["metrics"]["val_accuracy"], abs=0.09)


@pytest.mark.slow
def test_images_in_columns_train_and_are_measured_as_those_of_a_list(photos, tmp_path, monkeypatch):
    parquet(photos, tmp_path / "shards")
    given = [*SMALL, "data=parquet", f"data.files={tmp_path / 'shards'}", "data.class_weights=balanced"]
    found = []
    for folder, many in (("list", 10**9), ("columns", 1)):
        monkeypatch.setattr(columns, "MANY", many)
        assert train.main([*given, f"hydra.run.dir={folder}"]) == 0
        assert evaluate.main([f"run={folder}", f"output={folder}-measured"]) == 0
        rows = RunFolder(Path(folder)).read_history()
        found.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
        files = [f"{folder}/answers.csv", f"{folder}/confusion.csv", f"{folder}-measured/predictions.csv"]
        found[-1] += [Path(file).read_text() for file in files]
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_same_command_gives_the_same_history(photos):
    def history(name, *arguments):
        rows = run(photos, "augment=light", "head.dropout=0.5", *arguments, folder=name).read_history()
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    first = history("first")
    assert first == history("second")
    assert first != history("third", "trainer.seed=2")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", ".h5"])
def test_checkpoints_are_named_as_the_course_names_them(photos, ending):
    template = f"xception_v1_{{epoch:02d}}_{{val_accuracy:.3f}}{ending}"
    folder = run(photos, f"callbacks.checkpoint.filename='{template}'", "callbacks.checkpoint.save=every")
    rows = folder.read_history()
    names = {f"xception_v1_{row['epoch']:02d}_{row['val_accuracy']:.3f}{ending or '.keras'}" for row in rows}
    found = {file.name for file in folder.checkpoints.iterdir()}
    assert found <= names
    assert len(found) == 1  # keep: 1
    assert keras.saving.load_model(folder.checkpoints / found.pop()).count_params() > 0


@pytest.mark.slow
def test_stages_run_one_after_the_other_and_train_what_they_name(photos):
    folder = run(photos, "stages=head_then_all", "stages.head.epochs=1", "model.trainable=false")
    rows = folder.read_history()
    assert [(row["stage"], row["epoch"]) for row in rows] == [("head", 1), ("all", 2), ("all", 3)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3, 1e-4, 1e-4])


@pytest.mark.slow
def test_a_yes_or_no_question_and_fewer_classes_take_one_override_each(photos):
    record = run(photos, "data.positive=red", folder="binary").read_run()
    assert record["classes"] == ["not red", "red"]
    assert record["task"] == "binary"
    assert keras.saving.load_model("binary/model.keras").output_shape == (None, 1)
    record = run(photos, "data.classes=[red,blue]", folder="two").read_run()
    assert record["classes"] == ["red", "blue"]
    assert record["task"] == "multiclass"


@pytest.mark.slow
def test_several_labels_an_image_come_from_a_manifest(photos):
    files = sorted((photos / "train").glob("*/*.jpg"))
    rows = [f"{file},{file.parent.name}{'|warm' if file.parent.name == 'red' else ''}" for file in files]
    Path("labels.csv").write_text("path,labels\n" + "\n".join(rows))
    arguments = ["data=csv", "data.file=labels.csv", "data.label_column=labels", "data.separator='|'"]
    given = [*SMALL, *arguments, "metrics=[accuracy,f1]", "hydra.run.dir=run"]
    assert train.main(given) == 0
    record = RunFolder(Path("run")).read_run()
    assert record["task"] == "multilabel"
    split = list(csv.reader(Path("run/split.csv").read_text().splitlines()))
    assert split[0] == ["path", "label", "split"]
    assert [row[2] for row in split[1:]] == ["train"] * record["data"]["images"]["train"] + ["validation"] * 5
    assert {row[1] for row in split[1:]} == {"blue", "green", "red|warm"}
    assert record["classes"] == ["blue", "green", "red", "warm"]


@pytest.mark.slow
def test_a_bad_image_stops_at_once_or_is_left_out_and_counted(photos, capsys):
    bad = photos / "train" / "red" / "broken.jpg"
    bad.write_bytes(b"\xff\xd8 no image")
    folder = run(photos, folder="stop", code=2)
    assert str(bad) in capsys.readouterr().err
    assert not folder.path.exists()
    record = run(photos, "data.on_error=skip", folder="skip").read_run()
    assert list(record["data"]["skipped"]) == [str(bad)]
    assert record["data"]["images"]["train"] == 24


@pytest.mark.slow
def test_what_lies_in_the_folder_and_is_not_used_is_told_and_recorded(photos, capsys):
    for number in range(2):
        (photos / "train" / "red" / f"IMG_{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "notes.txt").write_text("mine")
    make_images(photos / "test", classes=("red", "blue"), count=1)
    data = run(photos, "trainer.epochs=1").read_run()["data"]
    assert data["not_used"] == {"HEIC": 2, "text files": 1}
    assert data["notes"] == ["there are no test images of green"]
    said = capsys.readouterr().err
    assert (
        "not used   2 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG), 1 text file\n"
        in said
    )
    assert "note       there are no test images of green\n" in said


def test_a_loss_that_is_not_a_number_fails_the_run_and_says_where(photos, capsys):
    folder = run(photos, "optim=sgd", "optim.lr=1e38", code=1)
    record = folder.read_run()
    assert record["status"] == "failed"
    assert "in epoch 1, batch" in record["reason"]
    assert "optim.clipnorm" in capsys.readouterr().err


@pytest.mark.slow
def test_the_best_model_before_a_bad_number_is_kept(photos):
    bad = ["stages=head_then_all", "stages.head.epochs=3", "stages.all.lr=1e38", "optim=sgd", "optim.lr=0.05"]
    folder = run(photos, *bad, "callbacks.checkpoint.filename=best", code=1)
    record, rows = folder.read_run(), folder.read_history()
    assert record["status"] == "failed"
    assert "in epoch 4" in record["reason"]
    assert [row["stage"] for row in rows[:3]] == ["head"] * 3
    model = keras.saving.load_model(folder.checkpoints / "best.keras")
    files = sorted((photos / "validation").glob("*/*.jpg"))
    images = decode_all(FileImages([str(file) for file in files], Geometry((32, 32))))
    labels = np.array([record["classes"].index(file.parent.name) for file in files])
    answers = model.predict(images, verbose=0)
    assert np.isfinite(answers).all()
    assert np.mean(answers.argmax(axis=1) == labels) == pytest.approx(max(row["val_accuracy"] for row in rows[:3]))


def test_a_wrong_command_line_leaves_nothing(photos, capsys):
    run(photos, "optim.lrr=1", "head.units=7", folder="wrong", code=2)
    said = capsys.readouterr().err
    assert "2 problems, nothing was started" in said
    assert "optim.lrr: optimizer 'adam' has no parameter 'lrr'" in said
    assert "head.units=7, but the data have 3 classes: blue, green, red" in said
    assert not Path("wrong").exists()


def test_missing_imagenet_weights_stop_a_run_on_ones_own_data(photos, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("framework.model.weights._reachable", lambda: False)
    given = ["data=image_folder", f"data.dir={photos}", "model=xception", "hydra.run.dir=run"]
    assert train.main(given) == 2
    said = capsys.readouterr().err
    assert "xception_weights_tf_dim_ordering_tf_kernels_notop.h5" in said
    assert "model.weights=<file>" in said
    assert "model.weights=null" in said
    assert not Path("run").exists()


@pytest.mark.slow
def test_the_first_line_of_the_readme_says_what_happens_and_nothing_else(photos):
    done = bash(f"python -m framework.train {shlex.join(SMALL)} data=image_folder data.dir={photos} hydra.run.dir=run")
    assert done.returncode == 0
    assert done.stdout == ""
    known = ("data ", "classes", "model", "optimizer", "batches", "results", "stage main", "epoch", "best", "time")
    known += ("careful",)  # 12 images validate
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith((*known, "files", "in ", "next:"))] == []

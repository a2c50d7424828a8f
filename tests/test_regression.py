"""A model that tells numbers, from check to serve: how red and how green an image is, in units far apart."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framework import doctor, evaluate, export, predict, visualize
from framework.core.runs import RunFolder
from framework.model.saved import open_run
from framework.serving.limits import Limits
from tests.conftest import bash, write
from tests.serving.made import client, files, server

TRAIN = (
    "python -m framework.train task=regression data=csv data.file=images/numbers.csv 'data.label_column=[red,green]' "
    "data.split_column=split model.filters='[4,8]' data.image_size=16 trainer.batch_size=8 optim.lr=0.02 cache=off"
)


def words(line: str) -> list[str]:
    """What bash makes of a line."""
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
    return said.split("\0")[:-1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images, a CSV file of numbers, and a run of four epochs."""
    folder, rng = tmp_path_factory.mktemp("regression"), np.random.default_rng(0)
    (folder / "images").mkdir()
    rows = ["path,red,green,split"]
    for number in range(40):
        red, green = rng.uniform(0, 255, 2)
        pixels = np.clip(np.array([red, green, 90]) + rng.normal(0, 8, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        rows.append(
            f"{number}.png,{red / 255:.4f},{1000 + 10 * green:.1f},{'validation' if number % 4 == 3 else 'train'}"
        )
    (folder / "images" / "numbers.csv").write_text("\n".join(rows) + "\n")
    trained = bash(f"{TRAIN} trainer.epochs=4 hydra.run.dir=run", folder)
    assert trained.returncode == 0, trained.stderr
    assert "numbers    2 (regression): red, green" in trained.stderr
    return folder


@pytest.fixture
def run(home, monkeypatch):
    monkeypatch.chdir(home)
    return RunFolder(home / "run")


def told(run: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """True numbers of the validation images, and what the saved model says, loaded by nothing of this project's."""
    with open("images/numbers.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    images = np.stack([np.asarray(Image.open(f"images/{row['path']}"), np.float32) for row in rows])
    return np.array([[float(row["red"]), float(row["green"])] for row in rows]), np.asarray(
        open_run(str(run.path)).load()(images)
    )


@pytest.mark.slow
def test_a_run_says_what_it_is_and_keeps_the_epoch_of_the_least_error(run):
    history, said = run.read_history(), run.read_run()
    measured = ["loss", "mae", "r2", "rmse"]
    assert list(history[0]) == [
        "stage",
        "epoch",
        "learning_rate",
        *measured,
        *(f"val_{one}" for one in measured),
        "seconds",
    ]
    assert (said["task"], said["classes"], said["title"]) == (
        "regression",
        ["red", "green"],
        "cnn, 2 numbers, adam 0.02",
    )
    best = min(history, key=lambda row: row["val_mae"])
    assert (said["best"]["epoch"], said["best"]["monitor"], said["best"]["mode"]) == (best["epoch"], "val_mae", "min")
    assert not run.confusion.exists()
    true, numbers = told(run)
    assert np.abs(numbers - true).mean() == pytest.approx(best["val_mae"], rel=1e-4)
    # what the loss is in: deviations of the training images' numbers
    assert np.square((numbers - true) / said["scale"]["deviation"]).mean() == pytest.approx(best["val_loss"], rel=1e-4)


def test_an_evaluation_has_the_history_s_scores_and_draws_what_was_said_against_what_is_true(run, capsys):
    assert evaluate.main(words("run=run output=scores")) == 0
    measured = json.loads((run.path.parent / "scores" / "metrics.json").read_text())
    best = run.read_run()["best"]["metrics"]
    for name in ("loss", "mae", "rmse", "r2"):
        assert measured[name] == pytest.approx(best[f"val_{name}"], rel=1e-4), name
    true, numbers = told(run)
    assert [row["column"] for row in measured["per_column"]] == ["red", "green"]
    assert measured["per_column"][1]["bias"] == pytest.approx((numbers - true)[:, 1].mean(), rel=1e-3)
    names = {path.name for path in (run.path.parent / "scores").iterdir()}
    assert names == {"metrics.json", "agreement.png", "mistakes.png", "predictions.csv"}
    with Image.open(run.path.parent / "scores" / "agreement.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
    rows = list(csv.DictReader((run.path.parent / "scores" / "predictions.csv").open()))
    assert float(rows[0]["green_error"]) == pytest.approx(
        float(rows[0]["green_predicted"]) - float(rows[0]["green"]), abs=1e-2
    )
    assert "column   mean absolute error  root mean squared error       R²       bias" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gate", "code", "message"),
    [
        ("max_mae=0.001", 1, "is above max_mae=0.001"),
        ("max_mae=1e6", 0, "next: python -m framework.export run=run"),
        ("min_accuracy=0.5", 2, "min_accuracy asks for what this model has not: it is measured by its mae"),
        ("data.dir=images", 2, "class folders say classes, and this model gives numbers"),
    ],
)
def test_the_gate_is_the_error(run, gate, code, message, capsys):
    assert evaluate.main(words(f"run=run {gate}")) == code
    assert message in capsys.readouterr().err


def test_predictions_are_numbers_in_every_format(run, tmp_path, capsys):
    _, numbers = told(run)
    assert predict.main(words("images/3.png images/7.png run=run format=jsonl")) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(one["numbers"]) for one in objects] == [["red", "green"]] * 2
    np.testing.assert_allclose([list(one["numbers"].values()) for one in objects], numbers[:2], rtol=1e-4)
    assert predict.main(words("images/3.png images/7.png run=run format=csv")) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{"path": one["path"], **{k: f"{v:.7g}" for k, v in one["numbers"].items()}} for one in objects]
    assert predict.main(words("images/3.png run=run")) == 0
    assert f"{objects[0]['numbers']['green']:.6g}" in capsys.readouterr().out
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert predict.main(words(f"images/3.png run=run output={tmp_path}/numbers.parquet")) == 0
    assert pyarrow.read_table(tmp_path / "numbers.parquet").to_pylist() == objects[:1]


@pytest.mark.slow
def test_an_exported_file_prints_the_numbers_and_passes_a_gate_of_its_own(run, tmp_path, capsys):
    assert export.main(words(f"run=run answer=probabilities output={tmp_path}/never")) == 2
    assert "answer=probabilities: this model gives numbers" in capsys.readouterr().err
    assert export.main(words(f"run=run format=litert output={tmp_path}/out")) == 0
    assert "mean absolute error" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["output"] == {"what": "numbers", "classes": ["red", "green"]}
    assert record["replay"]["mean absolute error"]["after"] == pytest.approx(
        run.read_run()["best"]["metrics"]["val_mae"], rel=1e-3
    )
    said = bash(f"python {tmp_path}/out/call.py images/3.png", run.path.parent)
    _, numbers = told(run)
    _, *cells = said.stdout.strip().split("  ")
    assert [cell.split()[0] for cell in cells] == ["red", "green"]
    np.testing.assert_allclose([float(cell.split()[1]) for cell in cells], numbers[0], rtol=1e-3)
    # 8 bits hold a number of thousands and one below 1 no more: the second is lost, and the gate says so
    assert export.main(words(f"run=run format=litert quantize=int8 output={tmp_path}/small")) == 1
    assert "numbers move on average by" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_a_server_answers_with_numbers(run):
    with server(run.path, Limits()) as address, client(address) as http:
        image = (run.path.parent / "images" / "3.png").read_bytes()
        (answer,) = http.post("/predict", **files(image)).json()["predictions"]
        _, numbers = told(run)
        np.testing.assert_allclose(list(answer["numbers"].values()), numbers[0], rtol=1e-4)
        assert http.get("/model").json()["counted"] == "2 numbers"
        assert http.post("/attention?target=green", **files(image)).headers["content-type"] == "image/jpeg"
        assert http.post("/attention", **files(image)).status_code == 200


@pytest.mark.slow
def test_what_looks_at_images_and_networks_takes_numbers_too(run, tmp_path, capsys):
    assert visualize.main(words(f"run=run target=green output={tmp_path}/seen")) == 0
    assert (tmp_path / "seen" / "attention.png").exists()
    shutil.copy("images/3.png", "images/copy.png")
    rows = Path("images/numbers.csv").read_text()
    Path("images/twice.csv").write_text(f"{rows}copy.png,0.5,3000,train\n")
    source = "task=regression data.file=images/twice.csv data.label_column=green data.split_column=split"
    capsys.readouterr()
    assert doctor.main(words(f"{source} output={tmp_path}/doctor format=json")) == 0
    found = {one["kind"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["same-torn"]["severity"] == "error"
    assert "near-torn" not in found
    assert not {"few", "uneven", "absent"} & set(found)
    assert doctor.main(words(f"{source} output={tmp_path}/doctor")) == 0
    assert re.search(r"green: 1\d\d\d.* to 3\d\d\d.*, mean 2\d\d\d", capsys.readouterr().out)


@pytest.mark.slow
def test_a_saved_model_is_opened_by_keras_alone(run):
    opened = bash(
        "python -c \"import keras, sys; model = keras.saving.load_model('run/model.keras'); "
        "print(model.loss.name, model.layers[-1].name, 'framework' in sys.modules)\"",
        run.path.parent,
    )
    assert opened.stdout.split() == ["mean_squared_error", "numbers", "False"], opened.stderr


@pytest.mark.slow
def test_a_recipe_of_numbers_keeps_the_contract(tmp_path):
    recipe = """
        # Ages and heights
        defaults:
          - override /task: regression
          - override /data: csv
          - override /loss: huber
        data:
          label_column: [age, height]
    """
    write(tmp_path, {"recipes/people/recipe.yaml": recipe})
    checked = bash("python -m framework.recipe check people recipes=recipes", tmp_path)
    assert (checked.returncode, "people: all right" in checked.stdout + checked.stderr) == (0, True), checked.stderr


@pytest.mark.slow
def test_a_run_goes_on_with_the_scale_that_it_was_begun_with(run, tmp_path):
    shutil.copytree(run.path.parent / "images", tmp_path / "images")
    begun = bash(f"{TRAIN} trainer.epochs=1 hydra.run.dir=run", tmp_path)
    assert begun.returncode == 0, begun.stderr
    scale = RunFolder(tmp_path / "run").read_run()["scale"]
    file = tmp_path / "images" / "numbers.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-6]) + "\n")
    more = bash("python -m framework.train resume=run trainer.epochs=2 'resume.allow=[trainer.epochs,data]'", tmp_path)
    assert more.returncode == 0, more.stderr
    after = RunFolder(tmp_path / "run").read_run()
    assert after["data"]["images"]["train"] < 30
    assert after["scale"] == scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ("data.positive=red", ["data.positive chooses among classes, and the labels are numbers"]),
        ("'data.classes=[a,b]'", ["data.classes chooses among classes, and the labels are numbers"]),
        (
            "data.class_weights=balanced loss.label_smoothing=0.1 'metrics=[mae,accuracy]'",
            [
                "data.class_weights: numbers have no classes to weigh",
                "loss.label_smoothing=0.1 smooths over classes, and the labels are numbers",
                "metric 'accuracy' measures multiclass or binary or multilabel answers, not regression ones",
            ],
        ),
        ("loss=focal", ["loss 'focal' does not fit a regression head"]),
        (
            "head=binary",
            ["head 'binary' answers binary questions; the data ask a regression one (2 numbers: red, green)"],
        ),
        ("head=dense10", ["head.units=10, but the data have 2 numbers an image: red, green"]),
        ("data=garments", ["source 'garments' lists classes, and the task asks for numbers"]),
    ],
)
def test_what_does_not_fit_numbers_is_told_at_once_without_tensorflow(home, given, messages):
    options = "task=regression" if given == "data=garments" else TRAIN.partition("framework.train ")[2]
    code = "import sys; sys.modules['tensorflow'] = None; from framework.check import main; sys.exit(main())"
    checked = bash(f'python -c "{code}" {options} {given}', home)
    assert checked.returncode == 2, checked.stderr
    for message in messages:
        assert message in checked.stderr
    assert f"{len(messages)} problem" in checked.stderr


def test_a_constant_column_is_told(home):
    rows = (home / "images" / "numbers.csv").read_text().splitlines()
    flat = [",".join([cells[0], "7", *cells[2:]]) for cells in (row.split(",") for row in rows[1:])]
    (home / "images" / "flat.csv").write_text("\n".join([rows[0], *flat]) + "\n")
    line = "data=csv data.file=images/flat.csv data.label_column=red data.split_column=split"
    checked = bash(f"python -m framework.check task=regression {line}", home)
    assert checked.returncode == 2
    assert "column 'red' has one number only for all training images: 7" in checked.stderr

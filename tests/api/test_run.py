"""What can be done with a run: the numbers of the commands, from whatever form an image has."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import framework
from framework.core.geometry import Geometry
from framework.core.runs import RunFolder
from framework.predict import main as predict
from tests.evaluation.common import colour_network


@pytest.fixture
def files(colours):
    return sorted(map(str, (colours / "validation").rglob("*.jpg")))


def test_predictions_are_those_of_the_command_from_any_form_of_image(fitted, colours, files, capsys, tmp_path):
    assert predict([str(colours / "validation"), f"run={fitted.folder}", "format=jsonl", "top=3"]) == 0
    typed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = fitted.predict(colours / "validation")
    assert [one.path for one in found] == [one["path"] for one in typed]
    for one, other in zip(found, typed, strict=True):
        assert one.label == other["class"]
        assert one.labels == (one.label,)
        assert {name: round(share, 6) for name, share in one.probabilities.items()} == {
            entry["class"]: entry["probability"] for entry in other["top"]
        }
        assert one.probability == max(one.probabilities.values())
    from framework.evaluation.forward import forward

    bits = np.concatenate([logits for _, logits in forward(fitted.model, files, Geometry(fitted.size), 32, [])])
    rows = fitted._trained.task.probabilities(bits)
    assert [list(one.probabilities.values()) for one in found] == rows.tolist()
    assert fitted.predict(files) == found
    # an opened file is its file; as pixels an image is what a PNG of it is
    alone = fitted.predict(files[0])
    with Image.open(files[0]) as opened:
        assert fitted.predict(opened) == alone
        pixels = np.asarray(opened)
        memory = opened.copy()
    Image.fromarray(pixels).save(tmp_path / "lossless.png")
    same = fitted.predict(tmp_path / "lossless.png").probabilities
    for image in (memory, pixels, pixels.astype(np.float32), pixels.astype(np.int64)):
        one = fitted.predict(image)
        assert (one.path, one.probabilities) == (None, same)
    batch = fitted.predict(np.stack([pixels, pixels]))
    assert len(batch) == 2
    assert batch[0] == batch[1]
    assert len(fitted.predict([pixels, files[0], memory])) == 3


def test_what_is_turned_or_has_no_colour_is_read_as_its_file_is(fitted, tmp_path):
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    turned = image.getexif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=turned)
    with Image.open(tmp_path / "turned.png") as opened:
        opened.load()
        assert fitted.predict(opened).probabilities == fitted.predict(tmp_path / "turned.png").probabilities
    grey = rng.integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    wanted = fitted.predict(tmp_path / "grey.png").probabilities
    assert fitted.predict(grey).probabilities == fitted.predict(grey[..., None]).probabilities == wanted
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "cmyk.tiff")
    with Image.open(tmp_path / "cmyk.tiff") as opened:
        opened.load()
        assert fitted.predict(opened).probabilities == fitted.predict(tmp_path / "cmyk.tiff").probabilities


def test_what_is_no_image_is_said(fitted, files, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_text("none")
    with pytest.raises(framework.Error, match=r"bad.jpg: not an image"):
        fitted.predict([files[0], str(tmp_path / "bad.jpg")])
    assert len(fitted.predict([files[0], tmp_path / "bad.jpg", "nowhere.jpg"], on_error="skip")) == 1
    assert "2 images can't be read and are left out" in capsys.readouterr().err
    for wrong in ("nowhere.jpg", np.zeros((2, 3)) + 300, np.ones((8, 8, 3), np.float32), np.zeros((4, 4, 2), int), []):
        with pytest.raises(framework.Error):
            fitted.predict(wrong)


def test_what_is_read_of_a_run(fitted):
    folder = RunFolder(fitted.folder)
    assert fitted.classes == ("blue", "green", "red")
    assert fitted.size == (32, 32)
    assert fitted.config["trainer"]["epochs"] == 2
    with pytest.raises(TypeError):
        fitted.config["trainer"]["epochs"] = 3
    rows = folder.read_history()
    assert len(fitted.history) == 2
    assert list(fitted.history) in (rows, list(rows[0]))
    assert fitted.metrics == folder.read_run()["best"]["metrics"]
    assert "val_accuracy" in repr(fitted)


def test_evaluate_measures_what_training_did(fitted, colours, tmp_path):
    own = fitted.evaluate()
    assert own["accuracy"] == pytest.approx(fitted.metrics["val_accuracy"], abs=1e-6)
    assert own["loss"] == pytest.approx(fitted.metrics["val_loss"], abs=1e-5)
    assert fitted.evaluate("train")["images"] == 24
    folder = fitted.evaluate(colours, split="validation", output=tmp_path / "out")
    assert folder["accuracy"] == own["accuracy"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] == own["accuracy"]
    x, y = (np.concatenate(parts) for parts in zip(*fitted.dataset().as_numpy_iterator(), strict=True))
    arrays = fitted.evaluate((x.astype(np.uint8), y))
    assert (arrays["images"], arrays["accuracy"]) == (12, own["accuracy"])
    names = np.array(fitted.classes)[y]
    assert fitted.evaluate((x, names))["accuracy"] == own["accuracy"]
    with pytest.raises(framework.Error, match="no test images"):
        fitted.evaluate("test")


def test_the_data_of_a_run_as_a_dataset_that_ends(fitted):
    batches = list(fitted.dataset("validation", batch_size=5))
    assert [len(y) for _, y in batches] == [5, 5, 2] == [5] * 2 + [2]
    assert int(fitted.dataset("validation", 5).cardinality()) == 3
    x, y = batches[0]
    assert (str(x.dtype.name), tuple(x.shape)) == ("float32", (5, 32, 32, 3))
    assert 0 <= float(x.numpy().min()) <= float(x.numpy().max()) <= 255
    assert y.numpy().tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(framework.Error, match="there is no split 'valid'"):
        fitted.dataset("valid")


def test_where_it_looks(fitted, files):
    found = fitted.explain(files[0])
    assert found.label == fitted.predict(files[0]).label
    assert (found.heat.dtype, found.heat.ndim) == (np.float32, 2)
    assert 0 <= found.heat.min() <= found.heat.max() <= 1
    assert found.image.size == (32, 32)
    assert found._repr_png_().startswith(b"\x89PNG")
    assert fitted.explain(files[0], "red").label == "red"
    with pytest.raises(framework.Error, match="there is no class 'rde'"):
        fitted.explain(files[0], "rde")
    with pytest.raises(framework.Error, match="one image"):
        fitted.explain(files)


def test_a_notebook_is_shown_curves_and_scores_and_nothing_is_fetched(fitted):
    html = fitted._repr_html_()
    assert "val_accuracy" in html
    assert "cnn, 3 classes, adam 0.001" in html
    assert "data:image/png;base64," in html
    assert "http" not in html
    compared = framework.Comparison([fitted.folder])
    assert "data:image/png;base64," in compared._repr_html_()
    assert len(compared) == 1
    assert "val_accuracy" in repr(compared)


def test_what_is_written_in_a_run_of_someone_else_stays_text(fitted, tmp_path):
    shutil.copytree(fitted.folder, tmp_path / "theirs", ignore=shutil.ignore_patterns("export"))
    theirs, bad = RunFolder(tmp_path / "theirs"), "<script>alert(1)</script>"
    said = theirs.read_run()
    said |= {"title": bad, "epochs": bad, "best": {**said["best"], "kept": bad, "metrics": {bad: 1.0, "x": bad}}}
    theirs.write_run({key: value for key, value in said.items() if key != "format"})
    theirs.curves.unlink()
    theirs.curves.symlink_to("/etc/hostname")
    html = framework.load(theirs.path)._repr_html_()
    assert html.count("&lt;script&gt;") >= 4
    assert "<script" not in html
    assert "data:image" not in html


def test_export_is_the_command_s(fitted, tmp_path):
    folder = fitted.export(output=tmp_path / "out", images=3)
    assert sorted(file.name for file in folder.iterdir()) == ["call.py", "export.json", "labels.txt", "model.keras"]
    assert json.loads((folder / "export.json").read_text())["replay"]["images"] == 3
    with pytest.raises(framework.Error, match="format"):
        fitted.export("onxx")
    with pytest.raises(framework.Error, match="there is no option 'max_dorp'"):
        fitted.export(max_dorp=0.1)


def test_a_model_is_opened_as_a_run_where_it_lies_in_one(fitted, tmp_path, files):
    own = fitted.folder / "model.keras"
    assert framework.load(own).folder == framework.load(str(fitted.folder)).folder == fitted.folder
    colour_network().save(tmp_path / "theirs.keras")
    theirs = framework.load(tmp_path / "theirs.keras", classes=["blue", "green", "red"])
    assert [one.label for one in theirs.predict(files)] == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert (dict(theirs.config), dict(theirs.metrics), len(theirs.history)) == ({}, {}, 0)
    assert "theirs.keras" in theirs._repr_html_()
    with pytest.raises(framework.Error, match="classes must be given"):
        framework.load(tmp_path / "theirs.keras")
    with pytest.raises(framework.Error, match="classes belongs to a model from elsewhere"):
        framework.load(fitted.folder, classes=["a"])


def test_probabilities_are_calibrated_on_request(fitted):
    plain, calibrated = framework.load(fitted.folder), framework.load(fitted.folder, calibrate=True)
    temperature = plain._said["calibration"]["temperature"]
    images = [plain.files("validation")[0]]
    (before,), (after,) = plain.predict(images), calibrated.predict(images)
    assert before.label == after.label
    odds = [np.log(list(one.probabilities.values())) for one in (before, after)]
    np.testing.assert_allclose(np.diff(odds[1]), np.diff(odds[0]) / temperature, atol=1e-3)
    (kept,) = (fitted.folder / "checkpoints").iterdir()
    with pytest.raises(framework.Error, match="calibrate belongs to a run"):
        framework.load(kept, classes=["a", "b", "c"], calibrate=True)

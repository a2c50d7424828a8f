"""The command as it is used: a run in, a folder out that works without the framework, and a gate before it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from benchmarks import exports
from framework.core.backend import keras
from framework.core.geometry import Geometry
from framework.export import main
from framework.exports import formats
from framework.exports.calling import load, script
from tests.conftest import make_images
from tests.evaluation.common import CLASSES, SIZE, colour_network, make_run

FORMATS = [
    ("keras", "none", "model.keras"),
    ("saved_model", "none", "saved_model"),
    ("litert", "none", "model.tflite"),
    ("litert", "dynamic", "model.tflite"),
    ("litert", "int8", "model.tflite"),
    ("onnx", "none", "model.onnx"),
]
NEEDS = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    make_images(folder / "train", seed=0)
    make_images(folder / "validation", count=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    return make_run(tmp_path_factory.mktemp("runs") / "run", photos)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "quantize", "file"), FORMATS)
def test_a_format_answers_as_the_run_does(run, photos, capsys, format, quantize, file):
    pytest.importorskip(NEEDS.get(format, "keras"))
    assert main([f"run={run}", f"format={format}", f"quantize={quantize}"]) == 0
    folder = run / "export" / (format if quantize == "none" else f"{format}-{quantize}")
    assert {path.name for path in folder.iterdir()} == {file, "labels.txt", "call.py", "export.json"}
    assert (folder / "labels.txt").read_text().split() == list(CLASSES)
    told = json.loads((folder / "export.json").read_text())
    assert told["replay"]["images"] == 12
    assert told["replay"]["accuracy"] == {"before": 1.0, "after": 1.0}
    assert told["replay"]["agreement"] == 1.0
    assert told["replay"]["largest_difference_of_pixels"] == 0
    assert told["replay"]["largest_difference"] < (0.05 if quantize == "int8" else 1e-2)
    assert told["bytes"] > 0
    out, err = capsys.readouterr()
    assert "same answer            100.00% of 12 images" in out
    assert "WARNING" not in err
    # called elsewhere, by what lies beside it, in a process that can't see this project
    image = next((photos / "validation" / "green").iterdir())
    command = [sys.executable, "-I", str(folder / "call.py"), str(image)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "green"


def test_labels_travel_in_the_files(run):
    pytest.importorskip("ai_edge_litert")
    onnx = pytest.importorskip("onnx")
    assert main([f"run={run}", "format=litert"]) == main([f"run={run}", "format=onnx"]) == 0
    with zipfile.ZipFile(run / "export" / "litert" / "model.tflite") as attached:
        assert attached.read("labels.txt").decode().split() == list(CLASSES)
    props = {prop.key: prop.value for prop in onnx.load(str(run / "export/onnx/model.onnx")).metadata_props}
    assert json.loads(props["classes"]) == list(CLASSES)


@pytest.mark.slow
def test_a_saved_model_takes_the_bytes_of_files(run, photos):
    assert main([f"run={run}", "format=saved_model", "answer=logits", f"output={run}/served"]) == 0
    image = next((photos / "validation" / "red").iterdir())
    code = f"""
import sys, tensorflow as tf
model = tf.saved_model.load("{run}/served/saved_model")
data = tf.constant([open("{image}", "rb").read()] * 2)
answer = model.signatures["from_bytes"](image_bytes=data)["logits"].numpy()
assert answer.shape == (2, 3), answer.shape
assert "framework" not in sys.modules
print(answer.argmax(axis=1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2, 2]"
    labels = run / "served" / "saved_model" / "assets.extra" / "labels.txt"
    assert labels.read_text().split() == list(CLASSES)


@pytest.mark.parametrize("answer", ["probabilities", "logits"])
def test_a_yes_or_no_question(tmp_path, photos, answer, capsys):
    run = make_run(tmp_path / "run", photos, colour_network(units=1), task="binary", positive="red")
    assert main([f"run={run}", f"answer={answer}"]) == 0
    told = json.loads((run / "export" / "keras" / "export.json").read_text())
    assert told["replay"]["agreement"] == 1.0
    model = keras.saving.load_model(run / "export" / "keras" / "model.keras", compile=False)
    row = model.predict(np.full((1, SIZE, SIZE, 3), (250, 0, 0), np.float32), verbose=0)[0]
    assert row.shape == ((2,) if answer == "probabilities" else (1,))
    assert row[-1] > 0.9


def test_the_gate_keeps_what_was_published_before(tmp_path, photos, capsys, monkeypatch):
    run = make_run(tmp_path / "run", photos)
    assert main([f"run={run}"]) == 0
    before = (run / "export" / "keras" / "model.keras").read_bytes()
    monkeypatch.setattr(
        "framework.exports.publishing.answering", lambda model, task, answer: colour_network(wrong=True)
    )
    assert main([f"run={run}"]) == 1
    assert "accuracy falls by 0.3333, more than max_drop=0.01: nothing is published" in capsys.readouterr().err
    assert (run / "export" / "keras" / "model.keras").read_bytes() == before
    assert [path.name for path in (run / "export").iterdir()] == ["keras"]
    assert main([f"run={run}", "max_drop=0.5"]) == 0


def test_names_of_any_signs_reach_the_script_and_a_line_each_the_labels(tmp_path):
    classes = ("two\nlines", "a\u2028b 'c' {d}", "\udcff \\")
    file = formats.write("keras", formats.Request(colour_network(), "logits", classes), tmp_path)
    text = script("keras", file, Geometry((SIZE, SIZE)), classes, 3, "logits", "none", None)
    (tmp_path / "call.py").write_text(text, encoding="utf-8")
    assert tuple(load(tmp_path / "call.py")["CLASSES"]) == classes
    assert len((tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("part", "instead", "said"),
    [
        (
            "return fitted(upright(path, SIZE, RESIZE), SIZE, RESIZE, FILL, CHANNELS)",
            "return np.zeros((*SIZE, 3), np.uint8)",
            "accuracy falls",
        ),
        (
            "return fitted(upright(path, SIZE, RESIZE), SIZE, RESIZE, FILL, CHANNELS)",
            "raise OSError('no')",
            "call.py can't read an image",
        ),
        ("MODEL = ", "MODEL = 1 / 0 or ", "the file that was written can't be run: division by zero"),
    ],
)
def test_the_gate_is_the_script_itself(tmp_path, photos, capsys, monkeypatch, part, instead, said):
    run = make_run(tmp_path / "run", photos)

    def spoiled(*given):
        text = script(*given)
        assert part in text
        return text.replace(part, instead)

    monkeypatch.setattr("framework.exports.publishing.script", spoiled)
    assert main([f"run={run}"]) == 1
    assert said in capsys.readouterr().err
    assert not (run / "export" / "keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("format", ["keras", "saved_model", "litert", "onnx"])
def test_mixed_precision_is_exported_in_float32(tmp_path, photos, capsys, format, precision):
    pytest.importorskip(NEEDS.get(format, "keras"))
    keras.config.set_dtype_policy(precision)
    try:
        model = colour_network()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("conv").compute_dtype == precision.removeprefix("mixed_")
    run = make_run(tmp_path / "run", photos, model)
    assert main([f"run={run}", f"format={format}"]) == 0
    told = json.loads((run / "export" / format / "export.json").read_text())["replay"]
    assert told["accuracy"] == {"before": 1.0, "after": 1.0}
    assert told["agreement"] == 1.0
    # to the float32 network with these weights it is as near as any export
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    answer = load(run / "export" / format / "call.py")["answer"](image)
    expected = keras.ops.softmax(colour_network()(image[None].astype("float32")))[0]
    np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_a_model_from_elsewhere(tmp_path, photos, capsys):
    colour_network().save(tmp_path / "theirs.keras")
    given = [f"model={tmp_path}/theirs.keras", f"classes=[{','.join(CLASSES)}]"]
    assert main(given) == 0
    assert "nothing was replayed: data.dir=FOLDER" in capsys.readouterr().err
    assert main([*given, f"data.dir={photos}/validation"]) == 0
    assert "100.00% of 12 images" in capsys.readouterr().out
    assert main([*given, "format=litert", "quantize=int8"]) == 2
    assert "a model from elsewhere brings none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["format=tflite"], "litert"),
        (["format=onnx", "quantize=int8"], "format=onnx is not quantised here"),
        (["max_drop=2"], "max_drop"),
        (["output=/proc/none/here"], "can't be written"),
        (["split=test"], "no test images"),
    ],
)
def test_bad_input_is_told_without_tensorflow(run, given, said):
    code = f"import sys; from framework.export import main; code = main({[f'run={run}', *given]!r}); "
    code += "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.real
@pytest.mark.slow
def test_real_photos_answer_alike(shared, tmp_path, monkeypatch):
    """The two that rest on other arithmetic; ``python -m benchmarks.exports`` is the long version, of every format."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    weights = str(shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5")
    formats = [("litert", "int8"), ("onnx", "none")]
    for row in exports.campaign(shared / "data" / "clothing", weights, tmp_path, formats, images=100, limit=600):
        assert row["agreement"] >= exports.LEAST[row["quantize"]], row
        assert row["largest_difference_of_pixels"] == 0


def test_layers_that_the_onnx_converter_does_not_know(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    images = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[400.0, 2500.0, 900.0])(images)
    x = keras.layers.Conv2D(4, 3, activation="gelu")(x)
    x = keras.layers.Conv2D(4, 3, groups=4, padding="same", bias_initializer="normal")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("gelu")(x))
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax")(x))
    file = formats.write("onnx", formats.Request(model, "probabilities", ("a", "b")), tmp_path)
    some = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    (tmp_path / "call.py").write_text(
        script("onnx", file, Geometry((16, 16)), ("a", "b"), 2, "probabilities", "none", None)
    )
    answer = np.stack([load(tmp_path / "call.py")["answer"](image) for image in some])
    np.testing.assert_allclose(answer, model.predict(some.astype("float32"), verbose=0), atol=1e-5)
    assert answer.std() > 0.01

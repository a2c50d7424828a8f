"""Checks before anything heavy: each mistake one readable entry, all at once, exit code 2, TensorFlow not loaded."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from framework import check
from framework.data import selection, sources
from framework.runs import preflight

SMALL = ["data.image_size=32"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def said(capsys, photos, *arguments, code=2) -> list[list[str]]:
    """What is printed, an entry a list of lines."""
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}", *arguments]) == code
    entries = capsys.readouterr().err.strip().split("\n\n")[1:]
    return [entry.split("\n") for entry in entries]


def test_a_right_command_line_is_all_right(capsys, photos):
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}"]) == 0
    assert capsys.readouterr().err == "all right\n"
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}", "-m", "optim.lr=0.1,0.2"]) == 0
    assert capsys.readouterr().err == "all right: 2 variants\n"


ENTRIES = {
    "texts that nothing is made of": (
        ["data.prompts='a drawn {}'"],
        "data.prompts='a drawn {}' changes nothing: head 'dense' is not made of texts",
        "command line: data.prompts='a drawn {}'",
        "head=text, or leave it out",
    ),
    "typo in a value's key": (
        ["optim.lrr=1"],
        "optim.lrr: optimizer 'adam' has no parameter 'lrr'",
        "command line: optim.lrr=1",
        "lr (one of: lr, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm)",
    ),
    "a key that came in with +": (
        ["+optim.lrr=1"],
        "optim.lrr: optimizer 'adam' has no parameter 'lrr'",
        "command line: +optim.lrr=1",
        "lr (one of: lr, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm)",
    ),
    "a wrong type": (
        ["trainer.epochs=ten"],
        "trainer.epochs=ten is not a whole number above 0",
        "command line: trainer.epochs=ten",
        "a whole number above 0",
    ),
    "a value out of range": (
        ["head.dropout=1.5"],
        "head.dropout=1.5 is not a number of at least 0 and below 1",
        "command line: head.dropout=1.5",
        "a number of at least 0 and below 1",
    ),
    "an unknown option": (
        ["head=dens10"],
        "there is no head 'dens10'",
        "command line: head=dens10",
        "head=dense10 (one of: binary, cosine, dense, dense10, dense100, knn, linear_probe, mlp, multilabel, prototypes, text)",
    ),
    "a wrong type that another key repeats": (
        ["model.image_size=big", "~data.image_size", "+data.image_size=${model.image_size}"],
        "model.image_size=big is not a whole number above 0 or a list, each a whole number above 0",
        "command line: model.image_size=big",
        "a whole number above 0 or a list, each a whole number above 0",
    ),
    "an unknown choice": (
        ["trainer.precision=float61"],
        "trainer.precision=float61 is not one of float32, mixed_bfloat16, mixed_float16",
        "command line: trainer.precision=float61",
        "float32 (one of: float32, mixed_bfloat16, mixed_float16)",
    ),
    "an unknown part": (
        ["head.name=denze"],
        "there is no head 'denze'",
        "command line: head.name=denze",
        "head.name=dense (one of: binary, cosine, dense, knn, linear_probe, multilabel, prototypes, text)",
    ),
    "a missing value": (
        ["stages=finetune"],
        "stages.finetune.train must be given",
        "conf/stages/finetune.yaml:6",
        "stages.finetune.train=<a text>",
    ),
    "a template of a metric that will not exist": (
        ["callbacks.checkpoint.filename='{epoch:02d}_{val_acuracy:.3f}'"],
        "callbacks.checkpoint.filename={epoch:02d}_{val_acuracy:.3f} names 'val_acuracy', which will not exist",
        "command line: callbacks.checkpoint.filename='{epoch:02d}_{val_acuracy:.3f}'",
        "val_accuracy (one of: loss, accuracy, val_loss, val_accuracy, learning_rate, epoch)",
    ),
    "a template that can't be filled in": (
        ["callbacks.checkpoint.filename='{val_accuracy:02d}'"],
        "callbacks.checkpoint.filename={val_accuracy:02d} can't be filled in: "
        "Unknown format code 'd' for object of type 'float'",
        "command line: callbacks.checkpoint.filename='{val_accuracy:02d}'",
        "{epoch:02d}_{val_accuracy:.3f}",
    ),
    "a monitor that will not exist": (
        ["callbacks=[default,early_stopping]", "callbacks.early_stopping.monitor=val_f1"],
        "callbacks.early_stopping.monitor=val_f1 names no column of the history",
        "command line: callbacks.early_stopping.monitor=val_f1",
        "one of: loss, accuracy, val_loss, val_accuracy, learning_rate",
    ),
    "a head of other units": (
        ["head=dense10"],
        "head.units=10, but the data have 3 classes: blue, green, red",
        "conf/head/dense10.yaml:3",
        "head=dense (as many as the data need)",
    ),
    "a head for another question": (
        ["head=binary"],
        "head 'binary' answers binary questions; the data ask a multiclass one (3 classes: blue, green, red)",
        "conf/head/binary.yaml:3",
        "head=dense or data.positive=CLASS",
    ),
    "a loss that does not fit": (
        ["loss=sparse_categorical_crossentropy", "data.positive=red"],
        "loss 'sparse_categorical_crossentropy' does not fit a binary head",
        "conf/loss/sparse_categorical_crossentropy.yaml:2",
        "loss=auto (or one of: auto, binary_crossentropy, focal)",
    ),
    "a size below the base's minimum": (
        ["model=xception", "model.weights=null"],
        "data.image_size=32 is too small: base 'xception' needs sides of 71 at least",
        "command line: data.image_size=32",
        "data.image_size=71",
    ),
    "an unknown class": (
        ["data.classes=[red,bleu]"],
        "the data has no class 'bleu'",
        "command line: data.classes=[red,bleu]",
        "blue (one of: blue, green, red)",
    ),
    "a missing weights file": (
        ["model=mobilenet", "model.weights=nowhere.h5"],
        "weights file nowhere.h5 does not exist",
        "command line: model.weights=nowhere.h5",
        "a file, imagenet, or null for random weights",
    ),
    "two that set the rate": (
        ["optim.schedule=cosine", "callbacks=[default,reduce_on_plateau]"],
        "callback 'reduce_on_plateau' sets the learning rate, and so does schedule 'cosine'",
        "conf/callbacks/reduce_on_plateau.yaml:3",
        "optim.schedule=constant, or leave the callback out",
    ),
    "blended labels and a loss that can't take them": (
        ["augment=mixup", "loss=sparse_categorical_crossentropy"],
        "augmentation 'mixup' blends labels, which loss 'sparse_categorical_crossentropy' can't take",
        "conf/augment/mixup.yaml:2",
        "loss=categorical_crossentropy",
    ),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_each_mistake_is_one_entry(capsys, photos, case):
    arguments, what, where, right = ENTRIES[case]
    assert said(capsys, photos, *arguments) == [[what, f"  set in: {where}", f"  try:    {right}"]]


def test_an_empty_class_and_classes_that_differ_are_told(capsys, photos):
    (photos / "train" / "white").mkdir()
    (photos / "validation" / "red").rename(photos / "validation" / "rot")
    entries = "\n".join(line for entry in said(capsys, photos) for line in entry)
    assert "white" in entries
    assert "rot" in entries


def test_all_mistakes_are_told_at_once_also_of_a_sweep(capsys, photos, monkeypatch):
    monkeypatch.setattr("framework.cli.command.LONGEST_LOOK", 60)  # however slow the machine is
    entries = said(
        capsys, photos, "-m", "optim.lrr=1", "head=dense10,dens", "callbacks.checkpoint.monitor=x", "trainer.epochs=0"
    )
    assert sorted(entry[0].split(" ")[0].split("=")[0] for entry in entries) == [
        "callbacks.checkpoint.monitor", "head.units", "optim.lrr:", "there", "trainer.epochs",
    ]  # fmt: skip


def typed(line: str, folder: Path) -> subprocess.CompletedProcess:
    """What a line comes to in bash; TensorFlow can't be loaded there."""
    (folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    environment = {**_environment(), "PYTHONPATH": f"{folder}:{_environment()['PYTHONPATH']}"}
    line = line.replace("python ", f"{sys.executable} ", 1)
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, cwd=folder)


@pytest.fixture
def narrow_weights(tmp_path) -> Path:
    """What can be seen of a file of weights of a MobileNet of alpha 0.25."""
    with h5py.File(tmp_path / "quarter.h5", "w") as file:
        file["conv1/kernel"] = np.zeros((3, 3, 3, 8), np.float32)
        file["conv_pw_13/kernel"] = np.zeros((1, 1, 256, 256), np.float32)
    return tmp_path / "quarter.h5"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "train"])
def test_unreadable_images_weights_and_a_head_are_told_together_without_tensorflow(photos, narrow_weights, command):
    bad = [photos / "train" / "red" / f"bad{number}.jpg" for number in range(2)]
    for path in bad:
        path.write_text("no image")
    (photos / "train" / "red" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    line = f"python -m framework.{command} data=image_folder data.dir={photos} model=mobilenet head=dense10"
    line += f" model.weights={narrow_weights}"
    done = typed(line, photos.parent)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "3 problems, nothing was started" in done.stderr
    assert "2 images can't be read:" in done.stderr
    assert all(f"{path}: " in done.stderr for path in bad)
    assert "head.units=10, but the data have 3 classes" in done.stderr
    assert "it has no weights of shape (3, 3, 3, 32)" in done.stderr
    assert "try:    model.alpha=0.25\n" in done.stderr
    assert not list(photos.parent.glob("runs*"))
    for path in bad:
        path.unlink()
    done = typed(line.replace("head=dense10", "model.alpha=0.25").replace(f".{command} ", ".check "), photos.parent)
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr
        == "not used: 1 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG)\nall right\n"
    )


def test_what_is_left_out_is_told_and_no_fault(capsys, photos):
    (photos / "train" / "red" / "bad.jpg").write_text("no image")
    arguments = [*SMALL, "data=image_folder", f"data.dir={photos}", "data.on_error=skip"]
    assert check.main(arguments) == 0
    assert capsys.readouterr().err == "not used: 1 image can't be read and is left out\nall right\n"
    for path in (photos / "train" / "red").iterdir():
        path.write_text("no image")
    assert check.main(arguments) == 2
    assert "9 images can't be read" in capsys.readouterr().err


def test_depth_that_is_lost_is_told(capsys, photos):
    Image.fromarray(np.full((9, 9), 700, np.uint16)).save(photos / "train" / "red" / "deep.png")
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}"]) == 0
    told = "note: 1 image has more than 8 bits a channel, and 8 of them are read\nall right\n"
    assert capsys.readouterr().err == told


def test_variants_that_share_their_data_look_at_it_once(photos, monkeypatch):
    looked, listed = [], []
    look, read = selection.look, sources.read
    monkeypatch.setattr(selection, "look", lambda paths: (looked.append(len(paths)), look(paths))[1])
    monkeypatch.setattr(sources, "read", lambda *given: (listed.append(given), read(*given))[1])
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}", "optim.lr=0.1,0.2,0.3"]) == 0
    assert (looked, len(listed)) == ([36], 1)
    assert check.main([*SMALL, "data=image_folder", f"data.dir={photos}", "data.limit=3,6"]) == 0
    assert (looked, len(listed)) == ([36, 6, 12], 3)


def test_where_something_is_wrong_nobody_waits_for_a_look_at_many_images(capsys, photos, monkeypatch):
    (photos / "train" / "red" / "bad.jpg").write_text("no image")
    monkeypatch.setattr(preflight, "QUICK", 30)
    assert len(said(capsys, photos, "head=dense10")) == 1
    assert "can't be read" in said(capsys, photos)[0][0]
    monkeypatch.setattr(preflight, "QUICK", 40)
    assert len(said(capsys, photos, "head=dense10")) == 2


@pytest.mark.slow
def test_a_mistake_is_answered_without_tensorflow_in_a_few_times_what_imports_take(photos):
    plain = "import hydra, hydra.utils, numpy, pydantic, rich.console, PIL.Image"
    code = "import sys; from framework import check; code = check.main(sys.argv[1:]); "
    code += "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    arguments = ["optim.lrr=1", "model=xception", "data=image_folder", f"data.dir={photos}"]
    ratios = []
    for _ in range(3):
        seconds = []
        for command, result in (([plain], 0), ([code, *arguments], 2)):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", *command], env=_environment(), capture_output=True)
            seconds.append(time.perf_counter() - started)
            assert done.returncode == result, done.stderr
        ratios.append(seconds[1] / seconds[0])
    assert min(ratios) < 5


@pytest.mark.parametrize("command", ["train", "check"])
def test_help_is_our_own_and_loads_no_tensorflow(command):
    code = f"import sys; from framework import {command}; code = {command}.main(['--help']); "
    code += "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"python -m framework.{command} ")
    assert "xception" in done.stdout
    assert "clothing_v1" in done.stdout
    assert "Powered by Hydra" not in done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(check.__file__).parents[1])}

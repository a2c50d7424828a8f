"""Every fault is made, then found: files, colours, copies, leaks, labels, classes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from framework import doctor
from framework.doctor import main
from framework.inspection import alike, neighbours
from framework.inspection.look import look_at
from tests.conftest import make_images


def scene(seed: int, size=(120, 90)) -> Image.Image:
    """An image unlike any other: large soft spots."""
    spots = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path):
    """Two classes of 20 different images each, and 4 for validation."""
    for split, count, first in (("train", 20, 0), ("validation", 4, 500)):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                scene(first + 1000 * number + index).save(folder / f"{index:03d}.png")
    return tmp_path / "data"


def examine(data, tmp_path, *more) -> tuple[int, dict[str, dict]]:
    """Exit code, and findings by kind as doctor.json has them."""
    out = tmp_path / "found"
    code = main([f"data.dir={data}", f"output={out}", *more])
    told = json.loads((out / "doctor.json").read_text()) if (out / "doctor.json").exists() else {"findings": []}
    return code, {one["kind"]: one for one in told["findings"]}


def files(finding) -> set[str]:
    return {one["file"] for group in finding["groups"] for one in group}


def test_good_data_is_called_good(data, tmp_path, capsys):
    code, found = examine(data, tmp_path)
    assert (code, found) == (0, {})
    out = capsys.readouterr().out
    assert "nothing to complain of" in out
    assert "20" in out


def test_single_files(data, tmp_path):
    cats = data / "train" / "cat"
    whole = (cats / "000.png").read_bytes()
    (cats / "empty.jpg").write_bytes(b"")
    (cats / "text.jpg").write_text("no image")
    (cats / "cut.png").write_bytes(whole[: len(whole) // 2])
    (cats / "notes.txt").write_text("mine")
    scene(1).save(cats / "really.png", "JPEG")
    scene(2).convert("CMYK").save(cats / "inks.jpg")
    scene(3).convert("P").save(cats / "palette.png")
    Image.fromarray(np.asarray(scene(4).convert("L")).astype(np.uint16) * 257).save(cats / "deep.png")
    Image.fromarray(np.asarray(scene(11).convert("L")).astype(np.uint16) * 16).save(cats / "faint.png")  # 12 bits
    scene(5).save(cats / "film.gif", save_all=True, append_images=[scene(6), scene(7)])
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(8).save(cats / "turned.jpg", exif=exif)
    scene(9, (20, 24)).save(cats / "little.png")
    scene(10, (400, 60)).save(cats / "strip.png")
    Image.new("1", (8000, 7000)).save(cats / "huge.png")
    (cats / ("ü 😀 " + "x" * 200 + ".png")).write_bytes(whole)
    _, found = examine(data, tmp_path)
    names = {kind: {file.rpartition("/")[2] for file in files(one)} for kind, one in found.items()}
    assert names["unreadable"] == {"empty.jpg", "text.jpg", "cut.png"}
    assert names["not used"] == {"notes.txt"}
    assert found["not used"]["what"] == "not used: 1 text file"
    assert found["huge"]["what"].startswith("1 file of more than")
    assert names["ending"] == {"really.png"}
    assert names["colours"] == {"inks.jpg", "palette.png", "huge.png", "film.gif"}
    assert names["deep"] == {"deep.png", "faint.png"}
    assert names["faint"] == {"faint.png"}
    assert names["animated"] == {"film.gif"}
    assert names["turned"] == {"turned.jpg"}
    assert names["tiny"] == {"little.png"}
    assert names["long"] == {"strip.png"}
    assert names["huge"] == {"huge.png"}
    assert found["unreadable"]["severity"] == "error"
    assert any(name.startswith("ü 😀") for name in names["same-twice"])
    for kind in names.keys() - {"unreadable", "not used"}:
        with Image.open(tmp_path / "found" / f"{kind}.png") as sheet:
            assert min(sheet.size) > 100


def test_what_is_not_used_is_counted_as_check_does(data, tmp_path):
    for number in range(30):
        (data / "train" / "cat" / f"IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (data / "train" / "@eaDir").mkdir()
    _, found = examine(data, tmp_path)
    assert (
        found["not used"]["what"]
        == "not used: 30 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG), 1 @eaDir folder"
    )
    assert json.loads((tmp_path / "found" / "doctor.json").read_text())["not_used"] == {"HEIC": 30, "@eaDir folders": 1}


def test_copies_within_a_class_across_splits_and_across_labels(data, tmp_path):
    train, validation = data / "train", data / "validation"
    shutil.copy(train / "cat" / "001.png", train / "cat" / "again.png")
    shutil.copy(train / "cat" / "002.png", validation / "cat" / "leak.png")
    shutil.copy(train / "cat" / "003.png", train / "dog" / "torn.png")
    scene(4).resize((60, 45)).save(train / "cat" / "half.png")
    scene(5).save(validation / "cat" / "packed.jpg", quality=40)
    brighter = Image.eval(scene(1006), lambda value: min(255, int(value * 1.1)))
    brighter.save(train / "cat" / "brighter.png")
    _, found = examine(data, tmp_path)
    assert files(found["same-twice"]) == {"train/cat/001.png", "train/cat/again.png"}
    assert files(found["same-leak"]) == {"train/cat/002.png", "validation/cat/leak.png"}
    assert files(found["same-torn"]) == {"train/cat/003.png", "train/dog/torn.png"}
    assert files(found["near-twice"]) == {"train/cat/004.png", "train/cat/half.png"}
    assert files(found["near-leak"]) == {"train/cat/005.png", "validation/cat/packed.jpg"}
    assert files(found["near-torn"]) == {"train/dog/006.png", "train/cat/brighter.png"}
    assert found["same-leak"]["severity"] == "error"


def test_lists_are_written_edited_and_taken(data, tmp_path, capsys):
    """A copy in training goes, the held-out one stays; the lists are a person's from then on."""
    shutil.copy(data / "train" / "cat" / "003.png", data / "validation" / "cat" / "copy.png")
    (data / "train" / "dog" / "text.png").write_text("no image")
    before = sorted(str(path) for path in data.rglob("*"))
    lists = tmp_path / "lists"
    assert examine(data, tmp_path, f"write={lists}")[0] == 0
    assert sorted(str(path) for path in data.rglob("*")) == before
    assert (lists / "exclude.csv").read_text() == (
        "path,why\ntrain/dog/text.png,not an image but text\n"
        "train/cat/003.png,the same as validation/cat/copy.png in validation\n"
    )
    assert (lists / "relabel.csv").read_text() == "path,label,was,share\n"
    code, found = examine(data, tmp_path, f"data.exclude={lists}/exclude.csv")
    assert (code, list(found)) == (0, ["few"])
    capsys.readouterr()
    assert examine(data, tmp_path, f"write={lists}")[0] == 2
    assert "exclude.csv is there, and may have been edited" in capsys.readouterr().err


def test_suspect_labels_come_with_the_proposed_one(data, tmp_path, monkeypatch):
    suspect = neighbours.Suspect(20, 0, 0.95)  # the first dog of training
    monkeypatch.setattr(doctor, "_suspects", lambda *given: [suspect])
    monkeypatch.setattr(doctor, "_names_a_base", lambda *given: True)
    assert examine(data, tmp_path, f"write={tmp_path}/lists")[0] == 0
    assert (tmp_path / "lists/relabel.csv").read_text() == "path,label,was,share\ntrain/dog/000.png,cat,dog,0.95\n"
    _, found = examine(data, tmp_path, f"data.relabel={tmp_path}/lists/relabel.csv")
    assert found["data"]["what"] == "1 label is changed by relabel.csv"


def test_classes(data, tmp_path):
    for number in range(8, 300):
        scene(3000 + number, (32, 32)).save(data / "train" / "cat" / f"more-{number}.png")
    for file in sorted((data / "train" / "dog").iterdir())[5:]:
        file.unlink()
    _, found = examine(data, tmp_path)
    assert "dog 5" in found["few"]["what"]
    assert "cat has 62 times as many" in found["uneven"]["what"]


def test_a_gate_and_json(data, tmp_path, capsys):
    assert examine(data, tmp_path, "fail_on=warning")[0] == 0
    shutil.copy(data / "train" / "cat" / "002.png", data / "validation" / "cat" / "leak.png")
    capsys.readouterr()
    assert examine(data, tmp_path, "fail_on=error", "format=json")[0] == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in told["findings"]] == ["same-leak"]
    assert told["classes"]["train"] == {"cat": 20, "dog": 20}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["data.dir=nowhere"], "nowhere"),
        (["data.dirr=x", "data=image_folder"], "dir"),
        (["format=xml"], "json"),
        (["data.dir={photos}", "output={photos}"], "holds other files"),
        (["data.dir={photos}", "data.validation=0.1,0.2"], "one value"),
    ],
)
def test_bad_input_is_one_message(tmp_path, capsys, line, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = make_images(tmp_path / "photos", count=2)
    assert main([word.format(photos=photos) for word in line]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_it_looks_without_tensorflow(data, tmp_path):
    code = (
        "import sys; from framework.doctor import main;"
        f"main(['data.dir={data}', 'output={tmp_path / 'out'}']); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.real
def test_wrong_labels_and_near_copies_of_real_photos(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = shared / "data" / "clothing"
    paths = sorted(str(path) for path in (photos / "validation").rglob("*.jpg"))
    copies = []
    for number, path in enumerate(paths[::6]):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        copies.append(str(tmp_path / f"{number}.jpg"))
        image.resize((image.width // 2, image.height // 2)).save(copies[-1], quality=70)
    groups = alike.near(look_at([*paths, *copies]))
    assert sorted(map(tuple, groups)) == [(6 * number, len(paths) + number) for number in range(len(copies))]

    rng, wrong = np.random.default_rng(0), set()
    paths = sorted(str(path) for path in (photos / "train").rglob("*.jpg"))
    classes = sorted({path.split("/")[-2] for path in paths})
    for place, path in enumerate(paths):
        label = path.split("/")[-2]
        if place % 50 == 0:
            label = str(rng.choice([one for one in classes if one != label]))
            wrong.add(path.rpartition("/")[2])
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / label / path.rpartition("/")[2]).symlink_to(path)
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    base = ["model=mobilenet", "model.alpha=0.25", f"model.weights={weights}"]
    _, found = examine(tmp_path / "data", tmp_path, *base)
    suspected = {file.rpartition("/")[2] for file in files(found["label"])}
    assert len(suspected & wrong) > 0.25 * len(wrong)
    assert len(suspected & wrong) > 0.4 * len(suspected)

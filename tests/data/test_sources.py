"""Sources: what they list, and what they say of data that can't be used."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from framework.config.settings import DataSettings
from framework.core.errors import BadInput
from framework.data.sources import csv, garments, image_folder, read
from tests.conftest import make_pictures


def folder(path, **changes):
    return image_folder(1, **{"dir": str(path), "validation": 0.25, "test": 0.0, **changes})


def table(path, **changes):
    given = {
        "file": str(path),
        "path_column": "path",
        "label_column": "label",
        "separator": None,
        "split_column": None,
        "validation": 0.25,
        "test": 0.0,
    }
    return csv(1, **{**given, **changes})


def complaints(error):
    return [problem.what for problem in error.value.problems]


def test_split_folders_are_read_with_sorted_classes(photos):
    pictures = folder(photos)
    assert pictures.classes == ("blue", "green", "red")
    assert {name: len(split) for name, split in pictures.splits.items()} == {"train": 24, "validation": 12}
    train = pictures.splits["train"]
    assert train.labels.dtype == np.int32
    assert all(f"/{pictures.classes[label]}/" in path for path, label in zip(train.paths, train.labels, strict=True))


@pytest.mark.parametrize(("train", "validation"), [("training", "val"), ("Train", "valid")])
def test_other_names_of_split_folders(photos, train, validation):
    (photos / "train").rename(photos / train)
    (photos / "validation").rename(photos / validation)
    assert len(folder(photos).splits["validation"]) == 12


def test_one_folder_is_split_by_seed_and_name_in_each_class(photos, tmp_path):
    one = folder(photos / "train", test=0.125)
    assert {name: len(split) for name, split in one.splits.items()} == {"train": 15, "validation": 6, "test": 3}
    assert all(np.bincount(split.labels).min() == len(split) // 3 for split in one.splits.values())
    paths = [path for split in one.splits.values() for path in split.paths]
    assert len(set(paths)) == 24
    (photos / "train").rename(tmp_path / "elsewhere")
    moved = folder(tmp_path / "elsewhere", test=0.125)
    for name, split in one.splits.items():
        assert [os.path.basename(path) for path in split.paths] == [
            os.path.basename(path) for path in moved.splits[name].paths
        ]
    other = image_folder(2, dir=str(tmp_path / "elsewhere"), validation=0.25, test=0.125)
    assert other.splits["validation"].paths != moved.splits["validation"].paths


def test_a_class_called_train_is_no_split(tmp_path):
    make_pictures(tmp_path / "vehicles", classes=("train", "car"), count=4)
    assert folder(tmp_path / "vehicles").classes == ("car", "train")


def test_what_is_no_picture_is_ignored_and_named(photos):
    (photos / "train" / "red" / "notes.txt").write_text("x")
    (photos / "train" / "red" / ".hidden.jpg").write_text("x")
    (photos / "train" / ".cache").mkdir()
    (photos / "train" / "red" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    pictures = folder(photos)
    assert len(pictures.splits["train"]) == 24
    assert sorted(os.path.basename(path) for path in pictures.ignored) == [".hidden.jpg", "gone.jpg", "notes.txt"]


def test_nested_linked_and_strangely_named_pictures_are_found(photos, tmp_path):
    red = photos / "train" / "red"
    deep = red / "deep er" / "más 🎩"
    deep.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(deep / ("n" * 200 + ".PNG"))
    (red / "again").symlink_to(red)
    (red / "self").symlink_to("self")
    make_pictures(tmp_path / "far", classes=("red",), count=2, seed=9)
    (red / "linked").symlink_to(tmp_path / "far" / "red")
    assert len(folder(photos).splits["train"]) == 24 + 1 + 2


def test_a_missing_folder_names_its_nearest_sibling(photos):
    with pytest.raises(BadInput) as error:
        folder(photos.parent / "fotos")
    (problem,) = error.value.problems
    assert problem.what == f"there is no folder {photos.parent / 'fotos'}"
    assert problem.where == "data.dir"
    assert problem.right == str(photos)


def test_all_faults_of_a_folder_come_together(photos):
    for path in (photos / "train" / "red").iterdir():
        path.unlink()
    (photos / "validation" / "green").rename(photos / "validation" / "greene")
    with pytest.raises(BadInput) as error:
        folder(photos)
    assert complaints(error) == [
        f"class 'red' is empty: no picture in {photos / 'train' / 'red'}",
        f"the classes of {photos / 'validation'} differ from training's: "
        "it has greene, which training has not and lacks green",
    ]
    assert error.value.problems[1].right == "is it green for greene?"


def test_folders_without_classes_or_with_one(tmp_path):
    make_pictures(tmp_path / "one", classes=("red",), count=2)
    with pytest.raises(BadInput, match="has one class only: red"):
        folder(tmp_path / "one")
    with pytest.raises(BadInput, match="has no class folders"):
        folder(tmp_path / "one" / "red")


def test_no_validation_at_all_is_refused(photos):
    with pytest.raises(BadInput, match="the data has no validation pictures"):
        folder(photos / "train", validation=0.0)
    with pytest.raises(BadInput, match="leave nothing to train on"):
        folder(photos / "train", validation=0.6, test=0.5)


def manifest(photos, rows, header="path,label,part"):
    path = photos / "list.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return path


def listed(photos, split="train"):
    return [str(path.relative_to(photos)) for path in sorted((photos / split).rglob("*.jpg"))]


def test_csv_with_a_split_column(photos):
    rows = [f"{name},{name.split('/')[1]},train" for name in listed(photos)]
    rows += [f"{name},{name.split('/')[1]},Val" for name in listed(photos, "validation")]
    pictures = table(manifest(photos, rows), split_column="part")
    assert pictures.classes == ("blue", "green", "red")
    assert {name: len(split) for name, split in pictures.splits.items()} == {"train": 24, "validation": 12}
    assert all(os.path.isfile(path) for path in pictures.splits["train"].paths)


def test_csv_with_several_labels(photos):
    names = listed(photos)
    rows = [f"{name},{label}," for name, label in zip(names, ["a|b", "b", "", "c | a"] * 6, strict=True)]
    pictures = table(manifest(photos, rows), separator="|")
    assert pictures.multilabel
    assert pictures.classes == ("a", "b", "c")
    labels = {
        os.path.relpath(p, photos): list(row)
        for s in pictures.splits.values()
        for p, row in zip(s.paths, s.labels, strict=True)
    }
    assert [labels[name] for name in names[:4]] == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert len(pictures.splits["validation"]) == 6


def test_csv_faults(photos):
    names = listed(photos)
    rows = [f"{names[0]},red,train", "nowhere.jpg,,train", f"{names[1]},blue,trian"]
    path = manifest(photos, rows)
    with pytest.raises(BadInput) as error:
        table(path, split_column="part")
    assert complaints(error) == [
        "1 of 3 rows name a file that is not there: nowhere.jpg",
        "1 of 3 rows have no label: row 2",
        "column 'part' has values that name no split: 'trian'",
    ]
    with pytest.raises(BadInput) as error:
        table(path, label_column="lable")
    assert error.value.problems[0].right == "label (one of: path, label, part)"
    with pytest.raises(BadInput) as error:
        table(photos / "lists.csv")
    assert error.value.problems[0].right == str(path)
    rows = [f"{names[0]},red,train", f"{names[1]},blue,train", f"{names[2]},teal,test"]
    with pytest.raises(BadInput, match="test has classes that training has not: teal"):
        table(manifest(photos, rows), split_column="part")
    with pytest.raises(BadInput, match="has no rows"):
        table(manifest(photos, []))


def test_garments_are_listed_before_they_are_drawn(own_cache):
    pictures = garments(5, train=23, validation=11, size=32)
    assert len(pictures.classes) == 10
    assert [len(split) for split in pictures.splits.values()] == [23, 11]
    assert sorted(np.bincount(pictures.splits["train"].labels)) == [2] * 7 + [3] * 3
    paths = [path for split in pictures.splits.values() for path in split.paths]
    assert not any(os.path.exists(path) for path in paths)
    pictures.prepare()
    assert all(Image.open(path).size == (32, 32) for path in paths)
    before = os.stat(paths[0]).st_mtime_ns
    pictures.prepare()
    assert os.stat(paths[0]).st_mtime_ns == before
    assert all(path.startswith(str(own_cache)) for path in paths)
    root = os.path.dirname(os.path.dirname(os.path.dirname(paths[0])))
    again = folder(root)
    assert sorted(again.splits["train"].paths) == sorted(pictures.splits["train"].paths)
    assert again.classes == pictures.classes


def test_read_narrows_what_the_source_lists(photos):
    settings = DataSettings(
        name="image_folder",
        parameters={"dir": str(photos), "validation": 0.2, "test": 0.0},
        image_size=32,
        classes=None,
        positive="red",
        limit=6,
        seed=1,
        class_weights=None,
        memory_limit=10,
        on_error="stop",
    )
    pictures = read(settings)
    assert pictures.classes == ("not red", "red")
    assert np.bincount(pictures.splits["train"].labels).tolist() == [4, 2]


@pytest.mark.parametrize("name", ["garments", "image_folder", "csv"])
def test_options_give_every_parameter(name):
    from pathlib import Path

    from framework.core import registry

    path = Path(__file__).parents[2] / "conf" / "data" / f"{name}.yaml"
    assert path.read_text().startswith("# ")
    node = yaml.safe_load(path.read_text())
    assert set(node) == {"name", *registry.get("source", node["name"]).parameters}


def test_listing_loads_no_tensorflow(photos):
    code = (
        "import sys; from framework.data import sources, decode, fingerprint, pipeline, labels\n"
        "import framework.parts.augmentations\n"
        f"sources.image_folder(1, dir={str(photos)!r}, validation=0.2, test=0.0)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real
def test_real_photos(shared):
    pictures = folder(shared / "data" / "clothing")
    assert len(pictures.splits["train"]) == 3068
    assert len(pictures.splits["validation"]) == 341
    assert len(pictures.classes) == 10
    assert not pictures.ignored

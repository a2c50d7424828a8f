"""Sources: what they list, and what they say of data that can't be used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from framework.config.settings import DataSettings
from framework.core import registry
from framework.core.errors import BadInput
from framework.data import folders
from framework.data.classified import read_names
from framework.data.edits import edited
from framework.data.selection import narrow
from framework.data.sources import garments, image_folder, read, read_all
from tests.conftest import make_images


def folder(path, **changes):
    return read_all("image_folder", 1, **{"dir": str(path), "validation": 0.25, "test": 0.0, **changes})


def table(path, **changes):
    given = {
        "file": str(path),
        "path_column": "path",
        "label_column": "label",
        "separator": None,
        "split_column": None,
        "folder": None,
        "names": None,
        "validation_file": None,
        "test_file": None,
        "validation": 0.25,
        "test": 0.0,
    }
    return read_all("csv", 1, **{**given, **changes})


def complaints(error):
    return [problem.what for problem in error.value.problems]


def test_split_folders_are_read_with_sorted_classes(photos):
    images = folder(photos)
    assert images.classes == ("blue", "green", "red")
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 24, "validation": 12}
    train = images.splits["train"]
    assert train.labels.dtype == np.int32
    assert all(f"/{images.classes[label]}/" in path for path, label in zip(train.paths, train.labels, strict=True))


@pytest.mark.parametrize(
    ("train", "validation"),
    [("training", "val"), ("Train", "valid"), ("TRAINING", "Dev"), ("seg_train", "seg_eval"), ("train2017", "val2017")],
)
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
    other = read_all("image_folder", 2, dir=str(tmp_path / "elsewhere"), validation=0.25, test=0.125)
    assert other.splits["validation"].paths != moved.splits["validation"].paths


def test_a_class_called_train_is_no_split(tmp_path):
    make_images(tmp_path / "vehicles", classes=("train", "car"), count=4)
    assert folder(tmp_path / "vehicles").classes == ("car", "train")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def counted(images):
    return {one.kind.several: one.count for one in images.unused}


def test_what_lies_on_the_way_to_splits_is_counted_too(photos, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    photos.rename(outer / "photos")
    (outer / "notes.txt").write_text("x")
    (outer / "photos" / "list.csv").write_text("x")
    make_images(outer / "photos" / "more", count=2)
    (outer / "photos" / "train" / "red" / "again").symlink_to(outer / "photos" / "train")
    images = folder(outer)
    assert len(images.splits["train"]) == 24
    assert counted(images) == {"text files": 2, "images in more/": 6, "links to a folder around them": 1}


def test_what_the_config_leaves_out_is_counted(photos):
    images = narrow(folder(photos), ["blue", "green"], None, 6, seed=1)
    assert counted(images) == {"images of other classes": 12, "images": 36 - 12 - 12}
    assert dict(images.told())["not used"] == "12 images of other classes (data.classes), 12 images (data.limit)"
    assert all(one.wanted for one in images.unused)


def test_what_is_not_used_is_counted_by_kind(photos):
    red = photos / "train" / "red"
    jpeg = next(red.iterdir()).read_bytes()
    for number in range(10):
        (red / f"IMG_{number}.HEIC").write_bytes(HEIC)
    (red / "apple.photo").write_bytes(HEIC)
    (red / "apple").write_bytes(HEIC)
    (red / "jpeg").write_bytes(jpeg)
    (red / "unknown").write_bytes(b"\1\2\3")
    (red / "unknown.bin").write_bytes(b"\1\2\3")
    (red / "empty.dat").write_bytes(b"")
    (red / "raw.CR2").write_bytes(b"II*\0")
    (red / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    for place, name in ((red, ".DS_Store"), (red, "._red.jpg"), (red, "Thumbs.db"), (red, "a.txt"), (photos, "b.csv")):
        (place / name).write_text("x")
    (photos / "train" / "loose.jpg").write_bytes(jpeg)
    images = folder(photos)
    assert len(images.splits["train"]) == 24
    assert counted(images) == {
        "HEIC": 12,
        "hidden files": 2,
        "text files": 2,
        "files of the system": 1,
        ".bin files": 1,
        "without ending": 1,
        "JPEG without an image's ending": 1,
        "raw photos": 1,
        "broken links": 1,
        "empty files": 1,
        "images beside the class folders": 1,
    }
    text = dict(images.told())["not used"]
    assert text.startswith(
        "12 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG), 2 hidden files, 2 text files, 1 "
    )
    assert "1 broken link," in text
    assert not folder(photos / "validation").told()


def test_of_many_files_with_one_ending_some_are_looked_into(photos, monkeypatch):
    for number in range(150):
        (photos / "train" / "red" / f"{number}.label").write_text("mine")
        (photos / "train" / "red" / f"{number}.mixed").write_bytes([b"\1", HEIC][number % 2])
    opened = []
    real = folders.format_of
    monkeypatch.setattr(folders, "format_of", lambda head: (opened.append(head), real(head))[1])
    found = counted(folder(photos))
    assert len(opened) == 200
    assert found["text files"] == 150
    assert found["HEIC"] + found[".mixed files"] == 150


@pytest.mark.parametrize(
    "name", ["@eaDir", ".thumbnails", "__MACOSX", "lost+found", ".ipynb_checkpoints", "#recycle", "$RECYCLE.BIN"]
)
@pytest.mark.parametrize("place", ["train", "train/red", "."])
def test_folders_of_systems_and_programs_are_no_classes(photos, name, place):
    thumb = photos / place / name / "SYNOPHOTO_THUMB_M.jpg"
    thumb.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(thumb)
    images = folder(photos)
    assert images.classes == ("blue", "green", "red")
    assert len(images.splits["train"]) == 24
    assert counted(images) == {f"{name} folders": 1}
    assert images.told() == [("not used", f"1 {name} folder")]


def test_the_layout_that_archives_unpack_to(photos):
    scenes = photos.parent / "scenes"
    scenes.mkdir()
    for name, split in (("seg_train", "train"), ("seg_test", "validation")):
        (scenes / name).mkdir()
        (photos / split).rename(scenes / name / name)
    make_images(scenes / "seg_pred", classes=("seg_pred",), count=5)
    images = folder(scenes)
    assert images.classes == ("blue", "green", "red")
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 18, "validation": 6, "test": 12}
    assert images.told() == [
        ("not used", "5 images in seg_pred/ (beside the splits)"),
        ("note", "splits by name: train is seg_train/seg_train, test is seg_test/seg_test"),
    ]
    assert folder(scenes.parent / "scenes").splits["train"].paths == images.splits["train"].paths


def test_a_folder_beside_the_splits_is_named(photos):
    make_images(photos / "extra", classes=("red", "blue"), count=3)
    (photos / "papers").mkdir()
    assert folder(photos).told() == [("not used", "6 images in extra/ (beside the splits)")]


def test_a_stray_image_makes_no_class_of_a_split(photos):
    Image.new("RGB", (8, 8)).save(photos / "train" / "stray.jpg")
    images = folder(photos)
    assert images.classes == ("blue", "green", "red")
    assert counted(images) == {"images beside the class folders": 1}


def test_folders_that_could_be_the_same_split_are_asked_about(photos):
    make_images(photos / "dev", count=2)
    with pytest.raises(BadInput) as error:
        folder(photos)
    assert complaints(error) == [f"{photos} has several validation folders: dev, validation"]
    assert error.value.problems[0].right.startswith("one of them alone, called validation")
    (photos / "dev").rename(photos / "test")
    (photos / "train").rename(photos / "learn")
    with pytest.raises(BadInput, match=r"has folders for validation and test .*, and none to train on"):
        folder(photos)
    sets = photos.parent / "sets"
    for year in (2014, 2017):
        for split in ("train", "val"):
            make_images(sets / f"{split}{year}", count=2)
    with pytest.raises(BadInput, match="holds several sets of splits: train2014"):
        folder(sets)


def test_names_that_look_the_same_are_one_class(photos):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (photos / "train" / "red").rename(photos / "train" / composed)
    (photos / "train" / "green").rename(photos / "train" / decomposed)
    (photos / "validation" / "red").rename(photos / "validation" / decomposed)
    (photos / "validation" / "green").rename(photos / "validation" / composed)
    images = folder(photos)
    assert images.classes == ("blue", composed)
    assert np.bincount(images.splits["train"].labels).tolist() == [8, 16]
    assert narrow(images, [decomposed, "blue"], None, None, 1).classes == (composed, "blue")
    assert narrow(images, None, decomposed, None, 1).classes == (f"not {composed}", composed)
    names = listed(photos)
    rows = [f"{name},{label}," for name, label in zip(names, [composed, decomposed, "b"] * 8, strict=True)]
    assert table(manifest(photos, rows)).classes == ("b", composed)


def test_a_class_that_is_left_out_is_no_fault(photos):
    for path in (photos / "train" / "red").iterdir():
        path.unlink()
    for path in (photos / "validation" / "green").iterdir():
        path.unlink()
    make_images(photos / "train", classes=("white",), count=3)
    make_images(photos / "validation", classes=("pink",), count=3)
    make_images(photos / "train", classes=("grey",), count=3)
    make_images(photos / "validation", classes=("grey",), count=3)
    with pytest.raises(BadInput) as error:
        folder(photos)
    assert len(complaints(error)) == 3
    listed = image_folder(1, dir=str(photos), validation=0.2, test=0.0)
    assert narrow(listed, ["blue", "grey"], None, None, 1).classes == ("blue", "grey")
    with pytest.raises(BadInput, match="class 'red' is empty"):
        narrow(listed, ["blue", "grey", "red"], None, None, 1)
    with pytest.raises(BadInput, match=r"differ from training's: it lacks white\n"):
        narrow(listed, ["blue", "white"], None, None, 1)


def test_what_only_the_test_lacks_or_has_is_told(photos):
    make_images(photos / "test", classes=("red", "blue", "unlabelled"), count=2)
    images = folder(photos)
    assert len(images.splits["test"]) == 4
    assert images.told() == [
        ("not used", "2 test images (of what training has not: unlabelled)"),
        ("note", "there are no test images of green"),
    ]
    rows = [f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in listed(photos) + listed(photos, "test")]
    images = table(manifest(photos, rows), split_column="part")
    assert images.classes == ("blue", "green", "red")
    assert len(images.splits["test"]) == 4
    assert counted(images) == {"test images": 2}


def test_nested_linked_and_strangely_named_images_are_found(photos, tmp_path):
    red = photos / "train" / "red"
    deep = red / "deep er" / "más 🎩"
    deep.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(deep / ("n" * 200 + ".PNG"))
    (red / "again").symlink_to(red)
    (red / "self").symlink_to("self")
    (red / "self.jpg").symlink_to("self.jpg")
    make_images(tmp_path / "far", classes=("red",), count=2, seed=9)
    (red / "linked").symlink_to(tmp_path / "far" / "red")
    assert len(folder(photos).splits["train"]) == 24 + 1 + 2


def test_a_folder_that_many_links_lead_to_is_read_once(photos):
    """Two links to the next folder in each of sixty would be as many ways as there are of sixty coins."""
    chain = photos / "train" / "red" / "chain"
    for step in range(60):
        (chain / str(step)).mkdir(parents=True)
        for name in "ab":
            (chain / str(step) / name).symlink_to(f"../{step + 1}")
    (chain / "60").mkdir()
    Image.new("RGB", (8, 8)).save(chain / "60" / "end.png")
    images = folder(photos)
    found = [path for path in images.splits["train"].paths if path.endswith("end.png")]
    assert len(found) == 1
    assert counted(images)["links to folders that are read already"] >= 60


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
        f"class 'red' is empty: no image in {photos / 'train' / 'red'}",
        f"the classes of {photos / 'validation'} differ from training's: "
        "it has greene, which training has not and lacks green",
    ]
    assert error.value.problems[1].right == "is it green for greene?"


def test_folders_without_classes_or_with_one(tmp_path):
    make_images(tmp_path / "one", classes=("red",), count=2)
    with pytest.raises(BadInput, match="has one class only: red"):
        folder(tmp_path / "one")
    with pytest.raises(BadInput, match="has no class folders"):
        folder(tmp_path / "one" / "red")


def test_no_validation_at_all_is_refused(photos):
    with pytest.raises(BadInput, match="the data has no validation images"):
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
    images = table(manifest(photos, rows), split_column="part")
    assert images.classes == ("blue", "green", "red")
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 24, "validation": 12}
    assert all(os.path.isfile(path) for path in images.splits["train"].paths)


def test_csv_with_several_labels(photos):
    names = listed(photos)
    rows = [f"{name},{label}," for name, label in zip(names, ["a|b", "b", "", "c | a"] * 6, strict=True)]
    images = table(manifest(photos, rows), separator="|")
    assert images.multilabel
    assert images.classes == ("a", "b", "c")
    labels = {
        os.path.relpath(p, photos): list(row)
        for s in images.splits.values()
        for p, row in zip(s.paths, s.labels, strict=True)
    }
    assert [labels[name] for name in names[:4]] == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert len(images.splits["validation"]) == 6


def test_csv_faults(photos):
    names = listed(photos)
    rows = [f"{names[0]},red,train", "nowhere.jpg,,train", f"{names[1]},blue,trian"]
    path = manifest(photos, rows)
    with pytest.raises(BadInput) as error:
        table(path, split_column="part")
    assert complaints(error) == [
        "1 of 3 rows names a file that is not there: nowhere.jpg",
        "1 of 3 rows has no label: row 2",
        "column 'part' has values that name no split: 'trian'",
    ]
    with pytest.raises(BadInput) as error:
        table(path, label_column="lable")
    assert error.value.problems[0].right == "label (one of: path, label, part)"
    with pytest.raises(BadInput) as error:
        table(photos / "lists.csv")
    assert error.value.problems[0].right == str(path)
    rows = [f"{names[0]},red,train", f"{names[1]},blue,train", f"{names[2]},teal,validation"]
    with pytest.raises(BadInput, match="validation has classes that training has not: teal"):
        table(manifest(photos, rows), split_column="part")
    with pytest.raises(BadInput, match="has no rows"):
        table(manifest(photos, []))


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "blanks")])
def test_csv_with_other_signs_between_columns(photos, sign, name):
    rows = [sign.join([path, path.split("/")[1], "train"]) for path in listed(photos)]
    images = table(manifest(photos, rows, header=sign.join(["path", "label", "part"])))
    assert images.classes == ("blue", "green", "red")
    assert images.told() == [("note", f"columns are separated by {name}")]
    with pytest.raises(BadInput) as error:
        table(manifest(photos, rows, header=sign.join(["file", "class", "set"])))
    assert error.value.problems[0].right == "one of: file, class, set"


def test_csv_without_a_header(photos):
    path = manifest(photos, [f"{name},red" for name in listed(photos)][1:], header=f"{listed(photos)[0]},red")
    with pytest.raises(BadInput) as error:
        table(path)
    assert complaints(error) == [f"{path} has an image in its first line, and no header"]
    assert error.value.problems[0].right == "a first line that names the columns: path,label"


@pytest.mark.parametrize(
    ("labels", "separator", "told"),
    [
        (["a|b", "b", "a", "c|a"], None, "taken for one class: a|b, c|a; data.separator='|'"),
        (["a|b", "b", "a", "a"], ",", "taken for one class: a|b; data.separator='|'"),
        (["dress hat", "hat", "dress", "hat"], None, "taken for one class: dress hat; data.separator=' '"),
        (["New York", "New Jersey", "York", "Ohio"], None, ""),
        (["a|b", "b", "a", "c|a"], "|", ""),
    ],
)
def test_classes_that_look_like_several_labels_are_told(photos, labels, separator, told):
    rows = [f'{name},"{label}",' for name, label in zip(listed(photos), labels * 6, strict=True)]
    notes = table(manifest(photos, rows), separator=separator).notes
    assert len(notes) == bool(told)
    assert told in "".join(notes)


def test_garments_are_listed_before_they_are_drawn(own_cache):
    images = garments(5, train=23, validation=11, size=32)
    assert len(images.classes) == 10
    assert [len(split) for split in images.splits.values()] == [23, 11]
    assert sorted(np.bincount(images.splits["train"].labels)) == [2] * 7 + [3] * 3
    paths = [path for split in images.splits.values() for path in split.paths]
    assert not any(os.path.exists(path) for path in paths)
    images.prepare()
    assert all(Image.open(path).size == (32, 32) for path in paths)
    before = os.stat(paths[0]).st_mtime_ns
    images.prepare()
    assert os.stat(paths[0]).st_mtime_ns == before
    assert all(path.startswith(str(own_cache)) for path in paths)
    root = os.path.dirname(os.path.dirname(os.path.dirname(paths[0])))
    again = folder(root)
    assert sorted(again.splits["train"].paths) == sorted(images.splits["train"].paths)
    assert again.classes == images.classes


def test_read_narrows_what_the_source_lists(photos):
    settings = DataSettings(
        name="image_folder",
        parameters={"dir": str(photos), "validation": 0.2, "test": 0.0},
        image_size=32,
        resize="stretch",
        fill=0,
        channels=3,
        classes=None,
        positive="red",
        limit=6,
        exclude=None,
        relabel=None,
        pseudo=None,
        group=None,
        time=None,
        folds=None,
        fold=0,
        write_split=None,
        balance="none",
        prompts="{}",
        seed=1,
        class_weights=None,
        memory_limit=10,
        disk_limit=1,
        on_error="stop",
    )
    images = read(settings)
    assert images.classes == ("not red", "red")
    assert np.bincount(images.splits["train"].labels).tolist() == [4, 2]


@pytest.mark.parametrize("name", registry.names("source"))
def test_options_give_every_parameter(name):
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
    images = folder(shared / "data" / "clothing")
    assert len(images.splits["train"]) == 3068
    assert len(images.splits["validation"]) == 341
    assert len(images.classes) == 10
    assert images.told() == [("not used", "1 text file")]  # its LICENSE


def test_a_folder_that_can_t_be_listed_is_a_fault_of_its_class(photos, monkeypatch):
    walk = folders.walk

    def refused(folder, tally):
        if folder.endswith("train/red"):
            raise PermissionError(13, "Permission denied", folder)
        return walk(folder, tally)

    monkeypatch.setattr(folders, "walk", refused)
    with pytest.raises(BadInput) as error:
        folder(photos)
    assert complaints(error) == [f"{photos / 'train' / 'red'} can't be listed: Permission denied"]
    listed = image_folder(1, dir=str(photos), validation=0.2, test=0.0)
    assert narrow(listed, ["blue", "green"], None, None, 1).classes == ("blue", "green")


def test_a_list_that_is_a_device_is_told(photos):
    """It would never end."""
    images = read_all("image_folder", 1, dir=str(photos), validation=0.25, test=0.0)
    for lists in (("/dev/zero", None), (None, "/dev/zero")):
        with pytest.raises(BadInput, match="/dev/zero can't be read: it is a device"):
            edited(images, *lists)
    with pytest.raises(BadInput, match="/dev/zero can't be read: it is a device"):
        read_names("/dev/zero")

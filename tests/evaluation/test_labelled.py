"""Which images an evaluation is on, with labels in the order of the classifier's classes."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.evaluation.labelled import DataOptions, labelled
from framework.model.saved import open_file, open_run
from tests.conftest import make_images
from tests.data import sharded
from tests.evaluation.common import CLASSES, colour_network, make_run


@pytest.fixture
def trained(tmp_path, photos):
    return open_run(str(make_run(tmp_path / "run", photos)))


def message(trained, data, split=None) -> str:
    with pytest.raises(BadInput) as error:
        labelled(trained, data, split)
    return str(error.value)


def names(found):
    return [
        (path.split("/")[-2], CLASSES[label]) for path, label in zip(found.split.paths, found.split.labels, strict=True)
    ]


def test_the_run_s_own_validation_images_are_the_default(trained):
    found = labelled(trained, DataOptions(), None)
    assert (found.name, len(found.split)) == ("validation", 12)
    assert all(folder == label for folder, label in names(found))
    assert len(labelled(trained, DataOptions(), "train").split) == 24
    assert len(labelled(trained, DataOptions(), "all").split) == 36
    assert "the data has no test images" in message(trained, DataOptions(), "test")


def test_a_folder_of_class_folders_may_lack_classes(trained, tmp_path):
    make_images(tmp_path / "new", classes=("red",), count=3)
    found = labelled(trained, DataOptions(dir=str(tmp_path / "new")), None)
    assert names(found) == [("red", "red")] * 3
    assert found.name == "new"


def test_what_is_not_used_is_told_of_every_kind_of_folder(trained, tmp_path, photos):
    make_images(tmp_path / "new", count=8)
    for folder in (photos / "train", tmp_path / "new"):
        (folder / "red" / "apple.heic").write_bytes(b"\0\0\0\x18ftypheic")
        (folder / "red" / "@eaDir").mkdir()
        (folder / "red" / "@eaDir" / "thumb.jpg").write_text("none")
    says = [
        ("not used", "1 @eaDir folder, 1 HEIC (as iPhones write it: pip install 'framework[heif]', or convert to JPEG)")
    ]
    assert labelled(trained, DataOptions(), None).told == says
    for split in (None, "validation"):
        assert labelled(trained, DataOptions(dir=str(tmp_path / "new")), split).told == says
    assert labelled(trained, DataOptions(dir=str(photos)), "train").told == says


def test_a_folder_with_splits_must_be_told_which(trained, tmp_path, photos):
    assert "has splits: split must be given" in message(trained, DataOptions(dir=str(photos)))
    assert "has no test folder" in message(trained, DataOptions(dir=str(photos)), "test")
    found = labelled(trained, DataOptions(dir=str(photos)), "validation")
    assert (found.name, len(found.split)) == ("photos-validation", 12)
    make_images(tmp_path / "only" / "test", count=2)
    assert len(labelled(trained, DataOptions(dir=str(tmp_path / "only")), "test").split) == 6


def test_a_flat_folder_is_split_as_the_run_s(trained, tmp_path):
    make_images(tmp_path / "flat", count=8)
    found = labelled(trained, DataOptions(dir=str(tmp_path / "flat")), "validation")
    assert len(found.split) == 6


def test_a_folder_named_like_a_split_keeps_out_of_its_way(trained, photos):
    assert labelled(trained, DataOptions(dir=str(photos / "validation")), None).name == "photos-validation"


def test_unknown_classes_and_missing_folders_are_told(trained, tmp_path):
    make_images(tmp_path / "new", classes=("redd", "green"), count=1)
    said = message(trained, DataOptions(dir=str(tmp_path / "new")))
    assert "the model knows no class redd" in said
    assert "try:    red (one of: blue, green, red)" in said
    assert "there is no folder" in message(trained, DataOptions(dir=str(tmp_path / "nowhere")))
    assert "both given" in message(trained, DataOptions(dir="a", file="b"))


def test_a_csv_file_names_its_own_order(trained, tmp_path):
    make_images(tmp_path / "new", classes=("red", "blue"), count=2)
    rows = [f"new/{name}/{name}-0-{n:03d}.jpg,{name}" for name in ("red", "blue") for n in range(2)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    found = labelled(trained, DataOptions(file=str(tmp_path / "list.csv")), None)
    assert sorted(names(found)) == [("blue", "blue")] * 2 + [("red", "red")] * 2
    assert found.name == "list"


def test_files_of_any_kind_name_their_own_order(trained, tmp_path, photos):
    """A Parquet file for a run that was trained on class folders, whole or a split of it."""
    file = sharded.parquet(photos, tmp_path / "data")
    found = labelled(trained, DataOptions(files=str(file)), None)
    assert len(found.split) == 24
    folders = labelled(trained, DataOptions(dir=str(photos / "train")), None).split
    assert np.bincount(found.split.labels).tolist() == np.bincount(folders.labels).tolist() == [8, 8, 8]
    some = labelled(trained, DataOptions(files=str(tmp_path / "data" / "*.parquet")), "validation")
    assert 0 < len(some.split) < 24
    assert some.name.endswith("-validation")
    (tmp_path / "files.bin").write_bytes(b"")
    assert "can't be seen by their name" in message(trained, DataOptions(files=str(tmp_path / "files.bin")))
    assert "data.dir and data.files are both given" in message(trained, DataOptions(dir="a", files="b"))


def test_this_or_any_other(tmp_path, photos):
    run = open_run(str(make_run(tmp_path / "run", photos, colour_network(1), "binary", positive="red")))
    assert labelled(run, DataOptions(), None).split.labels.sum() == 4
    found = labelled(run, DataOptions(dir=str(photos)), "train")
    assert found.split.labels.sum() == 8
    assert len(found.split) == 24


def test_several_labels_come_from_a_csv(tmp_path, photos):
    run = open_run(str(make_run(tmp_path / "run", photos, task="multilabel")))
    assert "class folders say one label an image" in message(run, DataOptions(dir=str(photos / "train")))
    files = sorted((photos / "train").rglob("*.jpg"))
    (tmp_path / "l.csv").write_text(
        f"path,label\n{files[0]},red|green\n{files[1]},green\n{files[2]},\n{files[3]},blue\n"
    )
    found = labelled(run, DataOptions(file=str(tmp_path / "l.csv")), None)
    order = {path: row for path, row in zip(found.split.paths, found.split.labels, strict=True)}
    np.testing.assert_array_equal(order[str(files[0])], [0, 1, 1])
    np.testing.assert_array_equal(order[str(files[3])], [1, 0, 0])


def test_a_foreign_model_brings_no_images(tmp_path, photos):
    colour_network().save(tmp_path / "m.keras")
    trained = open_file(str(tmp_path / "m.keras"), CLASSES)
    assert "brings no images" in message(trained, DataOptions())
    assert len(labelled(trained, DataOptions(dir=str(photos)), "train").split) == 24

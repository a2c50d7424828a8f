"""Labels that a model gave: their images train and are in no other split, and what can't be is told."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.data.images import Images, Split
from framework.data.pseudo import with_pseudo
from tests.conftest import make_images, write

CLASSES = ("blue", "green", "red")


@pytest.fixture
def images(photos):
    files = {split: sorted(str(path) for path in (photos / split).rglob("*.jpg")) for split in ("train", "validation")}
    labels = {split: np.asarray([CLASSES.index(one.split("/")[-2]) for one in some]) for split, some in files.items()}
    splits = {split: Split(tuple(some), labels[split].astype(np.int32)) for split, some in files.items()}
    return Images(CLASSES, splits, multilabel=False, origin=str(photos))


@pytest.fixture
def listed(tmp_path, images):
    """Writes a list of these rows, beside a folder ``more`` with six images."""
    make_images(tmp_path / "more", ("other",), count=6, seed=9)

    def make(*rows, header="path,class,probability"):
        return str(write(tmp_path, {"pseudo.csv": "\n".join([header, *rows]) + "\n"}) / "pseudo.csv")

    return make


def name(number):
    return f"more/other/other-9-{number:03d}.jpg"


def test_they_join_what_trains_and_the_data_s_own_images_are_left_out(images, listed, photos):
    known = images.splits["validation"].paths[0]
    file = listed(f"{name(0)},red,0.971", f"./{name(1)},blue,0.96", f"{name(2)},red,0.99", f"{known},red,0.999")
    found = with_pseudo(images, file)
    before, after = images.splits["train"], found.splits["train"]
    assert after.paths[: len(before)] == before.paths
    assert [path.rpartition("/")[2] for path in after.paths[len(before) :]] == [f"other-9-00{n}.jpg" for n in range(3)]
    assert after.labels.dtype == np.int32
    assert after.labels[len(before) :].tolist() == [2, 0, 2]
    assert found.splits["validation"] is images.splits["validation"]
    assert found.notes == (
        "3 images of pseudo.csv train with labels that a model gave, none less sure than 0.96: blue 1, green 0, red 2; "
        "1 image that the data have is left out",
    )
    assert with_pseudo(images, None) is images


def test_several_labels_stand_in_a_cell(images, listed):
    splits = {key: Split(one.paths, np.eye(3, dtype=np.float32)[one.labels]) for key, one in images.splits.items()}
    several = Images(CLASSES, splits, multilabel=True, origin=images.origin)
    file = listed(f"{name(0)},red|blue,red,0.99", f"{name(1)},,red,0.02", header="path,labels,class_1,probability_1")
    labels = with_pseudo(several, file).splits["train"].labels
    assert labels[-2:].tolist() == [[1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        (
            ["more/none.jpg,red,1"],
            "path,class,probability",
            r"pseudo\.csv names 1 file that is not there: more/none\.jpg",
        ),
        ([f"{name(0)},rde,1"], "path,class,probability", r"pseudo\.csv:2 gives the label 'rde', which is no class"),
        ([f"{name(0)},1"], "path,probability", r"pseudo\.csv has no columns path and class"),
        ([], "path,class,probability", r"pseudo\.csv adds no image, for it lists none"),
    ],
)
def test_what_can_t_be_is_told(images, listed, rows, header, said):
    with pytest.raises(BadInput, match=said):
        with_pseudo(images, listed(*rows, header=header))


def test_a_list_of_what_the_data_have_adds_nothing(images, listed, tmp_path):
    with pytest.raises(BadInput, match="the data have all 1 already"):
        with_pseudo(images, listed(f"{images.splits['train'].paths[0]},red,1"))
    with pytest.raises(BadInput, match=r"there is no file .*/nowhere\.csv"):
        with_pseudo(images, f"{tmp_path}/nowhere.csv")
    numbers = Images(("age",), images.splits, multilabel=False, origin="", numbers=True)
    with pytest.raises(BadInput, match=r"data\.pseudo gives classes, and the labels are numbers"):
        with_pseudo(numbers, "pseudo.csv")

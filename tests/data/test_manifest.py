"""Numbers in the columns of a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import framework.parts  # noqa: F401 - registers the sources
from framework.core.errors import BadInput
from framework.data.manifest import read_manifest
from framework.data.sources import read
from tests.options.made import settings


def table(folder: Path, cells: list[str], header: str = "path,age", split: bool = False) -> Path:
    """A CSV file with a row an image, whose other cells are given."""
    lines = [f"{header},split" if split else header]
    for number, cell in enumerate(cells):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        of = ",validation" if number % 4 == 3 else ",train"
        lines.append(f"{number}.png,{cell}{of * split}")
    (folder / "ages.csv").write_text("\n".join(lines) + "\n")
    return folder / "ages.csv"


def listed(file: Path, **changed):
    options = [f"data.{key}={value}" for key, value in {"file": file, "label_column": "age", **changed}.items()]
    return read(settings("data=csv", *options).data, "numbers")


def told(file: Path, columns="age", separator=None) -> list[str]:
    with pytest.raises(BadInput) as error:
        read_manifest(str(file), "path", columns, separator, None, "numbers")
    return [problem.what for problem in error.value.problems]


def test_one_column_or_several_are_the_labels(tmp_path):
    file = table(tmp_path, ["1.5,-2", "3,1e3", "4,5", "6,7"], "path,age,weight", split=True)
    one = listed(file, split_column="split")
    assert (one.classes, one.numbers, one.multilabel) == (("age",), True, False)
    assert one.splits["train"].labels.tolist() == [[1.5], [3], [4]]
    both = listed(file, split_column="split", label_column="[weight,age]")
    assert both.classes == ("weight", "age")
    assert both.splits["train"].labels.dtype == np.float32
    assert both.splits["validation"].labels.tolist() == [[7, 6]]
    assert both.counts() == {"train": {}, "validation": {}}
    assert both.told() == []


def test_validation_images_are_taken_by_their_share_and_a_limit_holds(tmp_path):
    file = table(tmp_path, [str(number) for number in range(20)])
    images = listed(file, validation=0.25)
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 15, "validation": 5}
    assert {name: len(split) for name, split in listed(file, limit=3).splits.items()} == {"train": 3, "validation": 3}


def test_each_cell_that_is_no_number_is_told_with_its_line(tmp_path):
    file = table(tmp_path, ["1", "", "old", '"1,5"', "nan", "inf", "1e39", "2"])
    assert told(file) == [
        f"{file}:3: column 'age' is empty",
        f"{file}:4: column 'age' holds 'old', which is no number",
        f"{file}:5: column 'age' holds '1,5', which is no number",
        f"{file}:6: column 'age' holds 'nan', which is no finite number",
        f"{file}:7: column 'age' holds 'inf', which is no finite number",
        f"{file}:8: column 'age' holds '1e39', which is no finite number",
    ]


def test_of_many_such_cells_the_first_are_told_and_the_others_counted(tmp_path):
    found = told(table(tmp_path, ["x"] * 25))
    assert len(found) == 11
    assert found[-1].endswith(": 15 more cells hold no number")


def test_what_fits_no_numbers_is_refused(tmp_path):
    file = table(tmp_path, ["1", "2"])
    assert told(file, ["age", "age"]) == ["data.label_column names no column, or one twice"]
    assert told(file, separator="|")[0].startswith("data.separator takes labels of a cell apart")
    assert told(file, ["age", "size"]) == [f"{file} has no column 'size'"]
    with pytest.raises(BadInput, match="column 'age' holds '2'"):
        read_manifest(str(file), "path", ["age", "path"], None, None)


def test_a_source_without_numbers_says_so():
    with pytest.raises(BadInput, match="source 'garments' lists classes, and the task asks for numbers"):
        read(settings().data, "numbers")


IMAGES = ("a.jpg", "b.png", "c.jpg", "d.jpg")


def dialect(tmp_path, text, encoding="utf-8", folder="photos", **changed):
    """What is listed of a table in that form, beside a folder of four images, and what is said of it."""
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in IMAGES:
        Image.new("RGB", (8, 8)).save(tmp_path / folder / name)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    images = read_manifest(**{**GIVEN, "file": f"{tmp_path}/list.csv", "folder": f"{tmp_path}/{folder}", **changed})
    split = images.splits["train"]
    return {
        os.path.basename(path): label for path, label in zip(split.paths, split.labels.tolist(), strict=True)
    }, images


GIVEN = {"path_column": "path", "label_column": "label", "separator": None, "split_column": None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_dialects_of_spreadsheets_are_found_out_and_said(tmp_path, encoding, between):
    lines = ["path,label", "a.jpg,ü", "b.png,y", "c.jpg,ü", "d.jpg,y"]
    found, images = dialect(tmp_path, "\r\n".join(lines).replace(",", between) + "\r\n", encoding)
    assert found == {"a.jpg": 1, "b.png": 0, "c.jpg": 1, "d.jpg": 0}
    said = {",": (), ";": ("columns are separated by semicolons",), "\t": ("columns are separated by tabs",)}[between]
    assert images.notes == said + ("its text is UTF-16",) * (encoding == "utf-16")
    assert images.unused == ()


def test_ids_are_completed_by_the_endings_of_the_files_there(tmp_path):
    found, images = dialect(tmp_path, "path,label\na,x\nb,y\nc,x\n")
    assert found == {"a.jpg": 0, "b.png": 1, "c.jpg": 0}
    assert images.notes == ("images are named without their endings: .jpg, .png",)
    assert [str(one) for one in images.unused] == ["1 image that no row names"]
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(BadInput) as caught:
        dialect(tmp_path, "path,label\na,x\ne,y\n")
    assert [problem.what for problem in caught.value.problems] == [
        "1 of 2 rows names a file that is not there: e",
        "1 of 2 rows names several files, if for their endings: a",
    ]


def test_columns_of_ones_are_classes(tmp_path):
    text = "path,cat,dog,age\na.jpg,1,0,3\nb.png,0,1.0,4\nc.jpg,1,,5\nd.jpg,0,1,6\n"
    found, images = dialect(tmp_path, text, label_column=["dog", "cat"])
    assert (images.classes, images.multilabel) == (("cat", "dog"), False)
    assert found == {"a.jpg": 0, "b.png": 1, "c.jpg": 0, "d.jpg": 1}
    assert images.notes == ("2 columns are a class each, with one label an image",)
    found, images = dialect(tmp_path, text.replace("d.jpg,0", "d.jpg,1"), label_column=["dog", "cat"])
    assert images.multilabel
    assert found["d.jpg"] == [1.0, 1.0]
    assert images.notes == ("2 columns are a class each, with any number of labels an image",)
    with pytest.raises(BadInput, match=r"list.csv has no column 'label', and 2 columns of 0 and 1\n.*\n.*\[cat,dog\]"):
        dialect(tmp_path, text.replace("c.jpg,1,", "c.jpg,1,0"))
    with pytest.raises(BadInput, match=r"list.csv:3: column 'dog' holds '2'"):
        dialect(tmp_path, text.replace("1.0", "2"), label_column=["dog", "cat"])


def test_rows_of_one_image_are_told(tmp_path):
    assert dialect(tmp_path, "path,label\na.jpg,x\nb.png,y\na.jpg,y\n")[1].notes == (
        "1 row names an image that an earlier one names",
    )

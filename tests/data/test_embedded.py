"""Features in place of images: which rows there are, by a row group at a time, and what is no file of features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framework.core.errors import BadInput
from framework.data import fingerprint
from framework.data.embedded import MADE, list_embedded, unlike
from framework.data.selection import readable

MADE_BY = {
    "model": {"name": "mobilenet", "alpha": 0.25},
    "pooling": {"name": "avg"},
    "geometry": {"image_size": [32, 32], "resize": "stretch", "channels": 3},
    "cut": ["pooling"],
    "weights": "0" * 32,
    "classes": ["red", "green", "blue"],
    "words": ["model=mobilenet"],
}


def written(file: Path, rows=12, size=4, dtype="float32", made=MADE_BY, first=0, labels=None, splits=None) -> Path:
    """A file of made features: those of row n are n, n + 1, …; row groups of five."""
    numbers = (np.arange(first, first + rows)[:, None] + np.arange(size)).astype(dtype)
    lists = pa.FixedSizeListArray.from_arrays(numbers.reshape(-1), size)
    names = [f"/gone/{number:03d}.jpg" for number in range(first, first + rows)]
    labels = labels or [MADE_BY["classes"][number % 3] for number in range(rows)]
    splits = splits or ["validation" if number % 4 == 3 else "train" for number in range(rows)]
    table = pa.table({"path": names, "split": splits, "label": labels, "features": lists})
    table = table.replace_schema_metadata({} if made is None else {MADE: json.dumps(made)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=5)
    return file


def listed(files, labels="classes"):
    return list_embedded(str(files), labels, 0.0, 0.0)


def test_rows_are_images_of_which_none_is_there(tmp_path):
    images = listed(written(tmp_path / "a.parquet"))
    assert images.classes == ("red", "green", "blue")  # in the order of the network that made them
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 9, "validation": 3}
    assert images.splits["validation"].paths == ("/gone/003.jpg", "/gone/007.jpg", "/gone/011.jpg")
    assert images.splits["train"].labels.tolist() == [0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert readable(images, "stop") == (images, {})
    assert len(fingerprint.dataset(images)) == 32


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_wanted_rows_are_read_over_files_and_row_groups(tmp_path, dtype):
    written(tmp_path / "a.parquet", 12, dtype=dtype)
    written(tmp_path / "b.parquet", 7, dtype=dtype, first=12)
    features = listed(tmp_path).features
    assert (features.size, features.dtype) == (4, dtype)
    wanted = np.array([0, 1, 9, 11, 12, 18])
    rows, values = zip(*features.read(wanted), strict=True)
    np.testing.assert_array_equal(np.concatenate(rows), wanted)
    np.testing.assert_array_equal(np.concatenate(values), wanted[:, None] + np.arange(4))
    assert [len(one) for one in rows] == [2, 1, 1, 1, 1]  # a row group at a time, and none that nobody wants
    assert features.rows["/gone/013.jpg"] == 13


def test_any_change_of_a_file_is_another_fingerprint(tmp_path):
    before = fingerprint.dataset(listed(written(tmp_path / "a.parquet")))
    assert fingerprint.dataset(listed(written(tmp_path / "a.parquet", size=5))) != before


def test_labels_may_be_several_or_numbers(tmp_path):
    several = [["red"], ["red", "blue"], []] * 4
    images = listed(written(tmp_path / "a.parquet", labels=several))
    assert images.multilabel
    assert images.splits["train"].labels[:3].tolist() == [[1, 0], [1, 1], [0, 0]]  # of classes that occur
    ages = [[float(number)] for number in range(12)]
    file = written(tmp_path / "b.parquet", labels=ages, made={**MADE_BY, "classes": ["age"]})
    images = listed(file, "numbers")
    assert (images.classes, images.numbers) == (("age",), True)
    assert images.splits["validation"].labels.tolist() == [[3.0], [7.0], [11.0]]
    for wrong, labels in ((file, "classes"), (tmp_path / "a.parquet", "numbers")):
        with pytest.raises(BadInput):
            listed(wrong, labels)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"made": None}, "does not say by which network its features were made"),
        ({"made": {"model": {}}}, "does not say by which network its features were made"),
        ({"dtype": "float64"}, "column 'features' of "),
        ({"splits": ["test"] * 12}, "has no row of split train"),
    ],
)
def test_what_is_no_file_of_features_is_told(tmp_path, given, what):
    with pytest.raises(BadInput) as caught:
        listed(written(tmp_path / "a.parquet", **given))
    (problem,) = caught.value.problems
    assert what in problem.what
    assert "\n" not in problem.what


def test_other_files_are_told(tmp_path):
    pq.write_table(pa.table({"path": ["a"], "label": ["b"]}), tmp_path / "c.parquet")
    with pytest.raises(BadInput, match="has no column 'split', 'features'"):
        listed(tmp_path / "c.parquet")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(BadInput, match="can't be read"):
        listed(tmp_path / "d.parquet")
    written(tmp_path / "several" / "a.parquet")
    written(tmp_path / "several" / "b.parquet", first=12, made={**MADE_BY, "weights": "1" * 32})
    with pytest.raises(BadInput, match="1 file of features are of another network"):
        listed(tmp_path / "several")


def test_what_differs_of_two_networks():
    now = {group: dict(MADE_BY[group]) for group in ("model", "pooling", "geometry")}
    assert unlike(MADE_BY, now) == []
    now["model"]["alpha"], now["geometry"]["resize"] = 1.0, "crop"
    assert unlike(MADE_BY, now) == ["model.alpha", "data.resize"]
    now["model"] = {"name": "cnn", "filters": [4]}
    assert unlike(MADE_BY, now) == ["model.name", "data.resize"]

"""Shards and tables: they give the images of the folder they were made of, and what is wrong with them is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framework.core import registry
from framework.core.errors import BadInput
from framework.data import columns, containers, decode, fingerprint
from framework.data import tfrecord as module
from framework.data.parquet import Table
from framework.data.shards import shard_files
from framework.data.sources import read_all
from framework.evaluation import inputs
from framework.inspection.look import look_at
from tests.conftest import bash
from tests.data.archived import archive, write_archive
from tests.data.sharded import CLASSES, example, parquet, records, samples, tfrecord, webdataset

SHARES = {"validation": 0.25, "test": 0.0}
USUAL = {
    "parquet": {"image_column": None, "label_column": None, "names": None},
    "webdataset": {"label": "cls", "label_key": "label", "names": None},
    "tfrecord": {
        "image_key": "image/encoded",
        "label_key": "image/class/label",
        "text_key": "image/class/text",
        "names": None,
    },
}
MAKE = {"parquet": parquet, "webdataset": webdataset, "tfrecord": tfrecord}


def listed(kind, files, **changes):
    return read_all(kind, 1, **{"files": str(files), **USUAL[kind], **SHARES, **changes})


def undrawn(kind, files):
    """All in the order of the files."""
    return registry.get("source", kind)(1, files=str(files), **USUAL[kind], **SHARES)


def studio(export, **changes):
    given = {"export": str(export), "folder": None, "image": None, "choice": None}
    return read_all("label_studio", 1, **{**given, **SHARES, **changes})


def complaint(kind, files, **changes):
    with pytest.raises(BadInput) as caught:
        listed(kind, files, **changes)
    (problem, *_) = caught.value.problems
    return f"{problem.what} -> {problem.where}: {problem.right}"


def contents_and_classes(images, split):
    one = images.splits[split]
    return sorted(zip(fingerprint.contents(one.paths), (images.classes[label] for label in one.labels), strict=True))


@pytest.mark.parametrize("kind", MAKE)
def test_shards_give_the_images_of_their_folder(photos, tmp_path, kind):
    plain = read_all("image_folder", 1, dir=str(photos), **SHARES)
    for split in ("train", "validation"):
        MAKE[kind](photos, tmp_path / "shards", split=split)
    images = listed(kind, tmp_path / "shards")
    assert images.classes == plain.classes
    assert images.origin == str(tmp_path / "shards")
    for split in ("train", "validation"):
        assert contents_and_classes(images, split) == contents_and_classes(plain, split)
    paths = images.splits["train"].paths
    assert decode.look(paths).unreadable == []
    assert not any(look.error for look in look_at(paths[:3]))
    assert fingerprint.dataset(images) == fingerprint.dataset(plain)


@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_predict_takes_a_table_as_a_folder_of_images(photos, tmp_path, kind):
    file = MAKE[kind](photos, tmp_path / "shards")
    files = list(inputs.files([str(file)]))
    assert [fingerprint.file_hash(path) for path in files] == [
        fingerprint.digest(data) for _, data, _ in samples(photos, "train")
    ]


@pytest.mark.parametrize("kind", MAKE)
def test_no_path_leads_out_of_a_table(photos, tmp_path, kind):
    MAKE[kind](photos, tmp_path / "shards")
    (file,) = [one for one in (tmp_path / "shards").iterdir() if "000" in one.name][:1]
    for way in ("image/000999", "label/000000", "image/-1", "../x.jpg", "x", "image/class/label/1000"):
        with pytest.raises(FileNotFoundError):
            containers.contents(f"{file}/{way}")


@pytest.mark.slow
def test_a_shuffled_pipeline_reads_rows_to_the_bit(photos, tmp_path, own_cache, monkeypatch):
    from framework.core.backend import tf
    from framework.core.geometry import Geometry
    from framework.data.rows import FileImages

    geometry = Geometry((24, 24))
    order = np.random.default_rng(0).permutation(24)
    plain = [str(path) for path in sorted((photos / "train").rglob("*.jpg"))]
    expected = FileImages(plain, geometry).read(order).numpy()
    for kind in ("parquet", "tfrecord"):
        MAKE[kind](photos, tmp_path / kind)
        monkeypatch.setattr(columns, "MANY", 100_000)
        train = undrawn(kind, tmp_path / kind).splits["train"]
        assert np.array_equal(FileImages(train.paths, geometry).read(order).numpy(), expected)
        # in columns, where no path is held
        monkeypatch.setattr(columns, "MANY", 1)
        rows = FileImages(undrawn(kind, tmp_path / kind).splits["train"].paths, geometry)
        assert isinstance(rows.paths, columns.ShardPaths)
        rows.ready(1.0)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(7).map(rows.read)
        assert np.array_equal(np.concatenate([*batches.as_numpy_iterator()]), expected)
    assert [*(own_cache / "framework" / "rows").glob("*.bytes")]  # of the table, whose rows are slow in any order


def test_parquet_is_laid_out_once_to_be_read_in_any_order(photos, tmp_path, own_cache, monkeypatch, capsys):
    file = parquet(photos, tmp_path)
    rows = [data for _, data, _ in samples(photos, "train")]
    paths = [f"{file}/image/{row:06d}" for row in range(24)]
    containers.ready(paths, 1e-6)
    assert "more than data.disk_limit=1e-06 allows" in capsys.readouterr().err
    before = set((own_cache / "framework" / "rows").glob("*.bytes"))
    containers.ready(paths, 1)
    (made,) = set((own_cache / "framework" / "rows").glob("*.bytes")) - before
    assert made.read_bytes() == b"".join(rows)
    monkeypatch.setattr(Table, "_column", None)
    assert [containers.contents(path) for path in reversed(paths)] == rows[::-1]
    monkeypatch.setattr(Table, "_lay_out", None)
    monkeypatch.setattr(containers, "_opened", {})  # another process
    containers.ready(paths, 1)
    assert containers.contents(paths[5]) == rows[5]


def test_files_are_named_in_every_way(tmp_path):
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b/c.tar", "b/.d.tar", "b/@eaDir/e.tar", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def names(*words):
        found = shard_files([f"{tmp_path}/{word}" for word in words], r"\.tar$")
        return [os.path.relpath(file, tmp_path) for file in found]

    assert names("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert names("{a-08,b/c}.tar") == ["a-08.tar", "b/c.tar"]
    assert names("a-*.tar", "b") == ["a-08.tar", "a-09.tar", "a-10.tar", "b/c.tar"]
    assert names("") == ["a-08.tar", "a-09.tar", "a-10.tar", "b/c.tar"]
    for words, said in (
        (["a-{08..11}.tar"], "there is no file {}/a-11.tar"),
        (["a-{09..08}.tar"], "{09..08} is no range of files"),
        (["x*.tar"], "no file fits {}/x*.tar"),
        (["b/@eaDir/.."], None),
        (["a-08.tar", "a-*.tar"], "data.files names 1 file twice: {}/a-08.tar"),
    ):
        if said:
            with pytest.raises(BadInput) as caught:
                names(*words)
            assert caught.value.problems[0].what == said.replace("{}", str(tmp_path))


def test_files_called_after_no_split_beside_others_are_told(photos, tmp_path):
    parquet(photos, tmp_path / "data", split="validation")
    assert complaint("parquet", tmp_path / "data").startswith("there are files for validation, and none to train on")
    parquet(photos, tmp_path / "data").rename(tmp_path / "data" / "extra.parquet")
    assert complaint("parquet", tmp_path / "data").startswith(
        "1 file is called after no split, and others are: extra.parquet"
    )


def test_parquet_of_texts_lists_and_bytes_alone(photos, tmp_path):
    rows = samples(photos, "train")

    def write(**columns):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        return listed("parquet", tmp_path / "a.parquet")

    data = [bytes_ for _, bytes_, _ in rows]
    images = write(photo=data, label=[label for _, _, label in rows])
    assert images.classes == CLASSES
    several = write(photo=data, label=[[label, "any"] for _, _, label in rows])
    assert several.multilabel
    assert several.classes == ("any", *CLASSES)
    numbers = write(photo=data, label=[None, -1, *(place % 11 for place in range(22))])
    assert numbers.classes == tuple(map(str, range(11)))
    assert ("not used", "2 images without a label") in numbers.told()
    grouped = write(photo=data, label=[label for _, _, label in rows], site=[place % 3 for place in range(24)])
    assert set(grouped.column("site").values()) == {"0", "1", "2"}


def test_parquet_that_is_not_as_it_should_be_is_told(photos, tmp_path):
    file = parquet(photos, tmp_path / "data", other=[b"x"] * 24, weight=[0.5] * 24)
    assert "has no column 'photo' of image bytes -> data.image_column: one of: image" in complaint(
        "parquet", file, image_column="photo"
    )
    assert "has no column 'lable' -> data.label_column: label (one of" in complaint(
        "parquet", file, label_column="lable"
    )
    assert "holds double, which are no classes" in complaint("parquet", file, label_column="weight")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert complaint("parquet", file).startswith(f"{file} can't be read: ")
    pq.write_table(pa.table({"a": [b"x"], "b": [b"x"], "label": [0]}), file)
    assert "several columns may be the image: a, b" in complaint("parquet", file)
    pq.write_table(pa.table({"a": [b"x"], "c": [0]}), file)
    assert "no column is said to be the label -> data.label_column: data.label_column=NAME" in complaint(
        "parquet", file
    )
    with pytest.raises(BadInput, match="is a table of images, and has no class folders"):
        read_all("image_folder", 1, dir=str(file), **SHARES)


def test_a_row_without_bytes_or_with_others_is_named(photos, tmp_path):
    rows = samples(photos, "train")
    image = [{"bytes": data, "path": None} for _, data, _ in rows]
    image[0], image[1] = {"bytes": None, "path": "a/b.jpg"}, {"bytes": b"no image at all", "path": None}
    pq.write_table(pa.table({"image": image, "label": [label for *_, label in rows]}), tmp_path / "a.parquet")
    images = undrawn("parquet", tmp_path / "a.parquet")
    assert decode.look(images.splits["train"].paths).unreadable == [
        (f"{tmp_path}/a.parquet/image/000000", "not in the table, which names a/b.jpg"),
        (f"{tmp_path}/a.parquet/image/000001", "not an image but text"),
    ]


def test_webdataset_in_json_and_what_lies_beside(photos, tmp_path):
    rows = samples(photos, "train")
    entries = {}
    for name, data, label in rows:
        entries[f"in/{name}.jpg"] = data
        entries[f"in/{name}.json"] = json.dumps({"tags": [label, "any"], "kind": label}).encode()
    write_archive(tmp_path / "a.tar", {**entries, "in/more.json": b'{"kind": "x"}', "in/x.txt": b"x", ".y": b""})
    one = listed("webdataset", tmp_path / "a.tar", label="json", label_key="kind")
    assert one.classes == CLASSES
    assert one.told()[0] == ("not used", "1 label without an image, 2 other members")
    assert listed("webdataset", tmp_path / "a.tar", label="json", label_key="tags").multilabel
    assert "has no class under 'tag' -> data.label_key: tags (one of" in complaint(
        "webdataset", tmp_path / "a.tar", label="json", label_key="tag"
    )


def test_webdataset_that_is_not_as_it_should_be_is_told(photos, tmp_path):
    (file,) = webdataset(photos, tmp_path, shards=1)
    assert "24 images have no '.txt' beside: blue-0-000.jpg, blue-0-001.jpg" in complaint(
        "webdataset", file, label="txt"
    )
    assert "-> data.label: data.label=one of: cls" in complaint("webdataset", file, label="txt")
    data = samples(photos, "train")[0][1]
    write_archive(file, {"1.jpg": data, "1.png": data, "1.cls": b"a"})
    assert complaint("webdataset", file).startswith(f"{file}: 1 sample has several images: 1.jpg, 1.png")
    write_archive(file, {"1.jpg": data, "1.cls": b"\xff\xfe\xff"})
    assert f"{file}/1.cls is no text" in complaint("webdataset", file)
    write_archive(file, {"1.jpg": data, "1.cls": b" "})
    assert f"{file}/1.cls is empty" in complaint("webdataset", file)
    write_archive(file, {"1.jpg": data, "1.json": b"{"})
    assert f"{file}/1.json is no JSON" in complaint("webdataset", file, label="json")
    file.write_bytes(file.read_bytes()[:700])
    assert complaint("webdataset", file).startswith(f"{file} can't be read: it ends within 1.jpg")


@pytest.mark.parametrize("kind", ["webdataset", "tfrecord"])
def test_numbers_are_called_by_their_names(photos, tmp_path, kind):
    if kind == "webdataset":
        webdataset(photos, tmp_path / "data", numbers=True)
    else:
        tfrecord(photos, tmp_path / "data", text=False)
    first = kind == "tfrecord"  # its labels count from 1
    plain = listed(kind, tmp_path / "data")
    assert plain.classes == (("1", "2", "3") if first else ("0", "1", "2"))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["none"] * first + ["zebra", "ant", "cat"]) + "\n")
    images = listed(kind, tmp_path / "data", names=str(names))
    assert images.classes == ("zebra", "ant", "cat")  # in the order of the numbers
    assert images.splits["train"].labels.tolist() == plain.splits["train"].labels.tolist()
    names.write_text('["zebra", "ant"]')
    what = "16 labels have no name: '2' of" if first else "8 labels have no name: '2' of"
    assert complaint(kind, tmp_path / "data", names=str(names)).startswith(what)
    names.write_text("ant\nant\n")
    assert "has a name twice, or an empty one" in complaint(kind, tmp_path / "data", names=str(names))
    names.write_text("{")
    assert "is no list of names" in complaint(kind, tmp_path / "data", names=str(names))


def test_tfrecord_reads_what_tensorflow_writes(photos, tmp_path):
    from framework.core.backend import tf

    features = {"image/encoded": b"x" * 300, "numbers": [1, -2, 2**40], "share": [0.5, 0.25], "text": [b"a", b"bc"]}
    lists = {bytes: tf.train.BytesList, int: tf.train.Int64List, float: tf.train.FloatList}
    names = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    made = {}
    for key, value in features.items():
        values = value if isinstance(value, list) else [value]
        kind = type(values[0])
        made[key] = tf.train.Feature(**{names[kind]: lists[kind](value=values)})
    theirs = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(theirs)
        writer.write(example(features))
    found = containers.opened(str(tmp_path / "a.tfrecord"))
    assert found.image_keys == ("image/encoded",)
    for row in range(2):
        assert {key: found.column(key)[row] for key in features} == {
            key: tuple(value) if isinstance(value, list) else (value,) for key, value in features.items()
        }
    assert containers.contents(f"{tmp_path}/a.tfrecord/image/encoded/000001") == b"x" * 300


def test_tfrecord_keeps_few_values_and_finds_all_others_in_the_file(tmp_path, monkeypatch):
    def made(number):
        one = {
            "image/encoded": b"x" * (300 if number else 3),
            "image/class/label": number // 2,
            "name": b"%03d" % number,
        }
        return example({**one, **({"image/class/text": b"even"} if number % 2 == 0 else {"numbers": [1.5] * 99})})

    file = records(tmp_path / "a.tfrecord", [made(number) for number in range(10)])
    monkeypatch.setattr(module, "_MOST", 6)
    found = containers.opened(str(file))
    assert found.image_keys == ("image/encoded",)
    kept = {key: None if one.values is None else len(one.values) for key, one in found.features.items()}
    assert kept == {
        "image/encoded": None,
        "image/class/label": 5,
        "name": None,
        "numbers": None,
        "image/class/text": 1,
    }
    assert list(found.column("name")) == [(b"%03d" % number,) for number in range(10)]
    assert list(found.column("image/class/text")) == [(b"even",), ()] * 5
    assert list(found.column("numbers")) == [(), (1.5,) * 99] * 5
    assert list(found.column("none")) == [()] * 10
    assert [len(found.read(f"image/encoded/{row}")) for row in range(10)] == [3] + [300] * 9
    assert (found.has("image/class/text/2"), found.has("image/class/text/3")) == (True, False)
    counts = undrawn("tfrecord", file).counts()
    assert counts == {"train": {**dict.fromkeys("01234", 1), "even": 5}}
    with open(file, "r+b") as opened:
        opened.seek(found.ends.of(9)[0] + 12)
        opened.write(b"\xff" * 30)
    with pytest.raises(OSError, match="damaged: the file has changed since it was listed"):
        found.read("name/9")


def test_examples_of_very_many_features_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_KEYS", 20)
    file = records(tmp_path / "a.tfrecord", [example({f"key {number}": 1}) for number in range(21)])
    assert f"{file} can't be read: its examples have more than 20 features" in complaint("tfrecord", file)


def test_a_list_of_no_bytes_beside_what_nobody_knows_is_no_image(tmp_path):
    def message(number, data):
        return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data

    feature = message(1, b"") + message(9, b"x" * 300)
    whole = message(1, message(1, message(1, b"image/encoded") + message(2, feature)))
    assert containers.opened(str(records(tmp_path / "a.tfrecord", [whole]))).image_keys == ()


def test_tfrecord_that_is_not_as_it_should_be_is_told(photos, tmp_path):
    file = tfrecord(photos, tmp_path / "data")
    assert "have no feature 'image' -> data.image_key: one of: image/encoded" in complaint(
        "tfrecord", file, image_key="image"
    )
    assert "have neither 'label' nor 'text'" in complaint("tfrecord", file, label_key="label", text_key="text")
    whole = file.read_bytes()
    for cut, said in ((7, "it ends within a record"), (len(whole) // 2, "it ends within the record at byte")):
        file.write_bytes(whole[:cut])
        assert said in complaint("tfrecord", file)
    for data, said in ((b"\x1f\x8b" + bytes(99), "it is compressed"), (b"no" * 99, "it is no TFRecord")):
        file.write_bytes(data)
        assert said in complaint("tfrecord", file)
    records(file, [b"\xff\xff\xff", b"text"])
    assert f"{file} can't be read: " in complaint("tfrecord", file)
    other = tmp_path / "a.bin"
    other.write_bytes(whole)
    assert complaint("tfrecord", other).startswith(f"{other} is no TFRecord by its name")


TASK = {"id": 1, "data": {"image": ""}, "annotations": []}


def annotation(*choices, **more):
    return {"result": [{"type": "choices", "from_name": "kind", "value": {"choices": list(choices)}}], **more}


@pytest.mark.parametrize("form", ["json", "min", "csv"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_export_of_label_studio_gives_the_images_it_names(photos, tmp_path, form, packed):
    files = sorted((photos / "train").rglob("*.jpg"))
    ways = ("/data/upload/3/1a2b3c4d-{name}", "/data/local-files/?d=photos/train/{below}", "s3://bucket/x/{below}")
    addresses = [
        ways[place % 3].format(name=file.name, below=f"{file.parent.name}/{file.name}")
        for place, file in enumerate(files)
    ]
    labels = [file.parent.name for file in files]
    export = tmp_path / ("export.csv" if form == "csv" else "export.json")
    if form == "json":
        tasks = [
            {"data": {"image": where}, "annotations": [annotation("wrong", was_cancelled=True), annotation(label)]}
            for where, label in zip(addresses, labels, strict=True)
        ]
        export.write_text(json.dumps([*tasks, {"data": {"image": addresses[0]}, "annotations": []}]))
    elif form == "min":
        export.write_text(
            json.dumps([{"image": a, "choice": b, "id": 1} for a, b in zip(addresses, labels, strict=True)])
        )
    else:
        rows = [f"{a},{n},{b},7" for n, (a, b) in enumerate(zip(addresses, labels, strict=True))]
        export.write_text("\n".join(["image,id,choice,annotator", *rows]) + "\n")
    folder = archive(photos, tmp_path / "a.zip") if packed else photos
    images = studio(export, folder=str(folder))
    assert images.classes == CLASSES
    found = {
        path: images.classes[label]
        for one in images.splits.values()
        for path, label in zip(one.paths, one.labels, strict=True)
    }
    assert found == {f"{folder}/{file.relative_to(photos)}": label for file, label in zip(files, labels, strict=True)}
    if form == "json":
        assert images.told()[0] == ("not used", "1 task without a label")


def test_an_export_of_several_choices_and_annotators(photos, tmp_path):
    files = sorted((photos / "train").rglob("*.jpg"))
    tasks = [
        {
            "data": {"image": file.name, "title": "x"},
            "annotations": [annotation("any"), annotation("any", file.parent.name)],
        }
        for file in files
    ]
    export = tmp_path / "a.json"
    export.write_text(json.dumps(tasks))
    images = studio(export, folder=str(photos))
    assert images.multilabel
    assert images.notes == ("of 24 images annotators differ, and the last one's label is taken",)
    export.write_text(
        json.dumps([{"image": file.name, "kind": {"choices": [file.parent.name, "any"]}} for file in files])
    )
    assert studio(export, folder=str(photos)).multilabel


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("{", "can't be read"),
        ("{}", "is no list of tasks"),
        (
            [{"data": {"image": "none.jpg"}, "annotations": [annotation("a")]}],
            "of 1 task 1 name an image that is not in",
        ),
        ([{"data": {"image": "a.jpg"}, "annotations": [7]}], "task 1 is not as Label Studio writes it"),
        ("[" * 100_000, "can't be read"),
        ([{"data": {"text": "words"}}], "no key names images"),
        ([{"data": {"a": "x.jpg", "b": "y.jpg"}}], "several keys name images: a, b"),
        ([{"data": {"image": "blue-0-000.jpg"}, "annotations": []}], "the data has no labels"),
        (
            [{"data": {"image": "blue-0-000.jpg"}, "annotations": [annotation("a")]}] * 2,
            "1 task names an image that an earlier",
        ),
    ],
)
def test_an_export_that_is_not_as_it_should_be_is_told(photos, tmp_path, tasks, said):
    export = tmp_path / "a.json"
    export.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    with pytest.raises(BadInput) as caught:
        studio(export, folder=str(photos))
    assert said in caught.value.problems[0].what


def test_class_folders_as_roboflow_exports_them(photos, tmp_path):
    """Roboflow's and YOLO's folders for classification: train, valid and test, in a ZIP with notes beside."""
    root = tmp_path / "export"
    (photos / "train").rename(root.mkdir() or root / "train")
    (photos / "validation").rename(root / "valid")
    (root / "README.roboflow.txt").write_text("notes")
    for place in (root, archive(root, tmp_path / "export.zip")):
        images = read_all("image_folder", 1, dir=str(place), **SHARES)
        assert {split: len(found) for split, found in images.splits.items()} == {"train": 24, "validation": 12}
        assert images.told()[0] == ("not used", "1 text file")


def test_shards_are_listed_and_looked_at_without_tensorflow(photos, tmp_path):
    places = {kind: MAKE[kind](photos, tmp_path / kind) and tmp_path / kind for kind in MAKE}
    given = {kind: {"files": str(place), **USUAL[kind], **SHARES} for kind, place in places.items()}
    code = f"""
        import sys
        from framework.data import decode, fingerprint, sources
        for kind, parameters in {given!r}.items():
            images = sources.read_all(kind, 1, **parameters)
            assert not decode.look(images.splits["train"].paths).unreadable
            assert len(fingerprint.dataset(images)) == 32
            assert images.splits["train"].labels.dtype == "int32"
        assert not {{"tensorflow", "keras"}} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_range_of_shards_is_typed_in_quotes(photos, tmp_path):
    webdataset(photos, tmp_path / "of 2024")
    line = "python -m framework.check model=cnn data=webdataset data.files='of 2024/train-{000..00%d}.tar'"
    found = bash(line % 1, tmp_path)
    assert (found.returncode, found.stderr) == (0, "all right\n")
    found = bash(line % 2, tmp_path)
    assert found.returncode == 2
    assert f"there is no file {tmp_path}/of 2024/train-002.tar\n  set in: command line: data.files=" in found.stderr


@pytest.mark.parametrize(
    "word", ["{0..999999}" * 3, "{0..99999999999999999999}", "{" + "0" * 100_000 + "..1}", "{a,b}" * 30]
)
def test_a_word_stands_for_no_more_files_than_there_may_be(word):
    with pytest.raises(BadInput):
        shard_files(word, r"\.tar$")


def test_a_table_of_more_rows_than_bytes_is_none(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array([b"x"] * 10**6), "label": pa.array(["red"] * 10**6)}), file)
    with pytest.raises(BadInput, match="bytes hold 1,000,000 rows"):
        containers.opened(str(file))


def test_a_list_of_very_many_numbers_is_no_label(tmp_path):
    file = records(tmp_path / "a.tfrecord", [example({"image/class/label": [1] * 10**5, "more": 2})])
    found = containers.opened(str(file))
    assert [list(found.column(key)) for key in ("image/class/label", "more")] == [[()], [(2,)]]

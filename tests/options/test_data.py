"""Sources and what holds for any of them: which images a run gets, with which labels, and from where."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from framework import check
from framework.core.errors import BadInput
from framework.data import sources
from framework.data.containers import contents
from framework.data.pipeline import MemoryImages, training_dataset
from tests.conftest import COLOURS, make_images
from tests.data import archived, sharded
from tests.data.test_embedded import written
from tests.evaluation.common import make_run
from tests.options.counted import effect
from tests.options.made import prepared, settings, trained


def listed(option, **changed):
    """What a run of this source gets."""
    given = [f"data.{key}={json.dumps(value)}" for key, value in changed.items()]
    return sources.read(settings(f"data={option}", *given).data)


def counts(images):
    return {name: len(split) for name, split in images.splits.items()}


def names(images, split="train"):
    return [os.path.basename(path) for path in images.splits[split].paths]


@effect("data=image_folder", "data.image_folder.dir")
def test_class_folders_are_read_in_the_folder_that_is_named(photos):
    images = listed("image_folder", dir=str(photos))
    assert images.classes == ("blue", "green", "red")
    assert counts(images) == {"train": 24, "validation": 12}
    assert all(path.startswith(str(photos)) for path in images.splits["train"].paths)


@effect("data.image_folder.validation", "data.image_folder.test")
def test_a_folder_without_splits_gives_its_shares(photos):
    found = listed("image_folder", dir=str(photos / "train"), validation=0.25, test=0.125)
    assert counts(found) == {"train": 15, "validation": 6, "test": 3}
    assert counts(listed("image_folder", dir=str(photos / "train"), validation=0.5)) == {"train": 12, "validation": 12}


@effect("data=garments", "data.garments.train", "data.garments.validation", "data.garments.size")
def test_clothes_are_drawn_as_many_and_as_large_as_told(own_cache):
    images = listed("garments", train=20, validation=10, size=24)
    assert len(images.classes) == 10
    assert counts(images) == {"train": 20, "validation": 10}
    images.prepare()
    assert {Image.open(path).size for split in images.splits.values() for path in split.paths} == {(24, 24)}


@pytest.fixture
def table(photos):
    """A file of both splits' images, a colour or two each, under names that no default has."""
    file = photos / "list.csv"
    rows = ["image,colours,part"]
    for split in ("train", "validation"):
        for path in sorted((photos / split).rglob("*.jpg")):
            colour = path.parent.name
            more = "+warm" if colour == "red" else ""
            rows.append(f"{path.relative_to(photos)},{colour}{more},{split}")
    file.write_text("\n".join(rows) + "\n")
    return file


NAMED = {"path_column": "image", "label_column": "colours"}


@effect("data=csv", "data.csv.file", "data.csv.path_column", "data.csv.label_column")
def test_rows_come_from_the_columns_that_are_named(table):
    images = listed("csv", file=str(table), **NAMED)
    assert images.classes == ("blue", "green", "red+warm")
    assert sum(counts(images).values()) == 36
    by_part = listed("csv", file=str(table), path_column="image", label_column="part")
    assert by_part.classes == ("train", "validation")


@effect("data.csv.folder")
def test_images_lie_in_the_folder_that_is_named(table, tmp_path):
    (tmp_path / "list.csv").write_text(table.read_text())
    images = listed("csv", file=f"{tmp_path}/list.csv", **NAMED, folder=str(table.parent))
    assert sum(counts(images).values()) == 36


@effect("data.csv.separator")
def test_a_separator_makes_several_labels_of_a_cell(table):
    images = listed("csv", file=str(table), **NAMED, separator="+")
    assert images.multilabel
    assert images.classes == ("blue", "green", "red", "warm")


@effect("data.csv.split_column")
def test_a_split_column_says_where_an_image_belongs(table):
    images = listed("csv", file=str(table), **NAMED, split_column="part")
    assert counts(images) == {"train": 24, "validation": 12}
    assert all("/validation/" in path for path in images.splits["validation"].paths)


@effect("data.csv.validation", "data.csv.test")
def test_a_table_without_splits_gives_its_shares(table):
    assert counts(listed("csv", file=str(table), **NAMED, validation=0.25, test=0.25)) == {
        "train": 18,
        "validation": 9,
        "test": 9,
    }
    assert counts(listed("csv", file=str(table), **NAMED, validation=0.5)) == {"train": 18, "validation": 18}


@effect("data.csv.names")
def test_numbers_of_a_table_are_called_by_their_names(table):
    file = table.with_name("numbers.csv")
    numbers = {"blue": "2", "green": "0", "red+warm": "1"}
    lines = table.read_text().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    file.write_text("\n".join([lines[0], *(f"{path},{numbers[label]},{part}" for path, label, part in cells)]) + "\n")
    (table.parent / "names.txt").write_text("green\nred\nblue\n")
    assert listed("csv", file=str(file), **NAMED).classes == ("0", "1", "2")
    images = listed("csv", file=str(file), **NAMED, names=f"{table.parent}/names.txt")
    assert images.classes == ("green", "red", "blue")
    assert images.counts()["train"]["blue"] + images.counts()["validation"]["blue"] == 12
    (table.parent / "names.txt").write_text("green\nred\n")
    with pytest.raises(BadInput, match=r"12 labels have no name: '2' of .*numbers.csv:2"):
        listed("csv", file=str(file), **NAMED, names=f"{table.parent}/names.txt")


@effect("data.csv.validation_file", "data.csv.test_file")
def test_each_split_has_its_table(table, tmp_path):
    lines = table.read_text().splitlines()
    files = {}
    for split, folder in (("train", table.parent), ("validation", table.parent), ("test", tmp_path)):
        rows = [line for line in lines[1:] if line.endswith("validation" if split == "test" else split)]
        files[split] = folder / f"{split}.csv"
        away = "" if folder == table.parent else f"{table.parent}/"
        files[split].write_text("\n".join([lines[0], *(away + row for row in rows)]) + "\n")
    given = {"validation_file": str(files["validation"]), "test_file": str(files["test"])}
    images = listed("csv", file=str(files["train"]), **NAMED, **given)
    assert counts(images) == {"train": 24, "validation": 12, "test": 12}
    with pytest.raises(
        BadInput, match=r"data.split_column=part says who is in which split, and so do files of their own"
    ):
        listed("csv", file=str(files["train"]), **NAMED, **given, split_column="part")
    files["test"].write_text("a,b\n")
    with pytest.raises(BadInput) as caught:
        listed("csv", file=str(files["train"]), **NAMED, **given)
    assert caught.value.problems[0].where == "data.test_file"


@effect("data=parquet", "data.parquet.files", "data.parquet.image_column", "data.parquet.label_column")
@effect("data.parquet.names", "data.parquet.validation", "data.parquet.test")
def test_rows_of_parquet_are_images_and_labels(photos, tmp_path):
    file = sharded.parquet(photos, tmp_path, copy=[b"x"] * 24, size=[place % 2 for place in range(24)])
    assert listed("parquet", files=str(file)).classes == ("blue", "green", "red")
    images = listed(
        "parquet", files=str(tmp_path), image_column="copy", label_column="size", validation=0.25, test=0.25
    )
    assert images.classes == ("0", "1")
    assert counts(images) == {"train": 12, "validation": 6, "test": 6}
    assert contents(images.splits["test"].paths[0]) == b"x"
    (tmp_path / "names.txt").write_text("small\nlarge\n")
    named = listed("parquet", files=str(file), label_column="size", names=f"{tmp_path}/names.txt")
    assert named.classes == ("small", "large")


@effect("data=features", "data.features.files", "data.features.validation", "data.features.test")
def test_rows_of_features_are_images_and_labels(tmp_path):
    file = written(tmp_path / "a.parquet", 24, splits=["train"] * 24)
    assert listed("features", files=str(file)).splits["train"].paths[0] == "/gone/000.jpg"
    assert counts(listed("features", files=str(file), validation=0.25)) == {"train": 18, "validation": 6}
    found = listed("features", files=str(file), validation=0.25, test=0.25)
    assert counts(found) == {"train": 12, "validation": 6, "test": 6}


@effect("data=webdataset", "data.webdataset.files", "data.webdataset.label", "data.webdataset.label_key")
@effect("data.webdataset.names", "data.webdataset.validation", "data.webdataset.test")
def test_samples_of_shards_are_images_and_labels(photos, tmp_path):
    sharded.webdataset(photos, tmp_path, numbers=True)
    (tmp_path / "names.json").write_text('{"0": "sky", "1": "grass", "2": "rose"}')
    files = f"{tmp_path}/train-{{000..001}}.tar"
    images = listed("webdataset", files=files, names=f"{tmp_path}/names.json", validation=0.25, test=0.25)
    assert images.classes == ("sky", "grass", "rose")
    assert counts(images) == {"train": 12, "validation": 6, "test": 6}
    pairs = [(name, data, label) for name, data, label in sharded.samples(photos, "train")]
    members = {f"{name}.jpg": data for name, data, _ in pairs}
    members |= {f"{name}.json": json.dumps({"kind": label}).encode() for name, _, label in pairs}
    archived.write_archive(tmp_path / "a.tar", members)
    by_key = listed("webdataset", files=f"{tmp_path}/a.tar", label="json", label_key="kind")
    assert by_key.classes == ("blue", "green", "red")


@effect("data=tfrecord", "data.tfrecord.files", "data.tfrecord.image_key", "data.tfrecord.label_key")
@effect("data.tfrecord.text_key", "data.tfrecord.names", "data.tfrecord.validation", "data.tfrecord.test")
def test_examples_of_records_are_images_and_labels(photos, tmp_path):
    examples = [
        sharded.example({"pixels": data, "kind": len(label), "called": label.encode()})
        for _, data, label in sharded.samples(photos, "train")
    ]
    file = sharded.records(tmp_path / "a.tfrecord", examples)
    keys = {"image_key": "pixels", "label_key": "kind", "text_key": "called"}
    images = listed("tfrecord", files=str(file), **keys, validation=0.25, test=0.25)
    assert images.classes == ("blue", "green", "red")
    assert counts(images) == {"train": 12, "validation": 6, "test": 6}
    assert listed("tfrecord", files=str(file), **{**keys, "text_key": "none"}).classes == ("3", "4", "5")
    (tmp_path / "names.txt").write_text("a\nb\nc\nthree\nfour\nfive\n")
    assert listed("tfrecord", files=str(file), **keys, names=f"{tmp_path}/names.txt").classes == (
        "three",
        "four",
        "five",
    )


@effect("data=tfds", "data.tfds.dataset", "data.tfds.folder", "data.tfds.image", "data.tfds.label")
@effect("data.tfds.validation", "data.tfds.test", "data.tfds.download")
def test_a_data_set_of_tfds_is_known_by_its_name(photos, tmp_path):
    place = sharded.tfds(photos, tmp_path, side=["left", "right"])
    given = {"dataset": "colours", "folder": str(tmp_path), "image": "image"}
    images = listed("tfds", **given, label="label", test=0.25)
    assert (images.classes, counts(images)) == (("blue", "green", "red"), {"train": 18, "validation": 12, "test": 6})
    (place / "colours-validation.tfrecord-00000-of-00001").unlink()
    assert counts(listed("tfds", **given, label="label", validation=0.5)) == {"train": 12, "validation": 12}
    with pytest.raises(BadInput, match="one class only"):
        listed("tfds", **given, label="side")  # all of them are left
    with pytest.raises(BadInput, match="nothing is downloaded unasked"):
        listed("tfds", dataset="beans", folder=str(tmp_path))
    with pytest.raises(BadInput, match=r"tensorflow-datasets|tfds can.t prepare"):
        listed("tfds", dataset="no_such_set", folder=str(tmp_path), download=True)


@effect("data=label_studio", "data.label_studio.export", "data.label_studio.folder", "data.label_studio.image")
@effect("data.label_studio.choice", "data.label_studio.validation", "data.label_studio.test")
def test_tasks_of_an_export_are_images_and_labels(photos, tmp_path):
    tasks = []
    for file in sorted((photos / "train").rglob("*.jpg")):
        made = [
            {"type": "choices", "from_name": name, "value": {"choices": [value]}}
            for name, value in (("colour", file.parent.name), ("side", (file.stem[-1:] < "4" and "left") or "right"))
        ]
        tasks.append({"data": {"photo": file.name, "thumb": "t.jpg"}, "annotations": [{"result": made}]})
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks))
    given = {"export": str(export), "folder": str(photos / "train"), "image": "photo"}
    images = listed("label_studio", **given, choice="colour", validation=0.25, test=0.25)
    assert images.classes == ("blue", "green", "red")
    assert counts(images) == {"train": 12, "validation": 6, "test": 6}
    assert listed("label_studio", **given, choice="side").classes == ("left", "right")


@effect("data.classes")
def test_only_these_classes_in_this_order(photos):
    images = listed("image_folder", dir=str(photos), classes=["red", "blue"])
    assert images.classes == ("red", "blue")
    train = images.splits["train"]
    assert {
        (os.path.basename(path).split("-")[0], int(label))
        for path, label in zip(train.paths, train.labels, strict=True)
    } == {("red", 0), ("blue", 1)}


@effect("data.positive")
def test_one_class_against_all_others(photos):
    images = listed("image_folder", dir=str(photos), positive="red")
    assert images.classes == ("not red", "red")
    assert images.splits["train"].labels.tolist() == [int(name.startswith("red")) for name in names(images)]


@effect("data.limit")
def test_at_most_so_many_a_split(photos):
    images = listed("image_folder", dir=str(photos), limit=6)
    assert counts(images) == {"train": 6, "validation": 6}
    assert np.bincount(images.splits["train"].labels).tolist() == [2, 2, 2]


@effect("data.seed")
def test_the_seed_decides_split_and_limit(photos):
    def taken(seed):
        split = listed("image_folder", dir=str(photos / "train"), seed=seed)
        return names(split, "validation"), names(listed("image_folder", dir=str(photos), limit=6, seed=seed))

    assert taken(1) == taken(1)
    for one, other in zip(taken(1), taken(2), strict=True):
        assert one != other


@effect("data.balance")
@pytest.mark.parametrize(("how", "images"), [("none", 16), ("over", 24), ("under", 8)])
def test_an_epoch_has_the_classes_equally_often(tmp_path, how, images):
    for name, count in (("red", 12), ("blue", 4)):
        make_images(tmp_path / "photos" / "train", (name,), count, size=12)
        make_images(tmp_path / "photos" / "validation", (name,), 2, size=12)
    trainer = prepared(tmp_path / "photos", tmp_path / how, f"data.balance={how}", "trainer.batch_size=4")
    assert trainer.steps == images // 4
    dataset = trainer.batches(trainer.inputs.build(trainer.stages[0])).take(trainer.steps)
    seen = np.concatenate([np.asarray(y) for _, y in dataset]).argmax(axis=1)
    blue = int((seen == trainer.experiment.task.classes.index("blue")).sum())
    assert (blue, len(seen)) == ({"none": 4, "over": 12, "under": 4}[how], images)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["data.class_weights=balanced"], "data.balance=over and data.class_weights=balanced both make classes equal"),
        (
            ["task=regression", "data.label_column=age"],
            "data.balance=over: images have numbers, and no class to balance",
        ),
    ],
)
def test_what_can_not_be_balanced_is_told(photos, capsys, given, said):
    source = ["data=image_folder", f"data.dir={photos}"]
    if "task=regression" in given:
        files = sorted((photos / "train").rglob("*.jpg"))
        (photos / "a.csv").write_text("path,age\n" + "".join(f"{file},{number}\n" for number, file in enumerate(files)))
        source = ["data=csv", f"data.file={photos}/a.csv"]
    assert check.main([*source, *given, "data.balance=over"]) == 2
    assert said in capsys.readouterr().err


@effect("data.class_weights")
@pytest.mark.parametrize(
    ("given", "weights"), [("{red: 9}", (1, 1, 9)), ("balanced", (2 / 3, 1, 2)), ("null", (1, 1, 1))]
)
def test_classes_weigh_in_the_loss_what_they_are_given(photos, tmp_path, eager, given, weights):
    counts = {"blue": 12, "green": 8, "red": 4}
    for name, count in counts.items():
        make_images(tmp_path / "photos" / "train", (name,), count, size=12)
    (tmp_path / "photos" / "validation").symlink_to(photos / "validation")
    # one step on all images: the loss is that of the first weights
    overrides = ("trainer.batch_size=24", "optim.lr=0.000001", f"data.class_weights={given}")
    trainer = trained(tmp_path / "photos", tmp_path / "run", *overrides)
    assert trainer.experiment.task.classes == tuple(counts)
    train = trainer.experiment.images.splits["train"]
    shown = np.stack([np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BILINEAR)) for path in train.paths])
    logits = np.asarray(trainer.network.model(shown.astype(np.float32)))
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(24), train.labels]
    assert trainer.history[0]["loss"] == pytest.approx(np.mean(entropy * np.take(weights, train.labels)), rel=0.02)


def test_an_image_with_several_labels_weighs_the_mean_of_theirs(table, tmp_path):
    from framework.runs.preflight import experiment
    from framework.training.compiling import class_weights

    given = [f"data.file={table}", "data.path_column=image", "data.label_column=colours", "data.separator='+'"]
    chosen = settings("data=csv", *given, "data.class_weights={red: 9, warm: 3}", "model=cnn", "data.image_size=8")
    made = experiment(chosen)
    weights = class_weights(made)
    assert dict(zip(made.task.classes, weights.tolist(), strict=True)) == {"blue": 1, "green": 1, "red": 9, "warm": 3}
    rows = MemoryImages(np.zeros((3, 8, 8, 3), np.uint8))
    labels = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], np.float32)
    batches = training_dataset(rows, labels, batch_size=3, seed=1, class_weights=weights)
    _, y, found = next(iter(batches))
    assert {tuple(row): weight for row, weight in zip(y.numpy().tolist(), found.numpy().tolist(), strict=True)} == {
        (1, 0, 0, 0): 1,
        (0, 0, 1, 1): 6,
        (0, 0, 0, 0): 1,
    }


@effect("data.resize", "data.fill", "data.channels")
def test_images_of_another_aspect_are_read_as_told(photos, tmp_path):
    def read(*overrides):
        trainer = prepared(photos, tmp_path / "run", "data.image_size=[8,16]", *overrides)
        assert trainer.network.model.input_shape[1:] == (8, 16, 1 if "data.channels=1" in overrides else 3)
        return np.asarray(trainer.inputs.build(trainer.stages[0]).train.read(np.arange(2)))

    stretched, cropped, padded = (read(f"data.resize={how}", "data.fill=9") for how in ("stretch", "crop", "pad"))
    assert (padded[:, :, :4] == 9).all()
    assert (padded[:, :, 12:] == 9).all()
    assert not (cropped == 9).all(axis=(0, 1)).any()
    assert not np.array_equal(cropped, stretched)
    grey = read("data.channels=1")
    assert grey.shape == (2, 8, 16, 1)
    assert np.abs(grey[..., 0] - stretched @ [0.299, 0.587, 0.114]).max() < 1


@effect("data.exclude", "data.relabel")
def test_a_list_leaves_out_and_another_gives_other_labels(photos):
    path = sorted((photos / "train" / "red").iterdir())[0]
    (photos / "gone.txt").write_text(f"{path}\n{path.parent}/no.jpg\n")
    (photos / "labels.csv").write_text("path,label,was\ntrain/blue/blue-0-001.jpg,green,blue\n")
    images = listed("image_folder", dir=str(photos), exclude=f"{photos}/gone.txt", relabel=f"{photos}/labels.csv")
    assert counts(images) == {"train": 23, "validation": 12}
    assert images.counts()["train"] == {"blue": 7, "green": 9, "red": 7}
    said = dict(images.told())
    assert said["not used"].endswith("1 image (data.exclude)")
    assert [text for heading, text in images.told() if heading == "note"] == [
        "gone.txt names 1 image that the data do not have: train/red/no.jpg",
        "1 label is changed by labels.csv",
    ]


def test_a_list_that_can_not_be_is_told(photos):
    (photos / "a.csv").write_text("path,label\ntrain/blue/blue-0-001.jpg,gren\ntrain/blue/blue-0-002.jpg,\n")
    (photos / "b.csv").write_text("file\nnowhere.jpg\n")
    with pytest.raises(BadInput) as caught:
        listed("image_folder", dir=str(photos), exclude=f"{photos}/b.csv", relabel=f"{photos}/a.csv")
    first, *others = (problem.what for problem in caught.value.problems)
    assert first == f"{photos}/b.csv names no image of the data: file, nowhere.jpg"
    assert others == [
        f"{photos}/a.csv:2 gives the label 'gren', which is no class",
        f"{photos}/a.csv:3 gives no label",
    ]
    with pytest.raises(BadInput, match=r"there is no file .*/c\.csv"):
        listed("image_folder", dir=str(photos), exclude=f"{photos}/c.csv")
    with pytest.raises(BadInput, match=r"b\.csv has no column path, label"):
        listed("image_folder", dir=str(photos), relabel=f"{photos}/b.csv")


@effect("data.group")
def test_a_group_is_on_one_side(photos):
    def sides(**changed):
        images = listed("image_folder", dir=str(photos / "train"), **changed)
        return [{name.split("-")[2] for name in names(images, split)} for split in ("train", "validation")]

    together, apart = sides(), sides(group="-(\\d+)[.]jpg")
    assert set.intersection(*together)
    assert not set.intersection(*apart)


@effect("data.time")
def test_the_latest_are_held_out(photos, table):
    expression = "-(\\d+)[.]jpg"  # of 24 images each number is that of three
    images = listed("image_folder", dir=str(photos / "train"), time=expression, validation=0.2, test=0.1)
    made = {split: sorted({int(name[-7:-4]) for name in names(images, split)}) for split in images.splits}
    assert made == {"train": [0, 1, 2, 3, 4], "validation": [5, 6], "test": [7]}
    assert counts(images) == {"train": 15, "validation": 6, "test": 3}
    lines = table.read_text().splitlines()
    days = ["when", *(f"2024-01-{1 + place % 30:02d}" for place in range(36))]
    table.with_name("days.csv").write_text(
        "\n".join(f"{line},{day}" for line, day in zip(lines, days, strict=True)) + "\n"
    )
    given = {"file": f"{table.parent}/days.csv", **NAMED, "time": "when"}
    latest = listed("csv", **given, validation=0.05)
    when = latest.column("when")
    assert {when[path] for path in latest.splits["validation"].paths} == {"2024-01-29", "2024-01-30"}
    for changed, said in (
        ({"time": "colours"}, "data.time=colours: 'blue' is no time"),
        ({"time": "wen"}, "has no column 'wen'"),
        ({"folds": 3}, "data.time=when says who validates, and so does data.folds"),
        ({"split_column": "part"}, "data.time=when draws the validation images, and"),
        ({"validation": 0.99}, "too many images were made at one time"),
    ):
        with pytest.raises(BadInput, match=said):
            listed("csv", **{**given, **changed})


@effect("data.folds", "data.fold")
def test_each_fold_validates_once(photos):
    def validated(fold):
        images = listed("image_folder", dir=str(photos / "train"), folds=4, fold=fold)
        assert counts(images) == {"train": 18, "validation": 6}
        return names(images, "validation")

    assert len({name for fold in range(4) for name in validated(fold)}) == 24


@effect("data.write_split")
@pytest.mark.parametrize("separator", [None, "+"])
def test_a_split_is_written_and_read_again(table, tmp_path, separator):
    given = {"file": str(table), **NAMED, "separator": separator}
    images = listed("csv", **given)
    line = [
        "data=csv",
        *(f"data.{key}={value}" for key, value in given.items() if value),
        f"data.write_split={tmp_path}/s.csv",
    ]
    assert check.main(line) == 0
    again = {"split_column": "split", "separator": separator and "|"}
    read = listed("csv", file=f"{tmp_path}/s.csv", **again)
    assert read.classes == images.classes
    for name, split in images.splits.items():
        assert read.splits[name].paths == split.paths
        assert np.array_equal(read.splits[name].labels, split.labels)
    assert check.main([*line[:-1], f"data.write_split={tmp_path}"]) == 2


@effect("data.memory_limit")
def test_images_beyond_the_limit_are_read_again_from_their_files(photos, tmp_path):
    def changed_files_are_seen(limit):
        folder = make_images(tmp_path / f"photos{limit}", count=5, size=12)
        trainer = prepared(folder, tmp_path / f"run{limit}", f"data.memory_limit={limit}")
        rows = trainer.inputs.build(trainer.stages[0]).train
        before = np.asarray(rows.read(np.arange(3)))
        for path in trainer.experiment.images.splits["train"].paths:
            Image.new("RGB", (12, 12)).save(path)
        return not np.array_equal(np.asarray(rows.read(np.arange(3))), before)

    assert changed_files_are_seen(0)
    assert not changed_files_are_seen(10)


@effect("data.on_error")
def test_an_image_that_cannot_be_read_stops_or_is_left_out(tmp_path):
    photos = make_images(tmp_path / "photos", count=5, size=12)
    (photos / "red" / "bad.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(BadInput, match=r"bad\.jpg"):
        prepared(photos, tmp_path / "stop", "data.on_error=stop")
    trainer = prepared(photos, tmp_path / "skip", "data.on_error=skip")
    assert sum(map(len, trainer.experiment.images.splits.values())) == 5 * len(COLOURS)


@effect("data.pseudo")
def test_what_a_model_has_labelled_trains_too_and_measures_nothing(photos, tmp_path, capsys):
    from framework.evaluation.labelled import DataOptions, labelled
    from framework.model.saved import open_run
    from framework.predict import main

    make_images(tmp_path / "more", count=4, size=12, seed=7)
    run = make_run(tmp_path / "run", photos)
    file = tmp_path / "pseudo.csv"
    assert main([f"{tmp_path}/more", f"run={run}", "min_confidence=0.5", f"output={file}"]) == 0
    assert "12 of 12 images with a confidence of 0.5 or more: blue 4, green 4, red 4" in capsys.readouterr().err
    images = listed("image_folder", dir=str(photos), pseudo=str(file), limit=6)
    # the limit is one of what people have labelled
    assert counts(images) == {"train": 6 + 12, "validation": 6}
    assert images.splits["train"].labels[6:].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    taught = open_run(str(make_run(tmp_path / "taught", photos, pseudo=str(file))))
    file.unlink()
    assert [len(labelled(taught, DataOptions(), split).split) for split in ("train", "validation")] == [24, 12]

"""The shipped sources of images: class folders, tables, shards, exports of other tools, and the drawn garments.

A source only lists, in the splits that the data have; others are drawn afterwards (``data.splits``). No image is opened
and TensorFlow is not loaded, so that a check of the data takes milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framework.config.settings import DataSettings
from framework.core.errors import BadInput, Problem, listing, nearest
from framework.core.registry import get, source
from framework.core.schema import Count, PathText, Share
from framework.core.task import Labels
from framework.data import containers, folders, remote
from framework.data.edits import edited
from framework.data.embedded import list_embedded
from framework.data.folders import EXTENSIONS, SPLIT_NAMES, Tally, not_learnt
from framework.data.garments import NAMES, demonstration_files, demonstration_folder, write_demonstration
from framework.data.images import Images, Split, to_draw
from framework.data.label_studio import list_label_studio
from framework.data.labels import class_name
from framework.data.manifest import read_manifest
from framework.data.parquet import list_parquet
from framework.data.pseudo import with_pseudo
from framework.data.selection import narrow
from framework.data.splits import Splitting, drawn
from framework.data.tfds import list_tfds
from framework.data.tfrecord import list_tfrecord
from framework.data.webdataset import list_webdataset


def read(settings: DataSettings, labels: Labels = "classes") -> Images:
    """The images that the settings ask for: what their source lists, narrowed to classes, question and limit, and what a model
    has labelled beside them.

    Args:
        settings: of the source.
        labels: what it has to list as labels.

    Raises:
        BadInput: the data can't be used; every problem that was found.
        RunFailed: there is no room for a copy of what lies elsewhere.
    """
    part = get("source", settings.name)
    reader = part if labels == "classes" else part.details["numbers"]
    if reader is None:
        right = "data=csv data.file=FILE data.label_column=COLUMN"
        raise BadInput(
            Problem(f"source '{part.name}' lists classes, and the task asks for numbers", "data.name", right)
        )
    parameters, copies = remote.fetched(settings.parameters, settings.disk_limit)
    images = reader(settings.seed, **parameters)
    images = replace(images, notes=(*images.notes, *copies))
    images = edited(images, settings.exclude, settings.relabel)
    images = drawn(images, Splitting(settings.seed, settings.group, settings.folds, settings.fold, settings.time))
    images = narrow(images, settings.classes, settings.positive, settings.limit, settings.seed)
    return with_pseudo(images, settings.pseudo)


def read_all(name: str, seed: int, **parameters: Any) -> Images:
    """All that a source lists.

    Raises:
        BadInput: as for ``read``.
    """
    return narrow(drawn(get("source", name)(seed, **parameters), Splitting(seed)), None, None, None, seed)


@source("image_folder")
def image_folder(seed: int, *, dir: PathText, validation: Share, test: Share) -> Images:
    """Class folders of images: inside train, validation and test folders, or all in one folder that is split.

    They may lie in a folder, in a ZIP or in a tar, which is read as it is and not unpacked.
    Images may lie in folders inside a class folder. What has no image's ending, or a name that begins with a dot,
    is no image; folders that systems and other programs keep are passed over. A training folder without a validation
    folder beside it is split too.
    """
    tally = Tally()
    root = folders.root_of(dir, tally)
    named = split_folders(root)
    if named and "train" not in named:
        what = f"{root} has folders for {' and '.join(named)} ({_relative(named, root)}), and none to train on"
        raise BadInput(Problem(what, "data.dir", "a folder called train; other names if these are classes"))
    found = {split: _read_classes(folder, tally) for split, folder in (named or {"train": root}).items()}
    if named:
        folders.beside_splits(root, named.values(), tally)
    classes = tuple(found["train"].images)
    faults = _folder_faults(found)
    if len(classes) < 2 or not any(found["train"].images.values()):
        raise BadInput(faults(None))
    splits = {}
    for split, listed in found.items():
        paths = [path for name in classes for path in listed.images.get(name, ())]
        labels = [number for number, name in enumerate(classes) for _ in listed.images.get(name, ())]
        splits[split] = Split(tuple(paths), np.asarray(labels, np.int32))
    others = found["test"].images if "test" in found else {}
    outside = {name: paths for name, paths in others.items() if paths and name not in classes}
    renamed = named and any(
        os.path.relpath(path, root).casefold() not in SPLIT_NAMES[name] for name, path in named.items()
    )
    images = Images(
        classes,
        splits,
        multilabel=False,
        origin=root,
        unused=(*tally.unused, *not_learnt(outside)),
        notes=tuple([f"splits by name: {_relative(named, root)}"] * bool(renamed)),
        faults=faults,
    )
    return to_draw(images, found["train"].folder, validation, test)


def _csv_numbers(
    seed: int, *, validation_file: str | None, test_file: str | None, validation: float, test: float, **columns: Any
) -> Images:
    """As ``csv``, with a number for a label, or several from as many columns."""
    listed = read_manifest(**columns, labels="numbers", apart=_apart(validation_file, test_file))
    return to_draw(listed, os.path.dirname(listed.origin), validation, test)


def _apart(validation: str | None, test: str | None) -> dict[str, str]:
    """Files of splits."""
    return {split: file for split, file in (("validation", validation), ("test", test)) if file is not None}


@source("csv", numbers=_csv_numbers)
def csv(
    seed: int,
    *,
    file: PathText,
    path_column: str,
    label_column: str | list[str],
    separator: str | None,
    split_column: str | None,
    folder: PathText | None,
    names: PathText | None,
    validation_file: PathText | None,
    test_file: PathText | None,
    validation: Share,
    test: Share,
) -> Images:
    """A CSV file with a row an image: its path, its label or labels, and if wanted its split.

    Paths are relative to the folder, or if none is named to the CSV file's; an image's ending may be left out. With a
    separator a cell holds any number of labels, also none. Where the task asks for numbers, ``label_column`` names
    their column, or several.
    """
    listed = read_manifest(
        file,
        path_column,
        label_column,
        separator,
        split_column,
        folder=folder,
        names=names,
        apart=_apart(validation_file, test_file),
    )
    return to_draw(listed, os.path.dirname(listed.origin), validation, test)


@source("parquet")
def parquet(
    seed: int,
    *,
    files: PathText,
    image_column: str | None,
    label_column: str | None,
    names: PathText | None,
    validation: Share,
    test: Share,
) -> Images:
    """Parquet files with an image and a label a row, as Hugging Face's hub lays them out.

    Images are bytes, alone or beside their path; labels texts, whole numbers, or lists of such for several labels. The
    names of numbers are those that the file brings, or those of ``names``. Files whose names say so (``train-*``,
    ``validation-*``, ``test-*``) are splits.
    """
    return list_parquet(files, image_column, label_column, names, validation, test)


def _numbers_of_features(seed: int, *, files: str, validation: float, test: float) -> Images:
    """As ``features``, with numbers for labels."""
    return list_embedded(files, "numbers", validation, test)


@source("features", numbers=_numbers_of_features)
def features(seed: int, *, files: PathText, validation: Share, test: Share) -> Images:
    """Features in place of images, Parquet files that ``framework.embed`` has written: a head is trained on them.

    Rows are called as the images were, and lie in the splits that those were in. The run's model takes images all the
    same: the base that made the features, which the settings name, is put before the head.
    """
    return list_embedded(files, "classes", validation, test)


@source("webdataset")
def webdataset(
    seed: int,
    *,
    files: PathText,
    label: str,
    label_key: str,
    names: PathText | None,
    validation: Share,
    test: Share,
) -> Images:
    """WebDataset shards: tars in which an image and its label share a name, as ``000017.jpg`` and ``000017.cls``.

    Files whose names say so (``train-*``, ``validation-*``, ``test-*``) are splits.
    """
    return list_webdataset(files, label, label_key, names, validation, test)


@source("tfrecord")
def tfrecord(
    seed: int,
    *,
    files: PathText,
    image_key: str,
    label_key: str,
    text_key: str,
    names: PathText | None,
    validation: Share,
    test: Share,
) -> Images:
    """TFRecord files of ``tf.train.Example``s with an encoded image and its label, as TensorFlow's models take them.

    Files whose names say so (``train-*``, ``validation-*``, ``test-*``) are splits.
    """
    return list_tfrecord(files, image_key, label_key, text_key, names, validation, test)


@source("tfds")
def tfds(
    seed: int,
    *,
    dataset: str,
    folder: PathText | None,
    download: bool,
    image: str | None,
    label: str | None,
    validation: Share,
    test: Share,
) -> Images:
    """A data set of TensorFlow Datasets by its name, as tfds has prepared it on this machine.

    It is read without tfds, which only downloads what is not there, and only where that is asked for.
    """
    return list_tfds(dataset, folder, download, image, label, validation, test)


@source("label_studio")
def label_studio(
    seed: int,
    *,
    export: PathText,
    folder: PathText | None,
    image: str | None,
    choice: str | None,
    validation: Share,
    test: Share,
) -> Images:
    """An export of Label Studio with choices: JSON, JSON-MIN or CSV, and the folder of its images.

    Images are found by their address, without what an upload put before their name.
    """
    return list_label_studio(export, folder, image, choice, validation, test)


@source("garments", demonstration=True)
def garments(seed: int, *, train: Count, validation: Count, size: Count) -> Images:
    """Ten classes of clothes drawn by the project itself, once, into the user's cache folder.

    ``train`` and ``validation`` count images, spread evenly over the classes; ``size`` is the drawn side in pixels.
    """
    folder = demonstration_folder({"train": train, "validation": validation}, size, seed)
    splits = {}
    for split, count in {"train": train, "validation": validation}.items():
        files = demonstration_files(count)
        paths = tuple(str(folder / split / name) for _, name in files)
        splits[split] = Split(paths, np.asarray([label for label, _ in files], np.int32))
    return Images(
        NAMES,
        splits,
        multilabel=False,
        origin="garments, drawn for demonstration",
        prepare=lambda: write_demonstration({"train": train, "validation": validation}, size, seed),
    )


def split_folders(folder: str) -> dict[str, str]:
    """The folder of each split in a folder, as far as there are such; none where its folders are classes.

    Raises:
        BadInput: it is no folder, or several could be one split.
    """
    if not containers.is_folder(folder):
        raise BadInput(_no_folder(folder))
    return folders.split_folders(folder)


def class_images(folder: str, tally: Tally) -> dict[str, list[str]]:
    """Images of each class folder in a folder, both in the order of their names; what is not used is counted.

    Raises:
        BadInput: a folder can't be listed.
    """
    listed = _read_classes(folder, tally)
    if listed.unlisted:
        raise BadInput(listed.unlisted.values())
    return listed.images


def _no_folder(path: str) -> Problem:
    parent, name = os.path.split(path)
    while parent and not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    try:
        near = nearest(name, sorted(entry.name for entry in os.scandir(parent) if entry.is_dir()))
    except OSError:
        near = None
    what = f"there is no folder {path}" if not os.path.exists(path) else f"{path} is no folder, ZIP or tar"
    return Problem(what, "data.dir", os.path.join(parent, near) if near else f"a folder; {parent} is there")


@dataclass(frozen=True)
class _Listed:
    """What lies in a folder of class folders: images by class, and by class what can't be listed."""

    folder: str
    images: dict[str, list[str]]
    unlisted: dict[str, Problem]


def _read_classes(folder: str, tally: Tally) -> _Listed:
    images: dict[str, list[str]] = {}
    unlisted = {}
    for name, path in folders.class_folders(folder, tally).items():
        same = images.setdefault(class_name(name), [])
        try:
            same.extend(folders.walk(path, tally))
        except OSError as error:
            what = f"{error.filename} can't be listed: {error.strerror}"
            unlisted[class_name(name)] = Problem(what, "data.dir", "rights to read it")
    return _Listed(folder, {name: sorted(images[name]) for name in sorted(images)}, unlisted)


def _relative(named: Mapping[str, str], root: str) -> str:
    return ", ".join(f"{split} is {os.path.relpath(path, root)}" for split, path in named.items())


def _folder_faults(found: Mapping[str, _Listed]) -> Callable[[Sequence[str] | None], list[Problem]]:
    def faults(chosen: Sequence[str] | None) -> list[Problem]:
        train = found["train"]
        problems = [
            problem
            for listed in found.values()
            for name, problem in listed.unlisted.items()
            if chosen is None or name in chosen
        ]
        if not train.images:
            problems.append(Problem(f"{train.folder} has no class folders", "data.dir", _layout(train.folder)))
        elif len(train.images) == 1:
            what = f"{train.folder} has one class only: {next(iter(train.images))}"
            problems.append(Problem(what, "data.dir", _layout(train.folder)))
        classes = list(train.images) if chosen is None else chosen
        problems += _empty_classes(train, classes)
        if train.images and "validation" in found:
            validation = found["validation"]
            problems += _empty_classes(validation, validation.images if chosen is None else classes)
            more = [name for name in validation.images if name not in train.images] if chosen is None else []
            problems += _other_classes(validation, more, [name for name in classes if name not in validation.images])
        return problems

    return faults


def _empty_classes(listed: _Listed, classes: Iterable[str]) -> Iterator[Problem]:
    for name in classes:
        if listed.images.get(name) == [] and name not in listed.unlisted:
            what = f"class '{name}' is empty: no image in {os.path.join(listed.folder, name)}"
            right = f"images ending in {listing(sorted(EXTENSIONS), 20)}, or data.classes without it"
            yield Problem(what, "data.dir", right)


def _other_classes(listed: _Listed, more: Sequence[str], fewer: Sequence[str]) -> Iterator[Problem]:
    if not more and not fewer:
        return
    differ = [f"has {listing(more)}, which training has not"] * bool(more)
    differ += [f"lacks {listing(fewer)}"] * bool(fewer)
    what = f"the classes of {listed.folder} differ from training's: it {' and '.join(differ)}"
    guesses = [f"{name} for {near}" for name in fewer if (near := nearest(name, more))]
    right = f"is it {listing(guesses)}?" if guesses else "a folder for each class, or data.classes of those in both"
    yield Problem(what, "data.dir", right)


def _layout(folder: str) -> str:
    return f"a folder for each class: {os.path.join(folder, 'CLASS', 'image.jpg')}"

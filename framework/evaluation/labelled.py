"""The labelled images of an evaluation: a split of the run's own data, a folder of class folders, or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from framework.config.kinds import usual_part
from framework.config.settings import DataSettings
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.names import in_file_name
from framework.core.schema import PathText
from framework.core.task import Classification, Task
from framework.data import containers, folders, remote, sources
from framework.data.columns import joined
from framework.data.folders import Tally, told
from framework.data.images import Images, Split
from framework.data.labels import class_name
from framework.data.manifest import read_manifest
from framework.data.selection import narrow
from framework.model.saved import Trained

SplitName = Literal["train", "validation", "test", "all"]
OWN_SPLIT: SplitName = "validation"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options that name labelled images in place of the run's own."""

    dir: Annotated[
        PathText | None, "a folder, ZIP or tar of class folders, or of train, validation and test folders with such"
    ] = None
    file: Annotated[PathText | None, "a CSV file with the columns that the run's has, or path and label"] = None
    files: Annotated[
        PathText | None, "Parquet, WebDataset or TFRecord files, as data=parquet and its like take them"
    ] = None
    on_error: Annotated[
        Literal["stop", "skip"] | None, "an image that can't be read: stop, or skip; null: as the run"
    ] = None

    @property
    def words(self) -> list[str]:
        """What names the same images on a command line."""
        named = {field.name: getattr(self, field.name) for field in fields(DataOptions)}
        return [f"data.{key}={value}" for key, value in named.items() if value is not None]


@dataclass(frozen=True)
class Labelled:
    """Images with labels in the order of the classifier's classes.

    Attributes:
        split: files and labels.
        name: what its results are filed under.
        origin: where it comes from, for people.
        skip: whether images that can't be read are left out.
        told: what people should know of the data, a heading and a text each.
    """

    split: Split
    name: str
    origin: str
    skip: bool
    told: Sequence[tuple[str, str]] = ()


# what is in the name of files, and a key that only the source of such files takes
ENDINGS = {".parquet": "image_column", ".tfrecord": "image_key", ".tar": "label"}

_Found = tuple[Split, str, str, Sequence[tuple[str, str]]]


def labelled(trained: Trained, data: DataOptions, split: SplitName | None) -> Labelled:
    """The images that the options name: the run's validation images if they name none. Loads no TensorFlow.

    Raises:
        BadInput: there are none such, or their classes are not the classifier's.
    """
    given = [f"data.{key}" for key in ("dir", "file", "files") if getattr(data, key) is not None]
    if len(given) > 1:
        raise BadInput(Problem(f"{' and '.join(given)} are both given", "command line", "one of them"))
    skip = (data.on_error or (trained.data().on_error if trained.run else "stop")) == "skip"
    if data.dir is not None:
        found, name, origin, lines = _folder(trained, data.dir, split)
    elif data.file is not None:
        found, name, origin, lines = _table(trained, data.file, split)
    elif data.files is not None:
        found, name, origin, lines = _shards(trained, data.files, split)
    else:
        found, name, origin, lines = _own(trained, split or OWN_SPLIT)
    if not len(found):
        raise BadInput(Problem(f"there is no image to evaluate in {origin}", "command line"))
    return Labelled(found, in_file_name(name), origin, skip, lines)


def _own(trained: Trained, split: SplitName) -> _Found:
    if trained.run is None:
        raise BadInput(Problem("a model from elsewhere brings no images", "command line", "data.dir=FOLDER"))
    _refuse_moved(trained)
    images = sources.read(_of_people(trained), trained.task.asks)
    if tuple(images.classes) != trained.task.classes:
        what = f"the data has other {trained.task.told[0]} than the run was trained on: {listing(images.classes)}"
        raise BadInput(Problem(what, images.origin, f"data of {listing(trained.task.classes)}"))
    if images.prepare:
        images.prepare()
    if images.features is not None and not any(map(containers.is_file, _chosen(images, split).paths)):
        what = "the run was trained on features, and none of the images is there that they were made of"
        raise BadInput(Problem(what, images.origin, "data.dir=FOLDER or data.file=FILE of labelled images"))
    return _chosen(images, split), split, images.origin, images.told()


def _refuse_moved(trained: Trained) -> None:
    """Say how to name data that lie elsewhere now; any other fault of theirs is the source's to tell."""
    given = trained.data().parameters
    for key, now in (("dir", "data.dir=FOLDER"), ("file", "data.file=FILE")):
        place = given.get(key)
        if isinstance(place, str) and not remote.is_address(place) and not os.path.exists(place):
            what = f"the run's data are no longer in {place}"
            raise BadInput(Problem(what, str(trained.run and trained.run.config), f"{now}, where they are now"))


def _folder(trained: Trained, folder: str, split: SplitName | None) -> _Found:
    """Class folders in the split's folder, or right in the folder: then all of them, or the run's split of them."""
    if trained.task.asks != "classes":
        right = f"data.file=CSV, with the columns {listing(trained.task.classes)}"
        raise BadInput(Problem("class folders say classes, and this model gives numbers", "data.dir", right))
    if remote.is_address(folder):
        folder = remote.local(folder, _disk_limit(trained), "data.dir")
    root = folders.root_of(folder)
    named = sources.split_folders(root)
    name = Path(root).name
    if not named:
        if split is None or split == "all":
            found, lines = _classes_of(trained, [root])
            return found, _unlike_a_split(Path(root)), root, lines
        images = sources.read(_settings(trained, {"dir": root}))
        found = in_order(trained.task, _chosen(images, split), images.classes)
        return found, f"{name}-{split}", root, images.told()
    if split is None:
        right = f"split={listing(list(named))}, or split=all"
        raise BadInput(Problem(f"{root} has splits: split must be given", "command line: data.dir", right))
    if split != "all" and split not in named:
        what = f"{root} has no {split} folder"
        raise BadInput(Problem(what, f"command line: split={split}", suggestion(split, named)))
    chosen = list(named.values()) if split == "all" else [named[split]]
    found, lines = _classes_of(trained, chosen)
    return found, f"{name}-{split}", ", ".join(chosen), lines


def _classes_of(trained: Trained, roots: Sequence[str]) -> tuple[Split, list[tuple[str, str]]]:
    """Images of class folders, and what is said of them; classes that the run left out are left out here too."""
    task = trained.task
    assert isinstance(task, Classification)
    if task.several:
        right = "data.file=CSV, with several labels an image"
        raise BadInput(Problem("class folders say one label an image; this model gives several", "data.dir", right))
    chosen = trained.data().classes if trained.run else None
    chosen = None if chosen is None else [class_name(name) for name in chosen]
    paths: list[str] = []
    labels: list[int] = []
    unknown: list[str] = []
    tally = Tally()
    for folder in roots:
        for name, files in sources.class_images(folder, tally).items():
            label = task.number_of(name)
            if label is None and chosen is None:
                unknown.append(name)
            elif label is not None and (chosen is None or name in chosen):
                paths += files
                labels += [label] * len(files)
    if unknown:
        right = suggestion(unknown[0], task.classes)
        raise BadInput(Problem(f"the model knows no class {listing(sorted(set(unknown)))}", ", ".join(roots), right))
    return Split(tuple(paths), np.asarray(labels, np.int32)), told(tally.unused)


def _table(trained: Trained, file: str, split: SplitName | None) -> _Found:
    settings = _settings(trained, {"file": file}, trained.task.in_csv)
    if split is None or split == "all":
        of_splits = ("validation", "test", "validation_file", "test_file")
        columns = {key: value for key, value in settings.parameters.items() if key not in of_splits}
        images = narrow(
            read_manifest(**columns, labels=trained.task.asks), settings.classes, settings.positive, None, settings.seed
        )
    else:
        images = sources.read(settings, trained.task.asks)
    found = in_order(trained.task, _chosen(images, split or "all"), images.classes)
    name = Path(file).stem
    return found, name if split in (None, "all") else f"{name}-{split}", images.origin, images.told()


def _shards(trained: Trained, files: str, split: SplitName | None) -> _Found:
    """Files that hold images and labels: of the kind that the run was trained on, or of that which their names say."""
    kind = next((key for ending, key in ENDINGS.items() if ending in Path(files).name.casefold()), None)
    own = trained.run is not None and "files" in trained.data().parameters
    if kind is None and not own:
        what = f"{files}: what kind of files these are can't be seen by their name"
        raise BadInput(Problem(what, "command line: data.files", f"a name with {listing(list(ENDINGS))} in it"))
    images = sources.read(_settings(trained, {"files": files}, taking=kind or "files"), trained.task.asks)
    found = in_order(trained.task, _chosen(images, split or "all"), images.classes)
    name = Path(files).stem.split("*")[0].rstrip("-._") or "files"
    return found, name if split in (None, "all") else f"{name}-{split}", images.origin, images.told()


def in_order(task: Task, split: Split, classes: Sequence[str]) -> Split:
    """The split with its labels renumbered from the order of ``classes`` to the task's.

    Raises:
        BadInput: a class that the task does not have.
    """
    if not isinstance(task, Classification):
        return split
    unknown = [name for name in classes if task.number_of(name) is None]
    if unknown:
        what = f"the model knows no class {listing(unknown)}"
        raise BadInput(Problem(what, "command line: data", suggestion(unknown[0], task.classes)))
    numbers = np.asarray([task.number_of(name) for name in classes], np.int32)
    if split.labels.ndim == 1:
        return replace(split, labels=numbers[split.labels])
    labels = np.zeros((len(split), len(task.classes)), np.float32)
    labels[:, numbers] = split.labels
    return replace(split, labels=labels)


def _chosen(images: Images, split: SplitName) -> Split:
    if split != "all":
        if split not in images.splits:
            what = f"the data has no {split} images"
            raise BadInput(Problem(what, f"command line: split={split}", suggestion(split, images.splits)))
        return images.splits[split]
    splits = list(images.splits.values())
    return Split(joined([one.paths for one in splits]), np.concatenate([one.labels for one in splits]))


def _settings(
    trained: Trained, given: Mapping[str, Any], foreign: Mapping[str, Any] | None = None, taking: str = ""
) -> DataSettings:
    """Settings of a source that takes what is given: the run's if it does, else those of ``conf/data``; all its images.

    ``taking`` is a key that it takes besides, where several take what is given.
    """
    own = _of_people(trained) if trained.run else None
    if own is not None and own.parameters.keys() >= {*given, taking} - {""}:
        return replace(own, parameters={**own.parameters, **given}, limit=None)
    usual = usual_part("data", taking or next(iter(given)))
    return DataSettings(
        name=usual.name,
        parameters={**usual.parameters, **(foreign or {}), **given},
        image_size=list(trained.geometry.size),
        resize=trained.geometry.resize,
        fill=trained.geometry.fill,
        channels=trained.geometry.channels,
        classes=own.classes if own else None,
        positive=own.positive if own else None,
        limit=None,
        exclude=None,
        relabel=None,
        pseudo=None,
        group=own.group if own else None,
        time=own.time if own else None,
        folds=own.folds if own else None,
        fold=own.fold if own else 0,
        write_split=None,
        balance="none",
        prompts="{}",
        class_weights=None,
        seed=own.seed if own else 1,
        memory_limit=0,
        disk_limit=_disk_limit(trained),
        on_error="stop",
    )


def _of_people(trained: Trained) -> DataSettings:
    """The run's data without what a model has labelled, which measures nothing."""
    return replace(trained.data(), pseudo=None)


def _disk_limit(trained: Trained) -> float:
    """GiB that copies of data from elsewhere may take: the run's, else the usual."""
    return trained.data().disk_limit if trained.run else remote.usual_limit()


def _unlike_a_split(folder: Path) -> str:
    """A folder's name; with its parent's, where it alone would look like a split of the run's own data."""
    taken = {name for names in sources.SPLIT_NAMES.values() for name in names} | {"all"}
    return f"{folder.parent.name}-{folder.name}" if folder.name.casefold() in taken else folder.name

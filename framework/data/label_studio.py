"""Exports of Label Studio with choices: JSON, JSON-MIN and CSV (https://labelstud.io/guide/export)."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from framework.core.errors import BadInput, Problem, listing, many, suggestion
from framework.core.files import refuse_device
from framework.data import containers, folders
from framework.data.classified import classes_of, classified
from framework.data.folders import EXAMPLES, Kind, Unused
from framework.data.images import Images, to_draw
from framework.data.labels import class_name

WHERE = "data.export"
# what an upload's name gets before it
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_UNLABELLED = Kind("task without a label", "tasks without a label")
_OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "predictions", "annotations")


def list_label_studio(
    export: str, folder: str | None, image: str | None, choice: str | None, validation: float, test: float
) -> Images:
    """The tasks of an export, with the images that they name; arguments are those of the source ``label_studio``.

    Raises:
        BadInput: the export can't be read, names images that are not there, or has no choices.
    """
    file = os.path.abspath(os.path.expanduser(export))
    tasks = _tasks(file)
    root = os.path.abspath(os.path.expanduser(folder)) if folder else os.path.dirname(file)
    if not containers.is_folder(root):
        raise BadInput(Problem(f"there is no folder {root}", "data.folder", "the folder that the images lie in"))
    field = image or _image_field(tasks, file)
    places = _Places(root)
    paths: list[str] = []
    cells: list[list[str]] = []
    missing, unlabelled, differ, several = [], [], 0, False
    for number, task in enumerate(tasks):
        address = task["data"].get(field)
        if not isinstance(address, str) or not address:
            what = f"{file}: task {number + 1} has no image under '{field}'"
            raise BadInput(Problem(what, "data.image", suggestion(field, list(task["data"]))))
        try:
            sets, more = _choices(task, choice)
        except (AttributeError, TypeError, ValueError):
            what = f"{file}: task {number + 1} is not as Label Studio writes it"
            raise BadInput(Problem(what, WHERE, "JSON, JSON-MIN or CSV of a form with choices")) from None
        several = several or more or any(len(one) > 1 for one in sets)
        path = places.find(address)
        if path is None:
            missing.append(address)
        elif not sets:
            unlabelled.append(path)
        else:
            differ += len({tuple(sorted(one)) for one in sets}) > 1
            paths.append(path)
            cells.append([class_name(one) for one in sets[-1]])
    problems = []
    if missing:
        what = f"{file}: of {many(len(tasks), 'task')} {len(missing):,} name an image that is not in {root}"
        problems.append(Problem(f"{what}: {listing(missing, 3)}", "data.folder", "the folder that the images lie in"))
    if again := len(paths) - len(set(paths)):
        twice = sorted({path for path in paths if paths.count(path) > 1}) if again < 1000 else []
        what = f"{file}: {many(again, 'task')} {'names' if again == 1 else 'name'} an image that an earlier one names"
        problems.append(Problem(f"{what}: {listing(twice, 3)}", WHERE, "an export with each image once"))
    in_split = ["train"] * len(paths)
    classes = classes_of(cells, in_split)
    if classes.too_few and not problems:
        problems.append(Problem(classes.too_few, WHERE, "an export of tasks with choices, of two classes at least"))
    if problems:
        raise BadInput(problems)
    notes = [f"of {many(differ, 'image')} annotators differ, and the last one's label is taken"] * bool(differ)
    images = classified(
        paths,
        cells,
        in_split,
        classes,
        several=several,
        where=WHERE,
        origin=file,
        unused=(Unused(_UNLABELLED, len(unlabelled), tuple(unlabelled[:EXAMPLES])),) if unlabelled else (),
        notes=tuple(notes),
    )
    return to_draw(images, root, validation, test)


def _tasks(file: str) -> list[dict[str, Any]]:
    """Each task as JSON has it: ``data``, and ``annotations`` with their ``result``."""
    try:
        refuse_device(file)
        with open(file, encoding="utf-8-sig", newline="") as opened:
            if file.lower().endswith(".json"):
                found = json.load(opened)
            else:
                found = list(csv.DictReader(opened, delimiter="\t" if file.lower().endswith(".tsv") else ","))
    except OSError as error:
        raise BadInput(Problem(f"{file} can't be read: {error.strerror}", WHERE, "an export of Label Studio")) from None
    except (ValueError, RecursionError, csv.Error) as error:
        what = f"{file} can't be read: {error}"
        raise BadInput(Problem(what, WHERE, "an export of Label Studio: JSON, JSON-MIN or CSV")) from None
    if not isinstance(found, list) or not found or not all(isinstance(task, dict) for task in found):
        what = f"{file} is no list of tasks"
        raise BadInput(Problem(what, WHERE, "an export of Label Studio: JSON, JSON-MIN or CSV"))
    return [task if isinstance(task.get("data"), dict) else {"data": task} for task in found]


def _image_field(tasks: list[dict[str, Any]], file: str) -> str:
    """The key of the images' addresses: what ends as images do, in the first task."""
    first = tasks[0]["data"]
    found = [
        key
        for key, value in first.items()
        if isinstance(value, str) and os.path.splitext(_path_of(value))[1].lower() in folders.EXTENSIONS
    ]
    if len(found) != 1:
        what = f"{file}: {'several keys name' if found else 'no key names'} images" + f": {listing(found)}" * bool(
            found
        )
        raise BadInput(Problem(what, "data.image", f"data.image=KEY, one of: {listing(found or list(first))}"))
    return found[0]


def _choices(task: Mapping[str, Any], choice: str | None) -> tuple[list[list[str]], bool]:
    """The choices of each annotation that was not cancelled, and whether a form lets several be made."""
    if "annotations" in task or "completions" in task:
        found = []
        for annotation in task.get("annotations") or task.get("completions") or ():
            if annotation.get("was_cancelled"):
                continue
            made = [
                str(one)
                for result in annotation.get("result") or ()
                if result.get("type") == "choices" and choice in (None, result.get("from_name"))
                for one in result.get("value", {}).get("choices", ())
            ]
            if made:
                found.append(made)
        return found, False
    data = task["data"]
    names = [choice] if choice else [key for key in data if key not in _OWN]
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and value.startswith('{"choices"'):
            value = json.loads(value)
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            return [[str(one) for one in value["choices"]]], True
        if choice and value:
            return [[str(value)]], False
    if choice is None and isinstance(data.get("choice"), str) and data["choice"]:
        return [[data["choice"]]], False
    return [], False


def _path_of(address: str) -> str:
    """The path in an address of Label Studio: ``/data/upload/3/1a2b3c4d-cat.jpg``, ``/data/local-files/?d=a/cat.jpg``,
    ``s3://bucket/a/cat.jpg``."""
    parts = urlsplit(address)
    inside = parse_qs(parts.query).get("d")
    return inside[0] if inside else unquote(parts.path)


class _Places:
    """Finds images below a folder by as much of their address as there is."""

    def __init__(self, root: str):
        self._root = root
        self._by_name: dict[str, list[str]] | None = None

    def find(self, address: str) -> str | None:
        """The file of an address; None if it is not there, or several might be it."""
        parts = [part for part in _path_of(address).split("/") if part not in ("", ".", "..")]
        names = parts[-1:] + [_UPLOADED.sub("", part) for part in parts[-1:] if _UPLOADED.match(part)]
        for start in range(len(parts)):
            for name in names:
                path = os.path.join(self._root, *parts[start:-1], name)
                if containers.is_file(path):
                    return path
        if self._by_name is None:
            self._by_name = {}
            for path in folders.walk(self._root, folders.Tally()):
                self._by_name.setdefault(os.path.basename(path), []).append(path)
        found = [path for name in names for path in self._by_name.get(name, ())]
        return found[0] if len(found) == 1 else None

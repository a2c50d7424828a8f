"""Data sets of TensorFlow Datasets by their names: what its package has prepared is read without it and without TensorFlow.

A prepared data set is a folder NAME/VERSION, or NAME/CONFIGURATION/VERSION, of TFRecord files beside ``dataset_info.json``,
``features.json`` and ``KEY.labels.txt``: https://www.tensorflow.org/datasets/external_tfrecord.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from framework.core.console import say
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.files import read_own
from framework.data.images import Images
from framework.data.tfrecord import list_tfrecord

PACKAGE, FOLDER, USUAL = "tensorflow_datasets", "TFDS_DATA_DIR", "~/tensorflow_datasets"
INFO, FEATURES = "dataset_info.json", "features.json"
_NAME = re.compile(r"(\w+)(?:/([\w.\-]+))?(?::(\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
# in a process of its own, for it loads TensorFlow
_PREPARE = f"""
import sys, {PACKAGE}
{PACKAGE}.builder(sys.argv[1], data_dir=sys.argv[2]).download_and_prepare(file_format="tfrecord")
"""


def list_tfds(
    dataset: str,
    folder: str | None,
    download: bool,
    image: str | None,
    label: str | None,
    validation: float,
    test: float,
) -> Images:
    """The images of a prepared data set in the splits that it has; arguments are those of the source.

    Raises:
        BadInput: it is not there and is not to be downloaded, or can't be; or it has no images with a class.
    """
    named = _NAME.fullmatch(dataset)
    if named is None:
        raise BadInput(
            Problem(f"'{dataset}' is no name of a data set", "data.dataset", "beans, name/configuration:1.0.0")
        )
    root = Path(folder or os.environ.get(FOLDER) or USUAL).expanduser()
    place = _prepared(root, *named.groups())
    if place is None:
        if not download:
            raise BadInput(_not_there(dataset, root))
        _prepare(dataset, root)
        place = _prepared(root, *named.groups())
    if place is None:
        raise BadInput(Problem(f"tfds left no {dataset} in {root}", "data.download", "another data.folder"))
    format = _read(place / INFO).get("fileFormat", "tfrecord")
    if format != "tfrecord":
        right = f"tfds build {dataset} --file_format=tfrecord"
        raise BadInput(Problem(f"{place} is of {format} files, which are not read here", "data.dataset", right))
    features = _kinds(place)
    image_key = _one(features, "Image", image, "data.image", place)
    label_key = _one(features, "ClassLabel", label, "data.label", place)
    names = place / f"{label_key}.labels.txt"
    told = str(names) if names.is_file() else None
    found = list_tfrecord(str(place), image_key, label_key, "", told, validation, test)
    return replace(found, origin=str(place))


def _prepared(root: Path, name: str, configuration: str | None, version: str | None) -> Path | None:
    """The folder of the latest version, or of that which is named; None where there is none.

    Raises:
        BadInput: there are several configurations, and none is named.
    """
    found = [file.parent for depth in ("*", "*/*") for file in (root / name).glob(f"{depth}/{INFO}")]
    found = [place for place in found if _VERSION.fullmatch(place.name) and version in (None, place.name)]
    configurations = sorted({place.parent.name for place in found if place.parent.name != name})
    if configuration is None and len(configurations) > 1:
        what = f"{root / name} has several configurations: {listing(configurations)}"
        raise BadInput(Problem(what, "data.dataset", f"data.dataset={name}/{configurations[0]}"))
    if configuration is not None:
        found = [place for place in found if place.parent.name == configuration]
    return max(found, key=lambda place: [int(part) for part in place.name.split(".")], default=None)


def _not_there(dataset: str, root: Path) -> Problem:
    there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    what = f"tfds has prepared no {dataset} in {root}, and nothing is downloaded unasked"
    fetch = "data.download=true, which lets tfds download it"
    return Problem(what, "data.dataset", f"{suggestion(dataset, there)}; or {fetch}" if there else fetch)


def _prepare(dataset: str, root: Path) -> None:
    """Have tfds download a data set and prepare it; what it says goes to standard error.

    Raises:
        BadInput: it is not installed, or fails, as it does where there is no network.
    """
    if find_spec(PACKAGE) is None:
        what = "downloading needs the package tensorflow-datasets, which is not installed"
        raise BadInput(Problem(what, "data.download", "pip install 'framework[tfds]'"))
    say(f"tfds prepares {dataset} in {root}")
    done = subprocess.run([sys.executable, "-c", _PREPARE, dataset, str(root)], capture_output=True, text=True)
    if done.returncode:
        last = ([line for line in done.stderr.strip().splitlines() if line.strip()] or ["no word of why"])[-1]
        raise BadInput(
            Problem(f"tfds can't prepare {dataset}: {last.strip()}", "data.download", "the network, or another name")
        )


def _kinds(place: Path) -> dict[str, str]:
    """What each feature is by its key, as tfds calls it: ``Image``, ``ClassLabel``."""
    features = _read(place / FEATURES)
    inner = (features.get("featuresDict") or {}).get("features") if "featuresDict" in features else None
    entries: Any = inner if inner is not None else features.get("content", {})
    if not isinstance(entries, dict):
        return {}
    kinds = {
        key: str(one.get("pythonClassName") or one.get("type")) for key, one in entries.items() if isinstance(one, dict)
    }
    return {key: kind.rpartition(".")[2] for key, kind in kinds.items()}


def _one(features: dict[str, str], kind: str, wanted: str | None, where: str, place: Path) -> str:
    """The feature that is wanted, else the only one of a kind."""
    keys = sorted(key for key, one in features.items() if one == kind)
    if wanted is not None:
        if wanted not in features:
            raise BadInput(Problem(f"{place} has no feature '{wanted}'", where, suggestion(wanted, keys or features)))
        return wanted
    if len(keys) != 1:
        what = f"{place} has {'several features' if keys else 'no feature'} of kind {kind}"
        what += f": {listing(keys)}" if keys else ""
        raise BadInput(Problem(what, where, f"{where}={keys[0]}" if keys else "a data set of images with a class each"))
    return keys[0]


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_own(file, file.parent))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            Problem(f"{file} can't be read: {error}", "data.dataset", "the data set prepared anew")
        ) from None
    return found if isinstance(found, dict) else {}

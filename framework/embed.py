"""Embed: what base and pooling make of each image, as a Parquet file for other programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check
from framework.cli.one_file import run_for_a_file
from framework.config.settings import Settings
from framework.core.console import progress, say
from framework.core.errors import DONE, BadInput, Problem, many
from framework.core.files import whole
from framework.data.embedded import MADE
from framework.data.images import Images
from framework.runs.preflight import experiment, network_of

USAGE = """
python -m framework.embed [overrides] [output=FILE]

Writes what base and pooling make of each image, a row each: path, split, label, and the features as a list of fixed size
(output, features.parquet by default). Nothing is trained. Features stay in the cache, where a training, and the same command
after an interruption, find them. cache.dtype=float16 writes half the bytes. With cache.compute=ray a Ray cluster computes
them. data=features trains on the file.

  python -m framework.embed model=mobilenet data=image_folder data.dir=PHOTOS
  python -m framework.embed model=dinov2_small pooling=cls data=image_folder data.dir=PHOTOS output=photos.parquet
  python -m framework.train model=mobilenet data=features data.files=features.parquet

Exit code 0: done; 2: the command line or the data are wrong.
"""
GROUP = 4096  # images of a row group: about 6 MB of 384 features
# words that say what makes the features, for who trains on them
NETWORK = ("model", "pooling", "recipe", "data.image_size", "data.resize", "data.fill", "data.channels", "trainer.seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the features; returns the exit code."""
    return run_for_a_file(USAGE, "output", "features.parquet", embed, arguments)


def embed(overrides: Sequence[str], output: Path) -> int:
    """Compute what is not kept yet, and write the file."""
    (settings,) = check(overrides, _preflight)
    import pyarrow
    import pyarrow.parquet

    from framework.runs.prepare import look

    start = look(_frozen(settings)).experiment
    images = start.images
    features, shape, made = _features(start)
    size = int(np.prod(shape))
    number = pyarrow.float16() if settings.cache.dtype == "float16" else pyarrow.float32()
    made |= {"classes": list(images.classes), "words": [word for word in overrides if word.startswith(NETWORK)]}
    schema = pyarrow.schema(
        [
            ("path", pyarrow.string()),
            ("split", pyarrow.string()),
            ("label", _kind_of_labels(images, pyarrow)),
            ("features", pyarrow.list_(number, size)),
        ],
        metadata={
            "model": settings.model.name,
            "pooling": settings.pooling.name,
            "shape": "x".join(map(str, shape)),
            MADE: json.dumps(made),
        },
    )
    rows, count = _rows(images), sum(map(len, images.splits.values()))
    with (
        whole(output) as beside,
        pyarrow.parquet.ParquetWriter(beside, schema) as file,
        progress("writing", count, "images") as advance,
    ):
        for first in range(0, count, GROUP):
            paths, splits, labels = zip(*islice(rows, GROUP), strict=True)
            numbers = np.asarray(features.read(np.arange(first, first + len(paths)))).astype(number.to_pandas_dtype())
            lists = pyarrow.FixedSizeListArray.from_arrays(numbers.reshape(-1), size)
            columns = [
                pyarrow.array(values, field.type)
                for values, field in zip((paths, splits, labels), schema, strict=False)
            ]
            file.write_table(pyarrow.Table.from_arrays([*columns, lists], schema=schema))
            advance(len(paths))
    known = len(features) - features.computed
    say(f"{many(count, 'image')}, {size:,} features each ({known:,} known, {features.computed:,} computed)")
    say(f"written: {output}")
    return DONE


def _features(start: Any) -> tuple[Any, tuple[int, ...], dict[str, Any]]:
    """The kept features of all splits, one after the other, the shape of an image's, and by what they are made."""
    from framework.data import fingerprint
    from framework.data.columns import joined
    from framework.features.compute import features
    from framework.features.graph import frozen_prefix, split
    from framework.features.key import weights_of
    from framework.runs.prepare import network
    from framework.training.stages import stage_of

    settings = start.settings
    built = network(start)
    (name, wanted), *_ = settings.stages.items()
    stage = stage_of(name, wanted, settings, built)
    cut = frozen_prefix(built.flat, stage.trained, stage.inference)
    prefix, _ = split(built.flat, cut, stage.inference)
    if len(cut.shapes) != 1 or len(cut.shapes[0]) != 1:
        what = f"pooling '{settings.pooling.name}' gives no vector that is known before a training"
        raise BadInput(Problem(what, "pooling.name", "pooling=avg, or pooling=cls of a transformer"))
    paths = joined([split_.paths for split_ in start.images.splits.values()])
    found = features(
        prefix,
        paths,
        fingerprint.keys(paths),
        geometry=settings.data.geometry,
        cache=settings.cache,
        precision=settings.trainer.feature_precision,
        about={"base": settings.model.name, "cut": ", ".join(cut.names), "size": list(settings.data.size)},
        compute=settings.compute,
    )
    return found, cut.shapes[0], {**network_of(settings), "cut": list(cut.names), "weights": weights_of(prefix)}


def _frozen(settings: Settings) -> Settings:
    """The same, with a base that nothing trains and images as they are."""
    first, *_ = settings.stages.items()
    return replace(
        settings,
        model=replace(settings.model, trainable=False),
        augment=replace(settings.augment, parts={}),
        stages={first[0]: replace(first[1], train="head", image_size=None, label_smoothing=None, mixup=None)},
    )


def _rows(images: Images) -> Iterator[tuple[str, str, Any]]:
    """Path, split and label of each image, in the order of its features."""
    for name, split in images.splits.items():
        for path, label in zip(split.paths, split.labels, strict=True):
            text = path.encode(errors="surrogateescape").decode(errors="replace")
            if images.numbers:
                yield text, name, [float(one) for one in label]
            elif images.multilabel:
                yield text, name, [images.classes[place] for place in np.flatnonzero(label)]
            else:
                yield text, name, images.classes[int(label)]


def _kind_of_labels(images: Images, pyarrow: Any) -> Any:
    if images.numbers:
        return pyarrow.list_(pyarrow.float32())
    return pyarrow.list_(pyarrow.string()) if images.multilabel else pyarrow.string()


def _preflight(settings: Settings) -> list[Problem]:
    problems = []
    if find_spec("pyarrow") is None:
        right = "pip install 'framework[parquet]'"
        problems.append(Problem("Parquet needs the package pyarrow, which is not installed", "environment", right))
    if settings.cache.use == "off":
        problems.append(Problem("cache=off keeps no features to write", "cache", "cache=auto"))
    if settings.data.name == "features":
        problems.append(Problem("data=features are features already", "data.name", "data=image_folder data.dir=PHOTOS"))
    try:
        experiment(_frozen(settings))
    except BadInput as error:
        problems += error.problems
    return problems


if __name__ == "__main__":
    sys.exit(main())

"""A trained classifier published as a file for elsewhere: written, replayed through its own script, and only then named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from framework.core.backend import load_tensorflow
from framework.core.console import amount, say
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.files import whole_folder, write_whole
from framework.core.geometry import Geometry
from framework.core.schema import Count, PathText, Share
from framework.evaluation.forward import batches
from framework.evaluation.labelled import DataOptions, Labelled, SplitName, labelled
from framework.exports import formats
from framework.exports.answering import Answer, answering
from framework.exports.calling import load, script
from framework.exports.formats import Format, Quantize, Request
from framework.exports.replay import Replay, replay
from framework.exports.rounding import with_8_bit_weights
from framework.model.saved import ModelOptions, Trained


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ModelOptions):
    """What is written, what it is held against, and where it goes; what ``framework-export`` takes."""

    format: Annotated[Format, "what is written"] = "keras"
    quantize: Annotated[Quantize, "for litert: dynamic makes weights 8 bits, int8 all arithmetic too"] = "none"
    answer: Annotated[Answer | None, "what the file gives for an image; null: probabilities, or the numbers"] = None
    calibration: Annotated[Count, "images, of the run's training data or data.dir, that int8 is calibrated with"] = 100
    split: Annotated[SplitName | None, "which images are replayed; null: validation, or all of a folder"] = None
    data: DataOptions
    images: Annotated[Count | None, "replay so many at most; null: all"] = None
    max_drop: Annotated[Share, "publish nothing if accuracy falls by more, or numbers move by more deviations"] = 0.01
    output: Annotated[PathText | None, "a folder; null: export/FORMAT in the run folder"] = None


def publish(trained: Trained, options: ExportOptions, tell: Callable[[str], object]) -> tuple[Path, Labelled | None]:
    """Write, replay, publish.

    Args:
        trained: the classifier.
        options: what is wanted; the classifier that they name is not looked at.
        tell: is given the table of what the replay found, also where nothing is published then.

    Returns:
        The folder, and what was replayed, None where nothing was.

    Raises:
        BadInput: the classifier, the images or the format can't be used.
        RunFailed: the file is not good enough.
    """
    formats.check(options.format, options.quantize)
    given = _answer(trained, options)
    images = _images(trained, options)
    folder = Path(options.output) if options.output else trained.output("export", _name(options))
    _writable(folder)
    samples = _calibration(trained, options) if options.quantize != "none" else []
    say(f"writing {trained.name} as {_name(options)}")
    load_tensorflow()
    model = trained.load()
    answers, pixels = answering(model, trained.task, given), _read(samples, trained.geometry)
    if pixels is not None:
        answers = with_8_bit_weights(answers, pixels, formats.SMALLEST[options.quantize])
    request = Request(answers, given, trained.task.classes, options.quantize, pixels)
    with whole_folder(folder) as beside:
        file = formats.write(options.format, request, beside)
        text = script(
            options.format,
            file,
            trained.geometry,
            trained.task.classes,
            request.model.output_shape[-1],
            given,
            options.quantize,
            _recipe(trained),
        )
        write_whole(beside / "call.py", text)
        found = None
        if images is not None:
            called = load(beside / "call.py")
            found = replay(model, called, trained.task, given, images, options.images, trained.geometry)
            tell(_table(found, formats.size_of(file), trained.file.stat().st_size))
            if found.drop > options.max_drop:
                what = f"{found.lost} by {found.drop:.4f}, more than max_drop={options.max_drop:g}"
                raise RunFailed(f"{what}: nothing is published")
        more: dict[str, Any] = {"model": trained.name, "replay": found.record() if found else None}
        more |= {"temperature": trained.temperature} if trained.temperature is not None else {}
        write_whole(beside / "export.json", formats.about(options.format, request, file, more))
    return folder, images


def _images(trained: Trained, options: ExportOptions) -> Labelled | None:
    """What is replayed; None for a model from elsewhere that no images are named for, or a run that had none."""
    named = options.data.dir or options.data.file or options.split
    if not named and (trained.run is None or not _was_validated(trained)):
        return None
    return labelled(trained, options.data, options.split)


def _answer(trained: Trained, options: ExportOptions) -> Answer:
    """What the file gives: what is wanted, or what is usual for the task.

    Raises:
        BadInput: the task has no such answer.
    """
    possible = trained.task.exports
    if options.answer is not None and options.answer not in possible:
        what = f"answer={options.answer}: this model gives {' or '.join(possible)}"
        raise BadInput(Problem(what, "command line: answer", f"answer={possible[0]}"))
    return options.answer or possible[0]  # type: ignore[return-value]


def _was_validated(trained: Trained) -> bool:
    assert trained.run is not None
    data = trained.run.read_run().get("data")
    counts = data.get("images") if isinstance(data, dict) else None
    return not isinstance(counts, dict) or "validation" in counts


def _calibration(trained: Trained, options: ExportOptions) -> list[str]:
    """Files spread over the training data, or over the images that are named."""
    named = options.data.dir or options.data.file
    if trained.run is None and not named:
        what = f"quantize={options.quantize} is calibrated with images, and a model from elsewhere brings none"
        raise BadInput(Problem(what, f"command line: quantize={options.quantize}", "data.dir=FOLDER"))
    paths = labelled(trained, options.data, options.split if named else "train").split.paths
    places = np.unique(np.linspace(0, len(paths) - 1, min(options.calibration, len(paths))).astype(int))
    return [paths[place] for place in places]


def _read(paths: Sequence[str], geometry: Geometry) -> np.ndarray | None:
    """The images of these files that can be read, uint8 (images, height, width, channels); None if there are no files."""
    return np.concatenate([batch.numpy() for _, batch in batches(paths, geometry, 32, [])]) if paths else None


def _name(options: ExportOptions) -> str:
    return options.format if options.quantize == "none" else f"{options.format}-{options.quantize}"


def _recipe(trained: Trained) -> str | None:
    recipe = trained.run.read_run().get("recipe") if trained.run else None
    return str(recipe["name"]) if isinstance(recipe, dict) and recipe.get("name") else None


def _writable(folder: Path) -> None:
    """See before anything is computed whether the folder can be made.

    Raises:
        BadInput: it can't.
    """
    try:
        with whole_folder(folder.with_name(f"{folder.name}.try")):
            pass
        folder.with_name(f"{folder.name}.try").rmdir()
    except OSError as error:
        what = f"the folder {folder} can't be written: {error.strerror or error}"
        raise BadInput(Problem(what, "command line: output", "output=FOLDER")) from None


def _table(found: Replay, size: int, before: int) -> str:
    rows = [
        ("", "the run's model", "exported"),
        (found.score, f"{found.before:.4f}", f"{found.after:.4f}"),
        ("size", amount(before), amount(size)),
        ("one image, median", f"{found.before_ms:.1f} ms", f"{found.after_ms:.1f} ms"),
    ]
    lines = [f"{name:<22}{left:>16}{right:>12}" for name, left, right in rows]
    lines.append(f"same answer            {found.agreement:.2%} of {found.images:,} images")
    lines.append(f"largest difference     {found.difference:.3g}, of pixels {found.levels} of 255")
    return "\n".join(lines)

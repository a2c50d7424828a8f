"""Export: a trained classifier as a file for phones, servers and other runtimes, held against the original first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from framework.cli.options import run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import amount, follow, say, warn
from framework.core.errors import DONE, BadInput, Problem, RunFailed
from framework.core.files import whole_folder, write_whole
from framework.core.geometry import Geometry
from framework.core.schema import Count, PathText, Share
from framework.evaluation.forward import batches
from framework.evaluation.labelled import DataOptions, Labelled, SplitName, labelled
from framework.exports import formats
from framework.exports.answering import Answer, answering
from framework.exports.calling import load, script
from framework.exports.decoding import LIMITS
from framework.exports.formats import Format, Quantize, Request
from framework.exports.replay import Replay, replay
from framework.exports.rounding import with_8_bit_weights
from framework.model.saved import ModelOptions, Trained, open_trained

USAGE = """
python -m framework.export run=RUN [options]

Writes a trained classifier for elsewhere: raw images go in, preprocessing, labels and the answer's form are inside.
Beside the file lie labels.txt, export.json (what it takes and gives, what was measured) and call.py, a script that calls
it. Labelled images, the run's validation images if no others are named, are replayed through that script, from their
files on; if it is right less often than max_drop allows, nothing is published. Of numbers that is how far they move on
average, in standard deviations of the training images' own.

  python -m framework.export run=latest                                a .keras file
  python -m framework.export run=RUN format=saved_model                for TensorFlow Serving: pixels, or bytes of files
  python -m framework.export run=RUN format=litert quantize=int8       for phones and microcontrollers
  python -m framework.export run=RUN format=onnx                       for ONNX Runtime (extra: onnx)
  python -m framework.export model=theirs.h5 classes=[hat,shoes] data.dir=PHOTOS format=litert

Exit code 0: published; 1: the gate said no; 2: the command line, the run or the data are wrong.
"""


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-export`` takes."""

    format: Annotated[Format, "what is written"] = "keras"
    quantize: Annotated[Quantize, "for litert: dynamic makes weights 8 bits, int8 all arithmetic too"] = "none"
    answer: Annotated[Answer | None, "what the file gives for an image; null: probabilities, or the numbers"] = None
    calibration: Annotated[Count, "images, of the run's training data or data.dir, that int8 is calibrated with"] = 100
    split: Annotated[SplitName | None, "which images are replayed; null: validation, or all of a folder"] = None
    data: DataOptions
    images: Annotated[Count | None, "replay so many at most; null: all"] = None
    max_drop: Annotated[Share, "publish nothing if accuracy falls by more, or numbers move by more deviations"] = 0.01
    output: Annotated[PathText | None, "a folder; null: export/FORMAT in the run folder"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Export what the command line says; returns the exit code."""
    return run_with_options(USAGE, Options, export, arguments)


def export(options: Options) -> int:
    """Write, replay, publish.

    Raises:
        BadInput: the classifier, the images or the format can't be used.
        RunFailed: the file is not good enough.
    """
    trained = open_trained(options)
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
            print(_table(found, formats.size_of(file), trained.file.stat().st_size))
            if found.drop > options.max_drop:
                what = f"{found.lost} by {found.drop:.4f}, more than max_drop={options.max_drop:g}"
                raise RunFailed(f"{what}: nothing is published")
        more = {"model": trained.name, "replay": found.record() if found else None}
        write_whole(beside / "export.json", formats.about(options.format, request, file, more))
    if options.format == "saved_model":
        say(LIMITS)
    if found is None:
        warn("nothing was replayed: data.dir=FOLDER names labelled images")
    say(f"in {folder}: {'  '.join(sorted(path.name for path in folder.iterdir()))}")
    if images is not None:
        follow("python", str(folder / "call.py"), images.split.paths[0])
    else:
        follow("python", "-m", "framework.serve", *trained.words)
    return DONE


def _images(trained: Trained, options: Options) -> Labelled | None:
    """What is replayed; None for a model from elsewhere that no images are named for, or a run that had none."""
    named = options.data.dir or options.data.file or options.split
    if not named and (trained.run is None or not _was_validated(trained)):
        return None
    return labelled(trained, options.data, options.split)


def _answer(trained: Trained, options: Options) -> Answer:
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


def _calibration(trained: Trained, options: Options) -> list[str]:
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


def _name(options: Options) -> str:
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


if __name__ == "__main__":
    sys.exit(main())

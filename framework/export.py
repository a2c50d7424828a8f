"""Export: a trained classifier as a file for phones, servers and other runtimes, held against the original first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from framework.cli.options import run_with_options
from framework.core.console import follow, say, warn
from framework.core.errors import DONE
from framework.exports.decoding import LIMITS
from framework.exports.publishing import ExportOptions as Options
from framework.exports.publishing import publish
from framework.model.saved import open_trained

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Export what the command line says; returns the exit code."""
    return run_with_options(USAGE, Options, export, arguments)


def export(options: Options) -> int:
    """Publish, and say what there is.

    Raises:
        BadInput: the classifier, the images or the format can't be used.
        RunFailed: the file is not good enough.
    """
    trained = open_trained(options)
    folder, images = publish(trained, options, print)
    if options.format == "saved_model":
        say(LIMITS)
    if images is None:
        warn("nothing was replayed: data.dir=FOLDER names labelled images")
    say(f"in {folder}: {'  '.join(sorted(path.name for path in folder.iterdir()))}")
    if images is not None:
        files = [path for path in images.split.paths[:1] if os.path.isfile(path)]  # the script unpacks no archives
        follow("python", str(folder / "call.py"), *(files or ["IMAGE"]))
    else:
        follow("python", "-m", "framework.serve", *trained.words)
    return DONE


if __name__ == "__main__":
    sys.exit(main())

"""Check a command line without training: every mistake in config and data, with where it was set and what would be right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check, looking
from framework.core.console import say
from framework.core.errors import DONE
from framework.data import written
from framework.runs.preflight import Data, preflight

USAGE = """
python -m framework.check [overrides]

Checks what python -m framework.train would be given, its images and weights too, and trains nothing. Says what lies in
the data's folder and is not used, and writes data.write_split. Exit code 0: all right; 2: something is wrong.

  python -m framework.check model=xception head=dense10 optim.lr=0.001
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the command line; returns the exit code."""

    def work(overrides: list[str]) -> int:
        data = Data()
        try:
            variants = check(overrides, partial(preflight, data=data))
        finally:
            for heading, text in data.told():
                say(f"{heading}: {text}")
        for settings in variants:
            if settings.data.write_split:
                images = data.images(settings)
                file = written.write(Path(settings.data.write_split), images)
                say(f"the split is in {file}: {' '.join(written.words(file, images))}")
        say("all right" if len(variants) == 1 else f"all right: {len(variants)} variants")
        return DONE

    return looking(USAGE, arguments, work)


if __name__ == "__main__":
    sys.exit(main())

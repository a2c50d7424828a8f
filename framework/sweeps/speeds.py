"""How fast networks are on this machine, each measured in a process of its own."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from framework.config.settings import Settings
from framework.core.errors import DONE
from framework.core.files import write_whole
from framework.core.reporting import guarded
from framework.runs.preflight import experiment
from framework.sweeps.processes import in_processes


def speeds(
    settings: Sequence[Settings], deadline: float | None = None
) -> Iterator[tuple[int, dict[str, Any] | None, float]]:
    """One network after the other; this process must have loaded TensorFlow and run nothing.

    Args:
        settings: of each.
        deadline: a moment of ``time.monotonic`` at which what is being measured is given up.

    Yields:
        A network's place, what ``runs.speed.Speed`` holds or None where it could not be measured, and the seconds that
        it took.
    """
    with tempfile.TemporaryDirectory(prefix="framework-") as folder:
        files = [Path(folder, f"{place}.json") for place in range(len(settings))]
        calls = [functools.partial(_measure, one, file) for one, file in zip(settings, files, strict=True)]
        late = lambda place: deadline is not None and time.monotonic() > deadline  # noqa: E731
        for ended in in_processes(calls, at_once=1, unwanted=late):
            whole = ended.code == DONE
            found = json.loads(files[ended.place].read_text(encoding="utf-8")) if whole else None
            yield ended.place, found, ended.seconds


def _measure(settings: Settings, file: Path) -> int:
    """In a process of its own: measure, and leave the numbers in a file."""

    def run() -> int:
        from framework.runs.speed import speed

        write_whole(file, json.dumps(asdict(speed(experiment(settings)))))
        return DONE

    return guarded(run)

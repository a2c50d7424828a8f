"""The keeper of ``run.json``: what a run is, how far it got, and how it ended."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from framework.core.runs import RunFolder
from framework.runs import facts
from framework.runs.job import Job


class Record:
    """One run's ``run.json``, written whole whenever something is known.

    Args:
        folder: the run's folder.
        job: what was asked for.
    """

    def __init__(self, folder: RunFolder, job: Job):
        self.folder = folder
        self.run: dict[str, Any] = {
            "status": "running",
            "process": os.getpid(),
            "started": _now(),
            "command": [sys.argv[0], *job.overrides],
            "overrides": list(job.overrides),
            "recipe": {"name": job.recipe.name, "folder": str(job.recipe.folder)} if job.recipe else None,
            **({"repeats": str(job.repeats)} if job.repeats else {}),
            "seed": job.settings.trainer.seed,
            **facts.found(),
            "seconds": {},
        }

    def note(self, **values: Any) -> None:
        """Add what has become known."""
        self.run |= values
        self.folder.write_run(self.run)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's seconds to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = self.run["seconds"]
            seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - started, 3)

    def end(self, status: str, reason: str | None = None) -> None:
        """Note how the run ended."""
        self.note(status=status, ended=_now(), **({"reason": reason} if reason else {}))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

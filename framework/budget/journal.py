"""``auto.json``: what auto has decided and how long it took, so that the same command goes on where it stood."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from framework.core.digits import is_number
from framework.core.errors import BadInput, Problem
from framework.core.files import write_whole

FILE = "auto.json"
FORMAT = 1


class Journal:
    """Of one folder; written whole whenever something is known.

    Args:
        folder: of the sweep.
        given: what holds for all runs, by which the same command is known again.
        clock: tells seconds.

    Raises:
        BadInput: another command was at work there.
    """

    def __init__(self, folder: Path, given: Sequence[str], clock: Callable[[], float] = time.monotonic):
        self.file, self._clock = folder / FILE, clock
        self.told: dict[str, Any] = {"format": FORMAT, "given": list(given), "steps": {}, "spent": 0.0}
        if self.file.is_file():
            self.told = self._read(given)
        self.before, self._began = float(self.told["spent"]), clock()

    def _read(self, given: Sequence[str]) -> dict[str, Any]:
        try:
            told = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(
                Problem(f"{self.file} can't be read: {error}", str(self.file), "output=<a new folder>")
            ) from None
        whole = isinstance(told, dict) and told.get("format") == FORMAT
        if not whole or not isinstance(told.get("steps"), dict) or not is_number(told.get("spent")):
            what = f"{self.file} is not as this version writes it"
            raise BadInput(Problem(what, str(self.file), "output=<a new folder>"))
        if told.get("given") != list(given):
            what = f"{self.file.parent} is of another command: {told.get('given')}"
            raise BadInput(Problem(what, "command line: output", "output=<a new folder>"))
        return told

    @property
    def spent(self) -> float:
        """Seconds of all commands so far."""
        return self.before + self._clock() - self._began

    def decided(self, name: str, decide: Callable[[], Sequence[Sequence[str]]]) -> list[tuple[str, ...]]:
        """The runs of a step: as they were decided before, else now; that none fits may be otherwise another time."""
        steps = self.told["steps"]
        if name not in steps and (found := [list(lines) for lines in decide()]):
            steps[name] = found
            self.write()
        return [tuple(lines) for lines in steps.get(name, ())]

    def knows(self, name: str) -> bool:
        """Whether a step was decided before."""
        return name in self.told["steps"]

    def write(self, **more: Any) -> None:
        """Add what has become known."""
        self.told |= {**more, "spent": round(self.spent, 1)}
        write_whole(self.file, json.dumps(self.told, indent=2, ensure_ascii=False) + "\n")

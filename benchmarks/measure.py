"""What every benchmark shares: timed processes, and a table with both sides, the machine and the versions."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from framework.runs import facts

ROOT = Path(__file__).resolve().parents[1]
VERSION_0_1_0 = "f721d19"  # its commit, for clones without tags


@dataclass(frozen=True)
class Timed:
    """A finished process: wall-clock seconds, processor seconds, and what it printed."""

    seconds: float
    processor: float
    output: str


def needs(*modules: str) -> None:
    """End with one line where a package is missing that not every install has."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        sys.exit(f"this benchmark needs {', '.join(missing)}: pip install -e '.[bench]'")


def run(
    module: str, *arguments: str, cache: Path | None = None, root: Path = ROOT, python: str = sys.executable
) -> Timed:
    """Run ``python -m module`` of the checkout ``root`` in an empty folder; with a feature cache of its own if given."""
    return process([python, "-m", module, *arguments], cache, root)


def process(command: Sequence[str], cache: Path | None = None, root: Path = ROOT) -> Timed:
    """Run a command likewise."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each command would compile every module anew
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    before = processor()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return Timed(seconds, processor() - before, done.stdout)


def processor() -> float:
    """Processor seconds, up to now, of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plain(*arguments: str) -> tuple[Timed, list[dict]]:
    """Run the plain Keras side; its process and what each rate gave."""
    timed = run("benchmarks.plain", *arguments)
    return timed, json.loads(timed.output.splitlines()[-1])


def report(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Print the table, then the machine and the versions."""
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=120, highlight=False)
    console.print(title, style="italic")  # a title of the table itself would be broken to the table's width
    console.print(table)
    if note:
        console.print(note)
    console.print(made_on())


def made_on() -> str:
    """The machine and the versions, in a line."""
    machine, versions = facts.machine(), facts.versions()
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "tensorflow", "keras"))
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {named}"


def data_folder(given: str | None) -> Path:
    """The folder of real photos: as given, else in the one that FRAMEWORK_SHARED names."""
    shared = os.environ.get("FRAMEWORK_SHARED")
    folder = Path(given) if given else Path(shared or "", "data", "clothing")
    if not (folder / "train").is_dir():
        sys.exit(f"no photos in {folder}: give --data, or the shared folder by FRAMEWORK_SHARED")
    return folder.resolve()


def mobilenet(data: Path, weights: str | None) -> list[str]:
    """Overrides for what most figures are about: MobileNet of alpha 0.25 on the photos."""
    model = ["model=mobilenet", "model.alpha=0.25", f"model.weights={weights or 'null'}"]
    return [*model, "data=image_folder", f"data.dir={data}"]


def weights_file(base: str, given: str | None) -> str | None:
    """Real weights where they are to be had: for MobileNet in the shared folder; None means random ones."""
    if given:
        return str(Path(given).resolve())
    shared = os.environ.get("FRAMEWORK_SHARED")
    file = Path(shared or "", "weights", "mobilenet_2_5_224_tf_no_top.h5")
    return str(file.resolve()) if base == "mobilenet" and file.is_file() else None

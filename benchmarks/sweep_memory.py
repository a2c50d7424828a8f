"""Memory of a long sweep: what the sweep's own process holds after 5 and after 100 jobs of a tiny model.

python -m benchmarks.sweep_memory [--jobs 100]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

EARLY = 5


def main() -> None:
    """Run the sweep, look at its memory as runs end, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        ended, seconds = watch(Path(folder), jobs)
    early, late = ended[EARLY], ended[max(ended)]
    print(f"| jobs | memory of the sweep's process | ratio |\n|---|---|---|\n| {EARLY} | {early:.0f} MiB | 1 |")
    print(f"| {max(ended)} | {late:.0f} MiB | {late / early:.2f} |")
    print(f"{seconds / jobs:.2f} s a job, imports included; {os.cpu_count()} cores, Python {platform.python_version()}")


def watch(folder: Path, jobs: int) -> tuple[dict[int, float], float]:
    """MiB of the sweep's process by the number of runs that have ended, and the seconds of the whole sweep."""
    images(folder / "photos")
    # the last run's memory must be seen before the process ends, so a further run is begun that is not looked at
    rates = ",".join(f"{0.001 * (1 + job):.4f}" for job in range(jobs + 1))
    command = [sys.executable, "-m", "framework.train", "-m", "data=image_folder", f"data.dir={folder}/photos"]
    command += ["model.filters=[4]", "model.image_size=16", "trainer.epochs=1", f"optim.lr={rates}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    began = time.perf_counter()
    ended: dict[int, float] = {}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as sweep:
        assert sweep.stderr is not None
        for line in sweep.stderr:
            if line.startswith("["):
                ended[int(line[1:].partition("/")[0])] = resident(sweep.pid)
    ended.pop(jobs + 1, None)
    return ended, time.perf_counter() - began


def resident(pid: int) -> float:
    """MiB that a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def images(folder: Path) -> None:
    """Two classes of noise, eight images each."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        for name, shade in (("dark", 40), ("light", 200)):
            (folder / split / name).mkdir(parents=True)
            for index in range(8):
                pixels = rng.normal(shade, 20, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")


if __name__ == "__main__":
    main()

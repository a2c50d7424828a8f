"""Hostile input, section by section: how much was tried, answered well, and failed.

    python -m benchmarks.hostile
    python -m benchmarks.hostile --only models,keys
    python -m benchmarks.hostile --only serve --requests 20000

Everything is rebuilt without harm: a payload would make a file, show a secret, or connect to a door, all watched. Exit
code 1: something was answered otherwise than it must be.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from benchmarks.hostile.tally import Tally
from benchmarks.measure import report

SECTIONS = ("sources", "runs", "cache", "keys", "models", "system", "serve")


def main() -> int:
    """Run the sections; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, between commas")
    parser.add_argument("--short", action="store_true", help="as the suite does, in seconds")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of a section's cases that are tried, drawn: 0.1 is a tenth"
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="of a section, after which no more cases are tried"
    )
    parser.add_argument("--requests", type=int, default=5000, help="hostile requests to the server")
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name]
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    tallies = []
    with tempfile.TemporaryDirectory() as made:
        os.environ["XDG_CACHE_HOME"] = str(Path(made, "cache"))
        for name in chosen:
            folder = Path(made, name)
            folder.mkdir()
            tallies.append(tried(name, folder, options.short, options.requests, options.share, options.seconds))
    rows = [[one.name, f"{one.tried:,}", f"{one.tried - len(one.failed):,}", f"{len(one.failed):,}"] for one in tallies]
    total = sum(one.tried for one in tallies)
    failed = [wrong for one in tallies for wrong in one.failed]
    report(
        f"{total:,} hostile inputs",
        ["section", "tried", "answered well", "failed"],
        rows,
        "\n".join(f"{one.name}: {fact}" for one in tallies for fact in one.facts),
    )
    for wrong in failed:
        print(f"failed: {wrong}")
    return 1 if failed else 0


def tried(
    name: str, folder: Path, short: bool, requests: int = 5000, share: float = 1.0, seconds: float = math.inf
) -> Tally:
    """A section, carried out in a folder of its own."""
    tally = Tally(name, share, time.monotonic() + seconds)
    print(f"{name} …", flush=True)
    started = time.monotonic()
    import_module(f"benchmarks.hostile.{name}").carry_out(tally, folder, short, requests)
    (longest, slowest), (most, largest) = tally.slowest, tally.largest
    told = f"{time.monotonic() - started:.0f} s"
    if slowest:
        told += f"; the longest case took {longest:.2f} s of processor time ({slowest}), the largest {most:,.0f} MiB ({largest})"
    tally.facts.append(told)
    print(f"{name}: {tally.tried:,} tried, {len(tally.failed)} failed", flush=True)
    return tally


if __name__ == "__main__":
    sys.exit(main())

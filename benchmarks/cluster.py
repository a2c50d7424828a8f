"""The feature pass by a Ray cluster on this machine: what it costs beside one process, and how much faster two nodes are.

    python -m benchmarks.cluster                                50,000 images: half an hour on two cores
    python -m benchmarks.cluster --images 1000 --only cost

Cost: processor seconds of ``framework.train cache=only`` alone, and by tasks of one node with all cores of this machine. What
the command and the tasks take is held against the command alone; what else Ray runs is named by itself, from the first word
of the command to its last.

Speed: images a second on one node of one core, and on two, from when the command joins the cluster to the last feature that is
kept, so with the start of the tasks' processes; and seconds of the whole command, which lists and hashes images before that.
All processes of a node are bound to its core; the command and the head, which has no room for tasks, go where there is room,
and with two nodes there is none besides. Only a machine without other work tells something.

Images are the real photos as often as it takes; each has other bytes behind its end, so it is an image of its own to
everything but the decoder. Whether both passes leave the same features is seen, too. For Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.measure import Timed, data_folder, mobilenet, needs, report, run, weights_file
from framework.features import shards

LOOK_EVERY = 0.2  # seconds; so much of a process that ends is not seen
TICKS = os.sysconf("SC_CLK_TCK")
TASKS, AGENTS = "tasks", "agents and monitors"

# each argument is a node: the cores that it has and is bound to
NODES = """
import os, sys
from ray.cluster_utils import Cluster
small = {"include_dashboard": False, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2", **small})
for number, cores in enumerate(sys.argv[1:], start=3):
    own = {int(core) for core in cores.split(",")}
    os.sched_setaffinity(0, own)
    cluster.add_node(num_cpus=len(own), node_ip_address=f"127.0.0.{number}", **small)
print("at", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass
class Ray:
    """A cluster that is there, and what its processes have used.

    Attributes:
        address: of it.
        starter: the process that all of its processes descend from.
        used: of each process its kind, and its processor seconds when it was first and last seen.
    """

    address: str
    starter: int
    used: dict[int, tuple[str, float, float]] = field(default_factory=dict)

    def look(self) -> None:
        """Take notice of what all have used up to now."""
        for number, kind, seconds in _descendants(self.starter):
            known = self.used.get(number)
            # one that has ended is not called anything any more; one that is new has used nothing before
            self.used[number] = kind or (known[0] if known else AGENTS), known[1] if known else 0.0, seconds

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, float]]:
        """While entered, processor seconds are counted; afterwards they stand in what is given, by kind."""
        self.used = {number: (kind, seconds, seconds) for number, kind, seconds in _descendants(self.starter)}
        found: dict[str, float] = defaultdict(float)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_EVERY):
                self.look()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield found
        finally:
            over.set()
            watching.join()
            self.look()
            for kind, first, last in self.used.values():
                found[kind] += last - first


@contextlib.contextmanager
def ray(nodes: Sequence[set[int]]) -> Iterator[Ray]:
    """A cluster of nodes that have these cores."""
    words = [",".join(map(str, sorted(cores))) for cores in nodes]
    command = [sys.executable, "-c", NODES, *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = next((line for line in process.stdout if line.startswith("at")), None)
        if said is None:
            sys.exit("no Ray cluster could be begun here")
        yield Ray(said.split()[1], process.pid)
        process.stdin.close()


def _descendants(starter: int) -> Iterator[tuple[int, str, float]]:
    """Number, kind and processor seconds of all processes below one."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            cells = file.read_text().rpartition(")")[2].split()
            number = int(file.parent.name)
            parents[number], seconds[number] = int(cells[1]), (int(cells[11]) + int(cells[12])) / TICKS
    for number in parents:
        above = parents[number]
        while above in parents and above != starter:
            above = parents[above]
        if above == starter:
            yield number, _kind(number), seconds[number]


def _kind(number: int) -> str:
    try:
        words = Path(f"/proc/{number}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return ""
    called = words[0].strip()
    if not called:
        return ""
    if called.startswith("ray::") and not called.endswith("Agent"):
        return TASKS
    name = Path(called).name
    return name if name in ("raylet", "gcs_server") else AGENTS


def make_images(folder: Path, data: Path, count: int) -> None:
    """So many images in class folders, from the photos of all splits."""
    files = sorted(data.glob("*/*/*.jpg"))
    for number in range(count):
        file = files[number % len(files)]
        target = folder / file.parent.name / f"{number:07d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes() + number.to_bytes(4, "big"))


def kept(cache: Path) -> dict[str, bytes]:
    """What a cache keeps of each image, by its key."""
    found = {}
    for file in whole_shards(cache):
        shard, layout = shards.read_index(file)
        data = shard.path.read_bytes()
        found |= {key: data[row * layout.bytes :][: layout.bytes] for row, key in enumerate(shard.rows)}
    return found


def whole_shards(cache: Path) -> list[Path]:
    """Indexes of all whole shards in a cache."""
    return [file for folder in cache.glob("*") if folder.name != "locks" for file in shards.indexes(folder)]


class Passes:
    """Passes over the same images, each with caches of its own.

    Args:
        folder: of images and caches.
        words: of the command.
        count: images.
    """

    def __init__(self, folder: Path, words: Sequence[str], count: int):
        self.folder, self.words, self.count = folder, words, count

    def alone(self) -> Timed:
        """By the command itself."""
        return self._run("alone")

    def spread(self, name: str, cluster: Ray) -> tuple[Timed, dict[str, float]]:
        """By tasks of a cluster; also processor seconds of its processes, by kind."""
        with cluster.watched() as used:
            timed = self._run(name, "cache.compute=ray", f"compute.address={cluster.address}")
        return timed, used

    def _run(self, name: str, *words: str) -> Timed:
        # what is noted of files that were looked at, too, is of this pass alone
        timed = run(
            "framework.train",
            *self.words,
            "cache=only",
            f"cache.dir={self.folder / name}",
            *words,
            cache=self.folder / f"{name}-noted",
        )
        assert len(self.features(name)) == self.count
        return timed

    def features(self, name: str) -> dict[str, bytes]:
        """What a pass has kept."""
        return kept(self.folder / name)

    def seconds(self, name: str) -> float:
        """From when a pass has looked for what is kept already to when it had kept all."""
        begun = min(file.stat().st_mtime for file in (self.folder / name).glob("*/key.json"))
        return max(file.stat().st_mtime for file in whole_shards(self.folder / name)) - begun


def cost(passes: Passes) -> None:
    """Processor seconds of tasks on one node of all cores, beside those of a process alone."""
    alone = passes.alone()
    with ray([os.sched_getaffinity(0)]) as cluster:
        spread, used = passes.spread("spread", cluster)
    work = spread.processor + used[TASKS]

    def row(name: str, seconds: float) -> list[str]:
        return [name, f"{seconds:.1f}", f"{1000 * seconds / passes.count:.2f}", f"{seconds / alone.processor:.3f}"]

    rows = [row("the command alone", alone.processor), row("with a cluster: the command", spread.processor)]
    rows += [row("its tasks", used[TASKS]), row("command and tasks", work)]
    rows += [row(name, seconds) for name, seconds in sorted(used.items()) if name != TASKS]
    everything = spread.processor + sum(used.values())
    more = f"{everything / alone.processor - 1:+.1%} with all that Ray runs"
    note = f"{work / alone.processor - 1:+.1%} processor seconds, {more}; "
    note += _alike(passes.features("alone"), passes.features("spread"))
    title = f"feature pass over {passes.count:,} images, one node of {len(os.sched_getaffinity(0))} cores, tasks of one"
    report(title, ["", "processor seconds", "ms an image", "of the command alone"], rows, note)


def speed(passes: Passes) -> None:
    """Images a second on one node of one core, and on two."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two nodes of one core need a machine of two")
    rows, rates = [], []
    for count in (1, 2):
        with ray([{core} for core in cores[:count]]) as cluster:
            timed, used = passes.spread(name := f"nodes-{count}", cluster)
        seconds = passes.seconds(name)
        rates.append((passes.count / seconds, passes.count / timed.seconds))
        rows.append([str(count), f"{seconds:.1f}", f"{rates[-1][0]:.1f}", f"{timed.seconds:.1f}", f"{used[TASKS]:.1f}"])
    times = [two / one for one, two in zip(*rates, strict=True)]
    note = f"two nodes: {times[0]:.2f} times as many images a second, the whole command {times[1]:.2f} times as fast"
    title = f"feature pass over {passes.count:,} images on nodes of one core"
    report(title, ["nodes", "seconds", "images/s", "of the whole command", "processor seconds of tasks"], rows, note)


def _alike(one: dict[str, bytes], other: dict[str, bytes]) -> str:
    assert one.keys() == other.keys()
    same = sum(one[key] == other[key] for key in one)
    apart = max(float(np.abs(np.frombuffer(one[key], "<f4") - np.frombuffer(other[key], "<f4")).max()) for key in one)
    return (
        f"features of {same:,} of {len(one):,} images are the same to the bit, the others differ by {apart:.1e} at most"
    )


def main() -> None:
    """Make the images, do the passes, print the ratios."""
    needs("ray")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--only", choices=["cost", "speed"])
    options = parser.parse_args()
    data = data_folder(options.data)
    words = mobilenet(data, weights_file("mobilenet", options.weights))[:-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", data, options.images)
        passes = Passes(folder, [*words, f"data.dir={folder / 'images'}"], options.images)
        if options.only != "speed":
            cost(passes)
        if options.only != "cost":
            speed(passes)


if __name__ == "__main__":
    main()

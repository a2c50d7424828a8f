"""A sweep on a cluster whose processes, machines and commands fail: simulated, and held against a small cluster.

    python -m benchmarks.cluster_simulation              10,000 runs on 100 machines
    python -m benchmarks.cluster_simulation --measure    a real cluster of three nodes on this machine, and the same simulated

Discrete events: a run takes a slot as soon as one is free, costs a start and then its epochs, and after each epoch its state is
kept; one that is killed, or whose machine is lost, waits again and goes on from there; it is given up after so many tries.
The measured runs sleep in place of computing, so that many fit on one machine; all else is real: Ray, processes, kills.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean

from framework.cli import multirun
from framework.cli.command import launch
from framework.core.files import write_whole
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps.folder import rows_of
from framework.sweeps.request import SweepRequest
from framework.sweeps.sweep import Sweep

HOUR = 3600.0
MARK = "CLUSTER_SIMULATION_EPOCH"  # seconds of an epoch of a measured run


@dataclass(frozen=True)
class Setting:
    """What is simulated; times in seconds.

    Attributes:
        machines: how many, each with ``slots`` places for a run.
        start: until a run that has a place begins its first epoch: process, imports, data.
        noticed: until the engine knows of a lost machine.
        repair: until a lost machine is back.
        again: until somebody gives the command again that died.
        retries: of a run, before it is given up.
    """

    machines: int
    slots: int
    start: float
    noticed: float
    repair: float
    again: float
    retries: int


@dataclass
class Run:
    """A run of ``epochs`` epochs of so many seconds each; what it has behind it, and how often it was begun anew."""

    epochs: int
    epoch: float
    done: int = 0
    tries: int = 0
    began: float = 0.0
    machine: int = -1
    token: int = -1  # stands for the try under way: what was planned for an earlier one is void


@dataclass
class Told:
    """What came of it: seconds until the last run ended, runs given up, tries that were cut off, seconds lost with them."""

    makespan: float = 0.0
    given_up: int = 0
    cut_off: int = 0
    lost: float = 0.0


@dataclass(order=True)
class Event:
    """Something that happens at a moment; ``what`` is end, back, killed (a process), lost (a machine) or died (the command)."""

    at: float
    order: int
    what: str = field(compare=False)
    of: int = field(compare=False, default=-1)
    token: int = field(compare=False, default=-1)


def simulate(runs: list[Run], setting: Setting, faults: Iterable[tuple[float, str, float]]) -> Told:
    """Play a sweep.

    Args:
        runs: in the order in which they begin.
        setting: of the cluster.
        faults: moment, ``killed``, ``lost`` or ``died``, and a number in [0, 1) that says which process or machine it hits.
    """
    numbers = itertools.count()
    events: list[Event] = []

    def plan(at: float, what: str, of: int = -1, token: int = -1) -> None:
        heapq.heappush(events, Event(at, next(numbers), what, of, token))

    told, coming = Told(), iter(faults)
    free = [machine for machine in range(setting.machines) for _ in range(setting.slots)]
    waiting, running = list(reversed(range(len(runs)))), dict[int, Run]()
    lost_machines: set[int] = set()
    left, asleep = len(runs), 0.0

    def next_fault() -> None:
        if (fault := next(coming, None)) is not None:
            at, what, where = fault
            plan(at, what, math.floor(where * 1_000_000))

    def fill(now: float) -> None:
        while free and waiting and now >= asleep:
            number, run = waiting.pop(), runs
            one = run[number]
            one.machine, one.began, one.token = free.pop(), now, next(numbers)
            running[number] = one
            plan(now + setting.start + (one.epochs - one.done) * one.epoch, "end", number, one.token)

    def cut(number: int, now: float, counts: bool) -> bool:
        """A try is over before its end; whether the run is to be tried again."""
        one = running.pop(number)
        behind = max(0.0, now - one.began - setting.start)
        kept = min(one.epochs - one.done - 1, math.floor(behind / one.epoch))
        told.cut_off += 1
        told.lost += now - one.began - kept * one.epoch
        one.done += kept
        one.tries += counts
        return one.tries <= setting.retries

    next_fault()
    fill(0.0)
    while left:
        event = heapq.heappop(events)
        now = event.at
        if event.what == "end":
            if (one := running.get(event.of)) is not None and one.token == event.token:
                del running[event.of]
                free.append(one.machine)
                left -= 1
                told.makespan = now
        elif event.what == "back":
            lost_machines.discard(event.of)
            free += [event.of] * setting.slots
        elif event.what == "waits":
            waiting.append(event.of)
        elif event.what == "awake":
            pass
        else:
            next_fault()
            if event.what == "killed" and running:
                number = sorted(running)[event.of % len(running)]
                free.append(running[number].machine)
                if cut(number, now, True):
                    waiting.append(number)
                else:
                    told.given_up, left = told.given_up + 1, left - 1
            elif event.what == "lost" and len(lost_machines) < setting.machines:
                machine = [one for one in range(setting.machines) if one not in lost_machines]
                hit = machine[event.of % len(machine)]
                lost_machines.add(hit)
                free = [one for one in free if one != hit]
                for number in [number for number, one in running.items() if one.machine == hit]:
                    if cut(number, now, True):
                        plan(now + setting.noticed, "waits", number)
                    else:
                        told.given_up, left = told.given_up + 1, left - 1
                plan(now + setting.repair, "back", hit)
            elif event.what == "died":
                for number in sorted(running, reverse=True):
                    free.append(running[number].machine)
                    cut(number, now, False)
                    runs[number].tries = 0
                    waiting.append(number)
                asleep = now + setting.again
                plan(asleep, "awake")
        fill(now)
    return told


def faults_by_chance(chance: random.Random, rates: dict[str, float]) -> Iterable[tuple[float, str, float]]:
    """Faults without end, each kind as often an hour as its rate says, at moments that know nothing of each other."""
    total, now = sum(rates.values()), 0.0
    while total:
        now += chance.expovariate(total / HOUR)
        (what,) = chance.choices(list(rates), list(rates.values()))
        yield now, what, chance.random()


def large(args: argparse.Namespace) -> None:
    """Many runs on many machines, at several rates of failure."""
    setting = Setting(args.machines, args.slots, args.start, args.noticed, 600.0, 1800.0, 3)
    print(
        f"{args.runs:,} runs of {args.epochs} epochs, {args.minutes:g} min each on average; {args.machines} machines with"
    )
    print(
        f"{args.slots} places; a start costs {args.start:g} s; a lost machine is noticed in {args.noticed:g} s, back in 10 min;"
    )
    print("a command that died is given again after 30 min; 3 retries a run")
    heads = (
        "machine lost every",
        "process killed every",
        "command dies every",
        "hours",
        "of ideal",
        "cut off",
        "lost",
        "given up",
    )
    print(f"| {' | '.join(heads)} |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for machine, process, command in ((0, 0, 0), (720, 0, 0), (168, 100, 0), (24, 100, 24), (8, 20, 12), (2, 5, 4)):
        told, work = [], 0.0
        for seed in range(args.repeats):
            chance = random.Random(seed)
            length = lambda: args.minutes * 60 / args.epochs * chance.lognormvariate(-0.125, 0.5)  # noqa: B023, E731
            runs = [Run(args.epochs, length()) for _ in range(args.runs)]
            work = sum(run.epochs * run.epoch for run in runs)
            places = args.machines * args.slots
            rates = {
                "lost": args.machines / machine if machine else 0.0,
                "killed": places / process if process else 0.0,
                "died": 1 / command if command else 0.0,
            }
            told.append(simulate(runs, setting, faults_by_chance(chance, rates)))
        ideal = work / (args.machines * args.slots)
        hours = mean(one.makespan for one in told) / HOUR
        cells = [
            *(f"{hours_of:g} h" if hours_of else "never" for hours_of in (machine, process, command)),
            f"{hours:.1f}",
            f"{ideal / HOUR / hours:.0%}",
            f"{mean(one.cut_off for one in told):,.0f}",
            f"{mean(one.lost for one in told) / work:.1%}",
            f"{mean(one.given_up for one in told):,.1f}",
        ]
        print(f"| {' | '.join(cells)} |")


def sleeping(job: Job) -> None:
    """A run that sleeps an epoch after the other, keeps what it has behind it, and goes on from there."""
    folder, epoch = RunFolder(job.folder), float(os.environ[f"FRAMEWORK_{MARK}"])
    rows = rows_of(folder) if folder.state.exists() else []
    write_whole(folder.config, job.config)
    about = {"overrides": list(job.overrides), "process": os.getpid()}
    folder.write_run({**about, "status": "running"})
    for number in range(len(rows) + 1, job.epochs + 1):
        time.sleep(epoch)
        rows.append({"stage": "head", "epoch": number, "val_accuracy": number / job.epochs})
        folder.write_history(rows)
        folder.state.touch()
    best = {"epoch": job.epochs, "monitor": "val_accuracy", "metrics": {"val_accuracy": 1.0}}
    folder.write_run({**about, "status": "finished", "best": best})


def measured(runs: int, epochs: int, words: list[str], faults: Iterable[tuple[float, object]]) -> float:
    """Seconds that a real sweep of sleeping runs takes, in which these things are done at these moments."""
    import benchmarks.cluster_simulation as known  # by a name that the runs' processes can import

    def start(request: SweepRequest, *_: object) -> int:
        return Sweep(request, known.sleeping, lambda: None).start(partial(multirun.launch_sweep, request))

    rates = ",".join(f"{number / 1000:g}" for number in range(1, runs + 1))
    given = ["-m", f"optim.lr={rates}", "sweep.name=measured", f"trainer.epochs={epochs}", *words]
    timers = [threading.Timer(at, act) for at, act in faults]  # type: ignore[arg-type]
    began = time.monotonic()
    for timer in timers:
        timer.start()
    code = launch(given, known.sleeping, lambda settings: [], lambda: None, start)
    for timer in timers:
        timer.cancel()
    assert code == 0, code
    return time.monotonic() - began


def kill_one(where: float) -> None:
    """Kill the process of a run under way."""
    found = [RunFolder(file.parent) for file in sorted(Path("sweeps/measured").glob("*/run.json"))]
    running = [run for folder in found if (run := folder.read_run())["status"] == "running"]
    if running:
        os.kill(running[math.floor(where * len(running))]["process"], signal.SIGKILL)


def small(args: argparse.Namespace) -> None:
    """A real cluster of nodes on this machine; what it costs is measured without faults, and told to the simulation."""
    from ray.cluster_utils import Cluster

    plain = {"include_dashboard": False, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2", **plain})
    nodes = [
        cluster.add_node(num_cpus=args.places, node_ip_address=f"127.0.0.{3 + place}", **plain) for place in range(3)
    ]
    words = ["compute=ray", f"compute.address={cluster.address}", f"sweep.jobs={3 * args.places}"]
    os.environ[f"FRAMEWORK_{MARK}"] = str(args.epoch)
    epochs, runs = 20, args.waves * 3 * args.places
    home = Path.cwd()

    def sweep(faults: list[tuple[float, str, float]]) -> tuple[float, float]:
        """Seconds measured, and seconds simulated."""
        acts = {
            "killed": lambda where: lambda: kill_one(where),
            "lost": lambda where: lambda: cluster.remove_node(nodes.pop(), allow_graceful=False),
        }
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                took = measured(runs, epochs, words, [(at, acts[what](where)) for at, what, where in faults])
            finally:
                os.chdir(home)
        setting = Setting(3, args.places, start, args.noticed, math.inf, 0.0, 3)
        return took, simulate([Run(epochs, args.epoch) for _ in range(runs)], setting, faults).makespan

    start = 0.0
    took, _ = sweep([])
    start = took / args.waves - epochs * args.epoch
    print(
        f"{runs} runs of {epochs} epochs of {args.epoch:g} s on 3 nodes with {args.places} places: a start costs {start:.1f} s"
    )
    whole = args.waves * (epochs * args.epoch + start)
    chance = random.Random(1)
    kills = [(whole * share, "killed", chance.random()) for share in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)]
    for name, faults in {
        "6 processes killed": kills,
        "a node lost, 3 processes killed": [*kills[:3], (whole / 2, "lost", 0.0)],
    }.items():
        took, simulated = sweep(faults)
        print(f"{name}: measured {took:.1f} s, simulated {simulated:.1f} s, {simulated / took - 1:+.0%}")
    cluster.shutdown()


def main() -> None:
    """Simulate, or measure and simulate the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=30.0, help="of a run, on average")
    parser.add_argument("--start", type=float, default=15.0, help="seconds")
    parser.add_argument("--noticed", type=float, default=30.0, help="seconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--places", type=int, default=2, help="of a node of the measured cluster")
    parser.add_argument("--waves", type=int, default=6, help="of measured runs, each as many as there are places")
    parser.add_argument("--epoch", type=float, default=0.5, help="seconds, of the measured runs")
    args = parser.parse_args()
    sys.argv = ["train.py"]
    (small if args.measure else large)(args)


if __name__ == "__main__":
    main()

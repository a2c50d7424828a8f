"""What auto does in steps: heads on frozen bases, the best one's last layers several times, all of it as far as that fits.

Each step is some ordinary runs of one ordinary sweep. What a step may take is decided from what the steps before it
took; a run ends within its time by the callback ``time_limit``, and past that it is stopped with its state saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from framework.budget import trials
from framework.budget.asked import Asked, Base
from framework.budget.journal import Journal
from framework.budget.trials import Lines
from framework.core.better import Yardstick
from framework.core.console import clock, say
from framework.core.digits import is_number
from framework.core.errors import BadInput, many
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps.folder import outcome
from framework.sweeps.speeds import speeds
from framework.sweeps.sweep import Sweep

Make = Callable[[Sequence[str], Path], Job]
SHARE_OF_ENDING, LEAST_ENDING, MOST_ENDING = 0.1, 10.0, 60.0  # for several runs as one, and the report
SHARE_OF_A_BASE, SHARE_OF_FIRST = 0.2, 1.0  # of the time left that a further base, or the first one, may take
SHARE_OF_ALL = 0.6  # that everything may take where it comes first: what remains goes to runs that differ
SHARE_OF_LAST = 0.4  # for the last layers, where there may be time for everything too
MEASURING = 0.2  # of the time left, for measuring at most
PASSES = 8  # of the frozen base that an epoch of everything takes, where that could not be measured
SHORT = 180.0  # seconds: with less, nothing but kept features is trained on, and no speed is measured
LEAST_LAST, MORE_THAN_A_PASS = 8.0, 1.5  # seconds, and of a pass, that the last layers take at least
ENDING = 5.0  # seconds that a run takes behind its last epoch, on a busy machine
SPARE = 0.9  # of a step's time that its runs may count on


class Steps:
    """Carries out what is asked.

    Args:
        asked: what.
        make: from overrides and a folder to a job.
        journal: what was decided before, and the time.
        yardstick: what runs are judged by.
    """

    def __init__(self, asked: Asked, make: Make, journal: Journal, yardstick: Yardstick):
        self.asked, self.make, self.journal, self.yardstick = asked, make, journal, yardstick
        self.ending = min(max(SHARE_OF_ENDING * asked.budget, LEAST_ENDING), MOST_ENDING)
        self.why = "all that was planned is done"
        self._best: dict[str, float] = {}  # by base, the best value of its heads
        self._parameters: dict[str, int] = {}  # by base, of the network
        self._seconds_a_gflop: float | None = None
        self._took: dict[str, float] | None = None  # by the first run of last layers, phase by phase
        self._epoch: tuple[float | None, str] | None = None  # of everything, and how its seconds are known

    @property
    def usable(self) -> float:
        """Seconds that are left for runs."""
        return self.asked.budget - self.journal.spent - self.ending

    def plan(self) -> list[str]:
        """What will be done, in sentences."""
        names = ", ".join(base.name for base in self.asked.bases)
        time_ = f"{clock(self.asked.budget)} in all" + (
            f", {clock(self.journal.before)} of them spent" if self.journal.before else ""
        )
        lines = [f"{time_}; the last {clock(self.ending)} for several runs as one, and the report"]
        if not self.asked.bases[0].pretrained:
            return [*lines, f"{names} from scratch, as long as there is time"]
        lines.append(f"{many(len(trials.HEADS), 'head')} on each of: {names}, frozen, as far as a base's pass fits")
        lines.append(f"the last {trials.LAST[0].layers} layers with weights of the best one, on kept features")
        if self.asked.budget >= SHORT:
            share = f"{SHARE_OF_ALL:.0%} of the time left"
            lines.append(
                f"all of it on varied images, if {trials.ENOUGH_EPOCHS} epochs fit in {share} by its speed, which is measured"
            )
        lines.append(f"in what is left at most {trials.MOST_MORE} more runs of last layers, which differ")
        if self.asked.budget >= SHORT:
            lines.append(f"all of it after these, if it was not before and {trials.FEWEST_EPOCHS} epochs fit")
        return lines

    def run(self, sweep: Sweep) -> None:
        """The steps, one after the other, as far as there is time."""
        sweep.begin()  # what it imports takes seconds too, which are no run's
        first = self.asked.bases[0]
        if not first.pretrained:
            self._step(
                sweep, "scratch", lambda: trials.from_scratch(first.lines, SPARE * self.usable / 2), self.usable, 1
            )
            return
        for place, base in enumerate(self.asked.bases):
            self._heads(sweep, base, place)
        known = {base.name: base for base in self.asked.bases}
        if not self._best:
            self.why = "the time was over before a first run was"
            return
        best = known[min(self._best, key=lambda name: self.yardstick.order(self._best[name]))]
        self._last(sweep, best)
        if self.asked.budget >= SHORT:
            self._everything(sweep, best, trials.ENOUGH_EPOCHS, SHARE_OF_ALL)
        self._more(sweep, best)
        if self.asked.budget >= SHORT and not self.journal.knows("all"):
            self._everything(sweep, best, trials.FEWEST_EPOCHS)

    def _heads(self, sweep: Sweep, base: Base, place: int) -> None:
        name, share = f"heads-{base.name}", SHARE_OF_A_BASE if place else SHARE_OF_FIRST
        if place and not self.journal.knows(name) and self._seconds_a_gflop is not None:
            needed = self._pass(base)
            if needed > share * self.usable:
                say(f"{base.name} is left out: its pass would take {clock(needed)} of the {clock(self.usable)} left")
                return
        folders = self._step(
            sweep, name, lambda: trials.heads(base.lines, _in_time(share * self.usable)), share * self.usable
        )
        values = [value for value in map(self._value, folders) if value is not None]
        if values:
            self._best[base.name] = min(values, key=self.yardstick.order)
        self._note(folders, base)

    def _note(self, folders: Sequence[Path], base: Base) -> None:
        """Learn from a base's first runs how large the network is, and from who computed features what a pass takes here."""
        for folder in folders:
            said = RunFolder(folder).read_run() if RunFolder(folder).run_json.is_file() else {}
            if "parameters" in said:
                self._parameters[base.name] = said["parameters"]
            computed = said.get("features", {}).get("computed", 0)
            if computed > self.asked.images / 2:
                self._seconds_a_gflop = said["seconds"]["features"] / computed / base.gflops

    def _last(self, sweep: Sweep, base: Base) -> None:
        seconds = self.usable * (SHARE_OF_LAST if self.asked.budget >= SHORT else 1.0)
        needed = LEAST_LAST if self._seconds_a_gflop is None else MORE_THAN_A_PASS * self._pass(base)
        if not self.journal.knows("last") and SPARE * seconds < max(needed, LEAST_LAST):
            self.why = f"{clock(max(seconds, 0))} are too short for the last layers of {base.name}"
            return
        # a run ends by itself in time once it trains; until then more is granted to it
        folders = self._step(
            sweep,
            "last",
            lambda: trials.last_layers(base.lines, base.blocks, SPARE * seconds, self.asked.seed),
            2 * seconds,
            1,
        )
        self._took = next(map(_seconds_of, folders), None)

    def _more(self, sweep: Sweep, base: Base) -> None:
        """More runs of last layers, those that fit by what the first took."""
        if self._took is None:
            return
        done = 0
        # a second time round the seeds are others: where deeper ones do not fit, more of the first depth may
        for variant in range(1, 2 * len(trials.LAST)):
            if done == trials.MOST_MORE:
                return
            done += self._one_more(sweep, base, variant, self._took)
        self.why = f"{clock(max(self.usable, 0))} are too short for one more run"

    def _one_more(self, sweep: Sweep, base: Base, variant: int, took: Mapping[str, float]) -> bool:
        name = f"more-{variant}"
        wanted = trials.last(variant)
        features = took.get("features", 0.0)
        needed = sum(took.values()) - features
        if wanted.layers != trials.LAST[0].layers:  # twice as many are trained, and the features below are others
            needed = 2 * needed + wanted.passes * max(features, self._pass(base))
        if not self.journal.knows(name) and SPARE * self.usable < needed:
            return False
        decide = lambda: trials.last_layers(  # noqa: E731
            base.lines, base.blocks, SPARE * self.usable, self.asked.seed, variant
        )
        return bool(self._step(sweep, name, decide, self.usable, 1))

    def _pass(self, base: Base) -> float:
        """Seconds of a base's pass over all images, as those of before show it."""
        return (self._seconds_a_gflop or 0.0) * base.gflops * self.asked.images

    def _everything(self, sweep: Sweep, base: Base, fewest: int, share: float = 1.0) -> None:
        """Train all of it, if at least so many epochs fit in this share of the time left."""

        def decide() -> list[Lines]:
            if self._epoch is None:
                self._epoch = self._measured(base)
            epoch, how = self._epoch
            if epoch is None:
                say(f"{how}: not all of {base.name} is trained")
                return []
            seconds = share * max(self.usable, 0)
            runs, epochs = trials.epochs_that_fit(seconds, epoch, fewest)
            said = f"{epoch:.1f} s an epoch of everything ({how}), {clock(seconds)} for it"
            say(
                f"{said}: {many(runs, 'run')} of {epochs} epochs" if runs else f"{said}: fewer than {fewest} epochs fit"
            )
            if not runs:
                return []
            return trials.everything(
                base.lines, self._parameters[base.name], epochs, SPARE * seconds / runs, self.asked.seed, runs
            )

        if self.usable > LEAST_LAST or self.journal.knows("all"):
            self._step(sweep, "all", decide, self.usable, 1)

    def _measured(self, base: Base) -> tuple[float | None, str]:
        """Seconds of an epoch of everything, None if they can't be known, and how they are known."""
        example = self.make(self._lines(base.lines)[0], self.asked.folder / "speed").settings
        found = next(speeds([example], time.monotonic() + MEASURING * self.usable))[1]
        if found is not None:
            return found["full_epoch"], "measured"
        if self._seconds_a_gflop is None:  # all features were kept already
            return None, f"the speed of {base.name} could not be measured in time"
        return PASSES * self._pass(base), f"not measured in time, but taken for {PASSES} passes of the frozen base"

    def _lines(self, base: Lines) -> list[Lines]:
        return trials.merged(self.asked.given, [base])

    def _step(
        self,
        sweep: Sweep,
        name: str,
        decide: Callable[[], list[Lines]],
        seconds: float,
        at_once: int | None = None,
    ) -> list[Path]:
        """Do a step's runs, those that are not done; their folders.

        Args:
            sweep: that they are of.
            name: of the step, and of its runs' folders.
            decide: which runs, if that was not decided before.
            seconds: that they may take; what runs longer is stopped.
            at_once: how many side by side; None is as many as usual.
        """
        tried = self.journal.decided(name, lambda: trials.merged(self.asked.given, decide()))
        single = name.startswith("more")
        folders = [
            self.asked.folder / (name if single else f"{name}-{number}") for number, _ in enumerate(tried, start=1)
        ]
        if not tried:
            return []
        if self.usable <= 0:
            self.why = "the budget is spent"
            return folders
        say(f"{name}: {many(len(tried), 'run')}, {clock(self.usable)} left")
        jobs = [self.make(lines, folder) for lines, folder in zip(tried, folders, strict=True)]
        sweep.run(jobs, lambda place: None, at_once, time.monotonic() + min(seconds, self.usable))
        self.journal.write()
        return folders

    def _value(self, folder: Path) -> float | None:
        """How good a run is; None if it is not finished."""
        found = outcome(RunFolder(folder), self.yardstick.column)
        return found.value if found is not None and found.status == "finished" and is_number(found.value) else None


def _in_time(seconds: float) -> float:
    """What a run may count on of a step's time: it has its files to write at its end."""
    return max(min(SPARE * seconds, seconds - ENDING), 1.0)


def _seconds_of(folder: Path) -> dict[str, float] | None:
    """What a finished run took, phase by phase; None of one that is none."""
    try:
        said = RunFolder(folder).read_run()
    except BadInput:
        return None
    return dict(said["seconds"]) if said.get("status") == "finished" else None

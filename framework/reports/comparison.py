"""Many runs side by side: what varies between them, which is best, and which differences are no more than chance."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from framework.core.schema import show
from framework.reports.curves import NOT_MEASURED
from framework.reports.entries import Entry, Sweep, is_number, read_entries, read_sweep
from framework.reports.interval import welch, wilson

SEED = "trainer.seed"
# metrics that are a share of the validation pictures, which is what a picture-count interval is for
SHARES = ("accuracy", "top_k")


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed alone: most often one."""

    values: Mapping[str, Any]
    runs: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """What distinguishes it, as overrides; the run's name where nothing varies."""
        if all(value is None for value in self.values.values()):
            return self.runs[0].name
        return " ".join(f"{key}={show(value)}" for key, value in self.values.items())

    @property
    def measured(self) -> tuple[Entry, ...]:
        """Runs that have at least one epoch."""
        return tuple(run for run in self.runs if run.best)

    @property
    def pruned(self) -> bool:
        """Whether a search ended all its runs early: what they reached by then is no result."""
        return all(run.status == "pruned" for run in self.runs)

    def all(self, column: str) -> list[float]:
        """A column's value in the best epoch of each run that has it."""
        return [run.best[column] for run in self.runs if is_number(run.best.get(column))]

    def mean(self, column: str) -> float | None:
        """Mean over the repeats."""
        values = self.all(column)
        return statistics.fmean(values) if values else None

    def spread(self, column: str) -> float | None:
        """Standard deviation over the repeats; None for a single run."""
        values = self.all(column)
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """Runs, grouped to variants and sorted, best first; those without any epoch come last.

    Attributes:
        name: what to call it.
        command: the command line of the sweep, where it is known.
        entries: every run, in the order found.
        keys: what varies: override keys where they explain all differences, else config keys.
    """

    name: str
    command: str
    entries: tuple[Entry, ...]
    keys: tuple[str, ...]

    @cached_property
    def monitor(self) -> str:
        """The column that is compared: the one that chose the best epoch in most runs."""
        named = Counter(entry.monitor for entry in self.entries if entry.history)
        return named.most_common(1)[0][0] if named else "val_accuracy"

    @cached_property
    def higher(self) -> bool:
        """Whether more of it is better."""
        return next((entry.higher for entry in self.entries if entry.monitor == self.monitor), True)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of what was measured on training pictures, the compared one first, the loss last."""
        names = dict.fromkeys(
            column.removeprefix("val_")
            for entry in self.entries
            for column in entry.columns
            if column not in NOT_MEASURED
        )
        watched = self.monitor.removeprefix("val_")
        return tuple(sorted(names, key=lambda name: (name == "loss", name != watched)))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Training and validation columns of the compared metric and the loss."""
        found = {column for entry in self.entries for column in entry.columns}
        chosen = dict.fromkeys([*self.metrics[:1], *(["loss"] if "loss" in self.metrics else [])])
        return tuple(column for name in chosen for column in (name, f"val_{name}") if column in found)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Runs grouped by what varies, best first; behind them those that a search ended early."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            values = [value_of(entry, key) for key in self.keys]
            groups.setdefault(repr(values) if entry.known and (self.keys or self.repeated) else entry.name, []).append(
                entry
            )
        found = [Variant({key: value_of(runs[0], key) for key in self.keys}, tuple(runs)) for runs in groups.values()]
        sign = -1 if self.higher else 1

        def place(variant: Variant) -> tuple[bool, bool, float]:
            mean = variant.mean(self.monitor)
            return mean is None, variant.pruned, 0.0 if mean is None else sign * mean

        return tuple(sorted(found, key=place))

    @cached_property
    def repeated(self) -> bool:
        """Whether the seed varies and is no key of its own: variants are then repeated trainings."""
        seeds = {repr(value_of(entry, SEED)) for entry in self.entries if entry.known}
        return SEED not in self.keys and len(seeds) > 1

    @property
    def best(self) -> Variant | None:
        """The first variant, if it was measured."""
        return next((variant for variant in self.variants[:1] if variant.mean(self.monitor) is not None), None)

    @property
    def best_run(self) -> Entry | None:
        """The best single run of the best variant."""
        if self.best is None:
            return None
        sign = 1 if self.higher else -1
        runs = [run for run in self.best.runs if is_number(run.best.get(self.monitor))]
        return max(runs, key=lambda run: sign * run.best[self.monitor])

    @cached_property
    def pictures(self) -> int | None:
        """How many validation pictures every run was measured on; None where they differ or are unknown."""
        counts = {entry.pictures for entry in self.entries if entry.history}
        return counts.pop() if len(counts) == 1 else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the best variant's score for that many pictures; None where it has none."""
        if self.best is None or self.pictures is None or not self._is_share:
            return None
        score = self.best.mean(self.monitor)
        assert score is not None
        return wilson(score, self.pictures) if 0 <= score <= 1 else None

    @cached_property
    def ties(self) -> frozenset[str]:
        """Labels of the variants whose distance from the best is no more than chance, the best left out.

        Chance is that of the pictures (the interval of the best) or that of the seeds (Welch's interval), whichever
        is wider.
        """
        if self.best is None:
            return frozenset()
        first = self.best.all(self.monitor)
        tied = []
        for variant in self.variants[1:]:
            values = variant.all(self.monitor)
            if not values or variant.pruned:
                continue
            score, top = statistics.fmean(values), statistics.fmean(first)
            near = self.interval is not None and self.interval[0] <= score <= self.interval[1]
            if near or abs(score - top) <= welch(first, values) or score == top:
                tied.append(variant.label)
        return frozenset(tied)

    @property
    def tie_rule(self) -> str:
        """In a sentence, when two variants count as tied."""
        score = self.monitor.removeprefix("val_").replace("_", " ")
        if self.interval is not None:
            low, high = self.interval
            seeds = ", or of the seeds" if self.repeated else ""
            return (
                f"≈ ties with the best: within its 95 % interval, {low:.3f} to {high:.3f} for {self.pictures:,} "
                f"validation pictures (Wilson){seeds}"
            )
        if self.repeated:
            return f"≈ ties with the best: within the 95 % interval of the difference over seeds (Welch) in {score}"
        if self._is_share:
            return "no ties are marked: the runs were not all measured on one known number of validation pictures"
        return f"no ties are marked: {score} has no interval for the number of pictures"

    @property
    def failures(self) -> tuple[Entry, ...]:
        """Runs that failed."""
        return tuple(entry for entry in self.entries if entry.failed)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: files that are missing, data that differ."""
        notes = [
            f"{entry.name}: {', '.join(entry.missing)}" + (f" ({entry.status})" if entry.run else "")
            for entry in self.entries
            if entry.missing and entry.status not in ("failed", "waiting", "pruned")
        ]
        if waiting := sum(entry.status == "waiting" for entry in self.entries):
            notes.append(f"{waiting} not started yet")
        if pruned := sum(entry.status == "pruned" for entry in self.entries):
            notes.append(f"{pruned} pruned: the search ended {'it' if pruned == 1 else 'them'} early")
        if len({entry.fingerprint for entry in self.entries if entry.fingerprint}) > 1:
            notes.append("not all runs saw the same pictures: part of a difference may come from the data")
        return tuple(notes)

    @property
    def _is_share(self) -> bool:
        name = self.monitor.removeprefix("val_")
        parts = {entry.config.get(f"metrics.{name}.name", name) for entry in self.entries if entry.history}
        tasks = {entry.run.get("task", "multiclass") for entry in self.entries if entry.history}
        return self.monitor.startswith("val_") and parts <= set(SHARES) and "multilabel" not in tasks


def compare(folders: Path | Sequence[Path]) -> Comparison:
    """Compare the runs of a sweep folder, or those of several run folders from anywhere.

    Half-written and failed runs are part of it; ``notes`` and ``failures`` say what is wrong with them.

    Raises:
        BadInput: a folder does not exist, or there is no run at all.
    """
    sweep = read_sweep(folders) if isinstance(folders, Path) else Sweep("comparison", "", (), read_entries(folders))
    return Comparison(sweep.name, sweep.command, sweep.entries, varied(sweep.entries, sweep.varied))


def varied(entries: Sequence[Entry], named: Sequence[str] = ()) -> tuple[str, ...]:
    """Keys in which the runs differ, those ``named`` by the sweep first.

    An override such as ``head=dense100`` changes many config keys at once and is the better name for them; config keys
    are added only where runs differ although their overrides do not. The seed is no such key where it repeats runs.
    """
    entries = [entry for entry in entries if entry.known]
    overridden = dict.fromkeys(key for key in named if not _is_plumbing(key))
    overridden |= dict.fromkeys(key for entry in entries for key in entry.overrides if not _is_plumbing(key))
    keys = [key for key in overridden if len({repr(value_of(entry, key)) for entry in entries}) > 1]
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.config and entry.run:
            groups.setdefault(repr([value_of(entry, key) for key in keys]), []).append(entry)
    keys += [
        key
        for key in dict.fromkeys(key for group in groups.values() for entry in group for key in entry.config)
        if key not in keys
        and not _is_plumbing(key)
        and any(len({repr(entry.config.get(key)) for entry in group}) > 1 for group in groups.values())
    ]
    rest = [key for key in keys if key != SEED]
    apart = {repr([value_of(entry, key) for key in rest]) for entry in entries}
    return tuple(rest if len(apart) < len(entries) else keys)


def value_of(entry: Entry, key: str) -> Any:
    """A run's value of a config key, or the option that it chose for a group; None where it has neither."""
    if key in entry.config:
        return entry.config[key]
    return entry.overrides.get(key, entry.config.get(f"{key}.name"))


def differences(entry: Entry, other: Entry) -> dict[str, tuple[Any, Any]]:
    """Config keys in which two runs differ, with both values; a key that one lacks has None there."""
    keys = dict.fromkeys([*entry.config, *other.config])
    return {
        key: (entry.config.get(key), other.config.get(key))
        for key in keys
        if repr(entry.config.get(key)) != repr(other.config.get(key))
    }


def _is_plumbing(key: str) -> bool:
    """Keys that say where and how runs are started, not what they are."""
    return key.split(".")[0].split("/")[0] in ("hydra", "sweep")

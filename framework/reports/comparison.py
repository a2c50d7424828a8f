"""Many runs side by side: what varies between them, which is best, and which differences are no more than chance."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from framework.core import better
from framework.core.better import Direction, Yardstick
from framework.core.console import in_bash
from framework.core.digits import brief, is_number, rounded
from framework.core.schema import show
from framework.core.task import TASKS, Multiclass
from framework.reports.entries import NOT_MEASURED, Entry, HeldOut, Sweep, read_entries, read_sweep
from framework.reports.interval import OUTSIDE, Spread, pooled, wilson
from framework.reports.paired import (
    chance,
    chances_among,
    common_images,
    mcnemar,
    most_between,
    right_alone,
    right_of,
)
from framework.reports.search import SearchTold
from framework.reports.search import read as read_search

# what varies between repeats of one training: chance, or which images validate
FOLD = "data.fold"
REPEATS = ("trainer.seed", FOLD)
# metrics that are a share of the validation images, which is what an image-count interval is for
SHARES = ("accuracy", "top_k")
ANSWERED = ("accuracy",)  # those that are the share of right answers
ONE_SEED = "what another seed would change is not in it"
CUT_SHORT = ("failed", "pruned")
MANY = 20  # variants, of which the best is best by chance too


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed or fold alone: most often one."""

    values: Mapping[str, Any]
    shown: Mapping[str, str]
    runs: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """What distinguishes it, as overrides, without keys that its config does not have; a run's name where nothing does."""
        if all(value is None for value in self.values.values()):
            return self.runs[0].name
        run = self.runs[0]
        return " ".join(
            f"{key}={self.shown[key]}" for key in self.values if key in run.config or value_of(run, key) is not None
        )

    @property
    def measured(self) -> tuple[Entry, ...]:
        """Runs that count: those with an epoch, without those that failed or were pruned where there are others."""
        runs = tuple(run for run in self.runs if run.best)
        return tuple(run for run in runs if run.status not in CUT_SHORT) or runs

    @property
    def cut_short(self) -> str | None:
        """``failed`` or ``pruned`` where all its runs were: what they reached by then is no result. None else."""
        ends = {run.status for run in self.runs}
        return next((end for end in CUT_SHORT if end in ends), None) if ends <= set(CUT_SHORT) else None

    def scored(self, column: str) -> tuple[Entry, ...]:
        """Runs that count and have a column's value in their best epoch."""
        return tuple(run for run in self.measured if is_number(run.best.get(column)))

    def all(self, column: str) -> list[float]:
        """That value of each of them."""
        return [run.best[column] for run in self.scored(column)]

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
        metric: the column that the sweep judges its runs by; None for the one that they judge their epochs by.
        direction: which way of it is better, as the sweep says.
        search: what the search says that drew them, where one did.
        test: how good the best of them is on test images, where that was measured.
    """

    name: str
    command: str
    entries: tuple[Entry, ...]
    keys: tuple[str, ...]
    metric: str | None = None
    direction: Direction = "auto"
    search: SearchTold | None = None
    test: HeldOut | None = None

    @cached_property
    def yardstick(self) -> Yardstick:
        """What runs are judged by: what the sweep says, else what most of them judge their epochs by."""
        own = Counter(entry.yardstick for entry in self.entries if entry.best).most_common(1)
        return better.of_sweep(own[0][0] if own else Yardstick.of("val_accuracy"), self.metric, self.direction)

    @property
    def monitor(self) -> str:
        """The column that is compared."""
        return self.yardstick.column

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of what was measured, the compared one first, the loss last."""
        names = dict.fromkeys(
            column.removeprefix("val_")
            for entry in self.entries
            for column in entry.columns
            if column not in NOT_MEASURED
        )
        watched = self.monitor.removeprefix("val_")
        return tuple(sorted(names, key=lambda name: (name != watched, name == "loss")))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Training and validation columns of the compared metric, the loss first of all others."""
        found = {column for entry in self.entries for column in entry.columns}
        chosen = dict.fromkeys([*self.metrics[:1], *(["loss"] if "loss" in self.metrics else [])])
        return tuple(column for name in chosen for column in (name, f"val_{name}") if column in found)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Runs grouped by what varies, best first; behind them those that failed or that a search ended early."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            values = [value_of(entry, key) for key in self.keys]
            groups.setdefault(repr(values) if entry.known and (self.keys or self.repeated) else entry.name, []).append(
                entry
            )
        texts = {key: brief(value_of(entry, key) for entry in self.entries) for key in self.keys}

        def variant_of(runs: Sequence[Entry]) -> Variant:
            values = {key: value_of(runs[0], key) for key in self.keys}
            return Variant(values, {key: texts[key][show(value)] for key, value in values.items()}, tuple(runs))

        def place(variant: Variant) -> tuple[bool, bool, float]:
            mean = variant.mean(self.monitor)
            return mean is None, variant.cut_short is not None, self.yardstick.order(mean)

        return tuple(sorted(map(variant_of, groups.values()), key=place))

    @cached_property
    def repeated(self) -> tuple[str, ...]:
        """Seed and fold, those of them that vary and are no key of their own: variants are then repeated trainings."""
        known = [entry for entry in self.entries if entry.known]
        varied = (key for key in REPEATS if len({repr(value_of(entry, key)) for entry in known}) > 1)
        return tuple(key for key in varied if key not in self.keys)

    @property
    def best(self) -> Variant | None:
        """The first variant, if it was measured."""
        return next((variant for variant in self.variants[:1] if variant.mean(self.monitor) is not None), None)

    @property
    def best_run(self) -> Entry | None:
        """The run that stands for the best variant: of repeats the one nearest their mean, the better of two as near.

        Not the best of them, which is best by chance.
        """
        if self.best is None:
            return None
        mean = self.best.mean(self.monitor)
        scores = [(run.best.get(self.monitor), run) for run in self.best.measured]

        def place(scored: tuple[Any, Entry]) -> tuple[float, float]:
            return round(abs(scored[0] - mean), 9), self.yardstick.order(scored[0])

        return min(((score, run) for score, run in scores if is_number(score)), key=place)[1]

    @cached_property
    def images(self) -> int | None:
        """How many validation images every run, or every variant by all its folds together, was measured on; None where
        that differs or is unknown."""
        if FOLD not in self.repeated:
            counts = {entry.images for entry in self.entries if entry.best}
            return counts.pop() if len(counts) == 1 else None
        totals = set()
        for variant in self.variants:
            folds = {repr(value_of(run, FOLD)): run.images for run in variant.measured}
            totals.add(None if None in folds.values() else sum(filter(None, folds.values())))
        return totals.pop() if len(totals) == 1 else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the best variant's score for that many images; None where it has none."""
        return self._interval_of(self.best.mean(self.monitor)) if self.best else None

    @cached_property
    def seeds(self) -> Spread:
        """What seeds do to the compared column, over all variants that were repeated."""
        if self.best is None:
            return Spread()
        counted = [variant for variant in self.variants if not variant.cut_short and variant is not self.best]
        return pooled(self.best.all(self.monitor), [variant.all(self.monitor) for variant in counted])

    @cached_property
    def rivals(self) -> tuple[Variant, ...]:
        """The variants that are held against the best: those with a result."""
        return tuple(variant for variant in self.variants[1:] if variant.all(self.monitor) and not variant.cut_short)

    @property
    def level(self) -> float:
        """A rival whose scores alone leave chance no more than this is told apart, and those that are left are held against
        each other: 5 of 100, shared among all.

        Source: Bonferroni's bound, as the first of the steps of Holm, Scandinavian Journal of Statistics 6 (1979).
        """
        return OUTSIDE / max(1, len(self.rivals))

    @cached_property
    def chances(self) -> Mapping[str, float]:
        """By label, of each rival that was measured on the same images as the best: how probable chance is, at most.

        Answers are read only where the scores alone leave it open.
        """
        if self.best is None or not self._is_share_of(ANSWERED):
            return {}
        first, found, right = self.best.scored(self.monitor), {}, {}
        for rival in self.rivals:
            runs = rival.scored(self.monitor)
            most = most_between(first, runs, self.monitor, self.seeds)
            if most is not None and most <= self.level:
                found[rival.label] = most
            elif most is not None and (both := right_of([*first, *runs], self.monitor)) is not None:
                right[rival.label] = both[len(first) :]
                own = both[: len(first)]
        if len(right) == 1:
            found |= {label: chance(own, other, self.seeds) for label, other in right.items()}
        elif right:
            found |= dict(zip(right, chances_among([own, *right.values()], self.seeds), strict=True))
        return found

    @cached_property
    def ties(self) -> frozenset[str]:
        """Labels of the variants whose distance from the best is no more than chance, the best left out.

        Where the answers on the same images are known, they decide (``paired``). Else chance is that of the images (the
        interval of the best) or that of the seeds, whichever is wider.
        """
        if self.best is None:
            return frozenset()
        first, tied = self.best.all(self.monitor), []
        for rival in self.rivals:
            values = rival.all(self.monitor)
            if rival.label in self.chances:
                near = self.chances[rival.label] > OUTSIDE
            else:
                score, top = statistics.fmean(values), statistics.fmean(first)
                near = self.interval is not None and self.interval[0] <= score <= self.interval[1]
                near = near or abs(score - top) <= self.seeds.half(len(first), len(values)) or score == top
            if near:
                tied.append(rival.label)
        return frozenset(tied)

    @property
    def tie_rules(self) -> tuple[str, ...]:
        """In a clause each, when a variant counts as tied: by its answers, and where those are not known by its score."""
        by_answers = [self._rule_of_answers] if self.chances else []
        if (by_answers and len(self.chances) == len(self.rivals)) or not self._rules_of_scores:
            return tuple(by_answers)
        where = "where answers on the same images are not known, " if by_answers else ""
        return (*by_answers, f"{where}within {', or within '.join(self._rules_of_scores)}")

    @property
    def tie_rule(self) -> str:
        """In a sentence, when two variants count as tied."""
        rules = self.tie_rules
        return f"≈ ties with the best: {'; '.join(rules)}" if rules else f"no ties are marked: {self._no_interval}"

    @property
    def _rule_of_answers(self) -> str:
        count = next((run.images for run in self.best.scored(self.monitor)), None) if self.best else None
        several = f" for all {len(self.chances):,} comparisons together" if len(self.chances) > 1 else ""
        rule = (
            f"on the same {count:,} validation images, chance alone sets two that are equally good as far apart in more "
            f"than 5 of 100 cases{several} "
        )
        if len(self.chances) > 1:
            by_seeds = f" and that of the seeds, one variance over all variants, {self._freedom}"
            return f"{rule}(bootstrap over the images{by_seeds if self.seeds.freedom else f'; {ONE_SEED}'})"
        if not self.seeds.freedom:
            return f"{rule}(McNemar's exact test of the images that only one has right; {ONE_SEED})"
        return (
            f"{rule}(paired t test, by the chance of the images and that of the seeds, one variance over all variants, "
            f"{self._freedom})"
        )

    @property
    def _rules_of_scores(self) -> list[str]:
        chances = []
        if self.interval is not None:
            low, high = self.interval
            chances.append(
                f"its 95 % interval, {rounded(low)} to {rounded(high)} for {self.images:,} validation images (Wilson)"
            )
        if self.seeds.freedom:
            repeats = {len(variant.all(self.monitor)) for variant in self.variants if not variant.cut_short} - {0}
            half = f" (±{rounded(self.seeds.half(*repeats, *repeats))})" if len(repeats) == 1 else ""
            chances.append(
                f"the 95 % interval{half} of a difference over {self._over} (Student's t, one variance over all variants, "
                f"{self._freedom})"
            )
        return chances

    @property
    def _over(self) -> str:
        """What runs of a variant differ in."""
        words = dict(zip(REPEATS, ("seeds", "folds"), strict=True))
        return " and ".join(words[key] for key in self.repeated) or "seeds"

    @property
    def _freedom(self) -> str:
        return f"{self.seeds.freedom} degree{'s' * (self.seeds.freedom > 1)} of freedom"

    @property
    def verdict(self) -> str:
        """Of two runs: which is better, by how much, and whether chance can do that."""
        first, second = sorted(self.entries, key=lambda entry: self.yardstick.order(entry.best.get(self.monitor)))
        high, low = (entry.best.get(self.monitor) for entry in (first, second))
        if high is None or not is_number(high):
            return f"no verdict: neither run has {self.monitor}"
        if low is None or not is_number(low):
            return f"no verdict: only {first.name} has {self.monitor}, {rounded(high)}"
        if high == low:
            return f"no difference: both have {self.monitor} {rounded(high)}"
        lead = f"{first.name} is better by {rounded(abs(high - low))}, {self.monitor} {rounded(high)} against {rounded(low)}"
        runs = (first, second)
        if self._is_share_of(ANSWERED) and common_images(runs) and (right := right_of(runs, self.monitor)) is not None:
            alone = right_alone(*right)
            found = mcnemar(*alone)
            return (
                f"{lead}: {_chance_or_more(found > OUTSIDE)}, for of the same {right.shape[1]:,} validation images it has "
                f"{alone[0]:,} right that the other has wrong, and {alone[1]:,} the other way round (McNemar's exact "
                f"test, p = {found:.2g}; {ONE_SEED})"
            )
        if (interval := self._interval_of(high)) is None:
            return f"{lead}; whether chance can do that is not known: {self._no_interval}"
        within = interval[0] <= low <= interval[1]
        return (
            f"{lead}: {_chance_or_more(within)}, for {rounded(low)} lies {'within' if within else 'outside'} the 95 % "
            f"interval of the better, {rounded(interval[0])} to {rounded(interval[1])} for {self.images:,} validation "
            "images (Wilson)"
        )

    def _interval_of(self, score: float | None) -> tuple[float, float] | None:
        """The 95 % interval of a score of the compared column for the number of images; None where it has none."""
        if score is None or self.images is None or not self._is_share_of(SHARES) or not 0 <= score <= 1:
            return None
        return wilson(score, self.images)

    @property
    def _no_interval(self) -> str:
        if self._is_share_of(SHARES):
            return "the runs were not all measured on one known number of validation images"
        score = self.monitor.removeprefix("val_").replace("_", " ")
        return f"{score} has no interval for the number of images"

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
        folds: dict[str, set[str]] = {}
        for entry in self.entries:
            if entry.fingerprint:
                folds.setdefault(repr(value_of(entry, FOLD)), set()).add(entry.fingerprint)
        if any(len(seen) > 1 for seen in folds.values()):
            notes.append("not all runs saw the same images: part of a difference may come from the data")
        if len(self.rivals) >= MANY and self.best_run is not None:
            notes.append(self._flattery(self.best_run))
        return tuple(notes)

    def _flattery(self, best: Entry) -> str:
        """What to do where the best of many was chosen on the very images that it is measured on."""
        what = f"the best of {len(self.rivals) + 1:,} variants was chosen on the validation images, which flatters it"
        if self.test is not None and self.test.run == best.name:
            return f"{what}: {self.test.told}"
        once = f"python -m framework.evaluate {in_bash(f'run={best.folder}')} split=test"
        kept = best.tested
        return f"{what}: {once}, once, says more" if kept else f"{what}: with data.test=0.2 test images are kept back"

    def _is_share_of(self, kinds: Sequence[str]) -> bool:
        """Whether the compared column is, in every run, a metric of these kinds on one label an image."""
        name = self.monitor.removeprefix("val_")
        parts = {entry.config.get(f"metrics.{name}.name", name) for entry in self.entries if entry.best}
        tasks = [TASKS.get(entry.run.get("task", "multiclass"), Multiclass) for entry in self.entries if entry.best]
        one_answer = all("confusion" in task.measures for task in tasks)
        return self.monitor.startswith("val_") and parts <= set(kinds) and one_answer


def _chance_or_more(tied: bool) -> str:
    return "no more than chance" if tied else "more than chance"


def compare(folders: Path | Sequence[Path]) -> Comparison:
    """Compare the runs of a sweep folder, or those of several run folders from anywhere.

    Half-written and failed runs are part of it; ``notes`` and ``failures`` say what is wrong with them.

    Raises:
        BadInput: a folder does not exist, or there is no run at all.
    """
    sweep = read_sweep(folders) if isinstance(folders, Path) else Sweep("comparison", "", (), read_entries(folders))
    keys = varied(sweep.entries, sweep.varied)
    search = read_search(folders) if isinstance(folders, Path) else None
    return Comparison(sweep.name, sweep.command, sweep.entries, keys, sweep.metric, sweep.direction, search, sweep.test)


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
    rest = [key for key in keys if key not in REPEATS]
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
    return key.split(".")[0].split("/")[0] in ("hydra", "compute", "sweep", "search")

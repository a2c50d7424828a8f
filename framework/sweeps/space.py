"""What a search draws from: keys with choices, numbers and ranges, and which keys a choice of options leaves out."""

from __future__ import annotations

import itertools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

FEWEST = 4  # significant digits of a number that is drawn
Values = Mapping[str, str]


@dataclass(frozen=True)
class Dimension(ABC):
    """A key and what it may be.

    Attributes:
        key: as an override begins with it, ``+`` and all.
        name: the key alone.
        group: whether its values are options of a group.
    """

    key: str
    name: str
    group: bool

    @property
    @abstractmethod
    def values(self) -> tuple[str, ...] | None:
        """All of them, as they are written; None where they can't be counted."""

    @property
    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""

    @abstractmethod
    def draw(self, trial: Trial) -> str:
        """A value, as it is written, that the trial suggests."""

    @abstractmethod
    def written(self, value: Any) -> str:
        """A value of Optuna's as a run is given it."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """A written value as Optuna has it.

        Raises:
            ValueError: it is none of these.
        """


@dataclass(frozen=True)
class Choice(Dimension):
    """One of a few values, told apart by how they are written."""

    options: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """All of them."""
        return self.options

    @property
    def distribution(self) -> BaseDistribution:
        """A categorical one."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options)

    def draw(self, trial: Trial) -> str:
        """The option."""
        return str(trial.suggest_categorical(self.name, self.options))

    def written(self, value: Any) -> str:
        """The option."""
        return str(value)

    def read(self, text: str) -> str:
        """The option that is written so."""
        if text in self.options:
            return text
        # what an override says without quotes or blanks
        plain = {_plain(option): option for option in self.options}
        if _plain(text) not in plain:
            raise ValueError(text)
        return plain[_plain(text)]


@dataclass(frozen=True)
class Number(Dimension):
    """A number between two, both among them; ``step`` None is any between, ``whole`` those without a fraction."""

    low: float
    high: float
    step: float | None
    log: bool
    whole: bool

    @property
    def values(self) -> tuple[str, ...] | None:
        """All of them, where there is a step."""
        if self.step is None:
            return None
        count = round((self.high - self.low) / self.step) + 1
        return tuple(self.written(self.low + place * self.step) for place in range(count))

    @property
    def distribution(self) -> BaseDistribution:
        """Of whole numbers or of floats."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def draw(self, trial: Trial) -> str:
        """The number, with the digits that matter."""
        if self.whole:
            return self.written(
                trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
            )
        return self.written(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

    def read(self, text: str) -> float:
        """The number that is written so, if it lies between the two."""
        number: float = int(text) if self.whole else float(text)
        if not self.low <= number <= self.high:
            raise ValueError(text)
        return number

    def written(self, value: Any) -> str:
        """A number as a run is given it: four significant digits, of a narrow range a thousandth of its width at most.

        What a trial is told and what its run has differ by less than anybody could see; the run's override, its
        folder's name and the line to run it again are exact.
        """
        number = float(value)
        if self.whole:
            return str(int(number))
        if self.step is not None:
            return repr(float(f"{number:.12g}"))
        if self.log:
            narrow = max(0, -math.floor(math.log10(self.high / self.low - 1)))
            number = float(f"{number:.{min(FEWEST + narrow, 17)}g}")
        else:
            number = round(number, FEWEST - 1 - math.floor(math.log10(self.high - self.low)))
        return repr(min(max(number, self.low), self.high))


@dataclass(frozen=True)
class Space:
    """All keys of a search, groups first.

    Attributes:
        dimensions: in the order in which they are drawn.
        left_out: of the options chosen for groups, by name, the keys that none of them has.
    """

    dimensions: tuple[Dimension, ...]
    left_out: Callable[[Values], frozenset[str]]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all keys."""
        return tuple(dimension.name for dimension in self.dimensions)

    @cached_property
    def text(self) -> str:
        """What two searches must have in common to be one study: the keys, and the values of choices."""
        told = {one.name: one.options if isinstance(one, Choice) else "number" for one in self.dimensions}
        return json.dumps(told, sort_keys=True)

    def draw(self, trial: Trial) -> dict[str, str]:
        """A trial's values by name; keys of options that it does not choose are left out."""
        return self._filled(lambda dimension: dimension.draw(trial))

    def read(self, overrides: Iterable[str]) -> dict[str, Any]:
        """A run's values as Optuna has them, by name.

        Raises:
            KeyError: the run lacks a key of the space.
            ValueError: it has another value of a key.
        """
        found = {line.partition("=")[0].lstrip("+"): line.partition("=")[2] for line in overrides}
        written = self._filled(lambda dimension: found[dimension.name])
        return {one.name: one.read(written[one.name]) for one in self.dimensions if one.name in written}

    def written(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Values as Optuna has them, as a run is given them."""
        return {one.name: one.written(params[one.name]) for one in self.dimensions if one.name in params}

    def lines(self, values: Values) -> list[str]:
        """Values as overrides."""
        return [f"{one.key}={values[one.name]}" for one in self.dimensions if one.name in values]

    def kept(self, overrides: Sequence[str]) -> list[str]:
        """A run's overrides without the keys of options that it does not choose."""
        names = {line: line.partition("=")[0].lstrip("+~") for line in overrides}
        out = self.left_out({name: line.partition("=")[2] for line, name in names.items()})
        return [line for line in overrides if names[line] not in out]

    def combinations(self) -> Iterator[dict[str, str]]:
        """Every combination once, where all values can be counted."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        for values in itertools.product(*(dimension.values or () for dimension in self.dimensions)):
            each = dict(zip(self.names, values, strict=True))
            kept = self._filled(lambda dimension, each=each: each[dimension.name])  # type: ignore[misc]
            if (mark := tuple(kept.items())) not in seen:
                seen.add(mark)
                yield kept

    def trials(self, every: bool, most: int) -> int:
        """How many trials there are to be: ``most``, or as many combinations as there are if each comes once."""
        return sum(1 for _ in itertools.islice(self.combinations(), most)) if every else most

    def _filled(self, value: Callable[[Dimension], str]) -> dict[str, str]:
        chosen = {one.name: value(one) for one in self.dimensions if one.group}
        out = self.left_out(chosen)
        return chosen | {one.name: value(one) for one in self.dimensions if not one.group and one.name not in out}


def _plain(text: str) -> str:
    return text.replace("'", "").replace('"', "").replace(" ", "")

"""Numbers as people read them: rounded in one way, whoever shows them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from numbers import Real
from typing import Any

from framework.core.schema import show

NOTHING = "–"
KEPT = 7  # significant digits of history.csv: what a float32 holds
SMALLEST, SMALL, LARGE = 1e-9, 5e-4, 1000  # below the smallest lies the noise of floats
FEWEST = 4  # significant digits of a value that was varied


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def seconds(text: int | str | None) -> float | None:
    """A time as it is typed, ``90s``, ``30m``, ``2h``, ``1d`` or a number of seconds, in seconds.

    Raises:
        ValueError: it is none.
    """
    if text is None or isinstance(text, int):
        return text
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    found = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    if not 0 < found < math.inf:
        raise ValueError(text)
    return found


def kept(value: float) -> float:
    """A measured number as ``history.csv`` keeps it, so that every place that rounds it further has the same one.

    379 of 400 is 0.947499990 in float32: without this, a file's name would say 0.947 and a figure 0.948.
    """
    return float(f"{value:.{KEPT}g}")


def rounded(value: float | None, sign: bool = False) -> str:
    """A measured number: three decimals, two significant digits where it is small, three where it is large."""
    if value is None:
        return NOTHING
    plus = "+" if sign else ""
    if isinstance(value, int):
        return f"{value:{plus},}"
    if SMALLEST < abs(value) < SMALL:
        return f"{value:{plus}.2g}"
    return f"{value:{plus}.3f}" if abs(value) < LARGE else f"{value:{plus}.3g}"


def brief(values: Iterable[Any]) -> dict[str, str]:
    """Values of one key, by what ``show`` writes: numbers of four significant digits, or as many as tell them apart.

    A search draws rates like 0.0031622776601683794, which nobody can read; whole numbers and words stay as they are.
    """
    exact = {show(value): value for value in values}
    found: dict[str, str] = {}
    for digits in range(FEWEST, 17):
        short = {text: _shorter(text, value, digits) for text, value in exact.items()}
        alone = Counter(short.values())
        found = {text: short[text] for text in exact if alone[short[text]] == 1} | found
    return {text: found.get(text, text) for text in exact}


def _shorter(text: str, value: Any, digits: int) -> str:
    if not isinstance(value, float) or not math.isfinite(value):
        return text
    short = f"{value:.{digits}g}"
    return short if len(short) < len(text) else text

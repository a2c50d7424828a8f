"""What a sweep and its runs are called: names of folders, made from what is varied."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence

BETWEEN = "__"
LONGEST = 120
_LONG_NUMBER = re.compile(r"(?<![A-Za-z0-9.])-?\d+\.\d{7,}(?:[eE][-+]?\d+)?(?![A-Za-z0-9.])")


def default_name(varied: Sequence[str], fixed: Sequence[str]) -> str:
    """A sweep's name: what is varied, whatever the values, and a mark of what is fixed. More values, the same sweep."""
    name = BETWEEN.join(key.replace("/", ".") for key in varied) or "single"
    mark = f"-{_digest(chr(10).join(sorted(fixed)))}" if fixed else ""
    return f"{_short(name, LONGEST // 2)}{mark}"


def run_name(overrides: str) -> str:
    """A folder's name from a run's overrides of varied keys, ``key=value__key=value``: nothing that a shell minds.

    Lists are written ``100-50``, numbers with the digits that matter. Where characters or digits are lost or the name
    is cut, a digest keeps it apart from others.
    """
    if (short := short_numbers(overrides)) != overrides:
        return f"{_cut(run_name(short), LONGEST)}-{_digest(overrides)}"
    groups = re.sub(r"(^|__)\++", r"\1", re.sub(r"/(?=[\w/]*=)", ".", overrides))
    plain = re.sub(r"[\[\]'\" ]", "", groups.replace("[]", "none")).replace(",", "-")
    safe = re.sub(r"[^\w.=+-]+", "-", plain).strip(".") or "run"
    return _short(safe, LONGEST) if safe in (plain, "run") else f"{_cut(safe, LONGEST)}-{_digest(overrides)}"


def label(overrides: Sequence[str], varied: Collection[str]) -> str:
    """What a run is called where people look: its overrides of varied keys."""
    own = (line for line in overrides if line.lstrip("+").partition("=")[0] in varied)
    return short_numbers(" ".join(own)) or "run"


def short_numbers(text: str) -> str:
    """A text in which numbers of more than six digits behind the point, as a search draws them, have four that matter."""
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.4g}", text)


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{_cut(name, longest)}-{_digest(name)}"


def _cut(name: str, longest: int) -> str:
    return name[:longest].rstrip("_.=-")


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:6]

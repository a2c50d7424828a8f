"""What has changed between a run and its repetition that its config does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.core.console import say, warn
from framework.core.runs import RunFolder


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``tensorflow 2.20 then, 2.21 now`` for each version, fact of the machine and fingerprint of data that differs."""
    facts = {
        f"{key} {name}": (earlier.get(key, {}).get(name), now.get(key, {}).get(name))
        for key in ("versions", "machine")
        for name in {**earlier.get(key, {}), **now.get(key, {})}
    }
    facts["git"] = (earlier.get("git"), now.get("git"))
    facts["data"] = tuple((run.get("data") or {}).get("fingerprint") for run in (earlier, now))  # type: ignore[assignment]
    return [
        f"{name.removeprefix('versions ')}: {then or 'unknown'} then, {today or 'unknown'} now"
        for name, (then, today) in facts.items()
        if then != today
    ]


def tell_differences(folder: Path, now: Mapping[str, Any]) -> None:
    """Say which run is repeated, and warn of what may change its numbers."""
    say(f"repeats    {folder}")
    for difference in differences(RunFolder(folder).read_run(), now):
        warn(difference)

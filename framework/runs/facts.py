"""What was running where: versions, machine, git commit; everything that can change a bit of the result."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import framework

PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "omegaconf", "pillow")


_kept: dict[str, Any] = {}


def found() -> dict[str, Any]:
    """All of it, as ``run.json`` notes it."""
    return dict(_kept) or {"versions": versions(), "machine": machine(), "git": git_commit()}


def keep() -> None:
    """Find it out once, for this process and those that are forked from it: their code is what is there now."""
    _kept.update(found())


def versions() -> dict[str, str]:
    """Versions of this project, Python and the packages that results depend on."""
    return {
        "framework": framework.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def machine() -> dict[str, Any]:
    """Facts of the machine that change bits."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


def git_commit() -> str | None:
    """Commit of the folder that the command was given in, marked where files differ from it; None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()

"""Whether the packages are there that every command needs: standard library only, for it is asked before any import."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

# what is imported, by what is installed; not read from metadata, which a clone that is not installed has not got
NEEDED = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "hydra-core": "hydra",
    "omegaconf": "omegaconf",
    "pydantic": "pydantic",
    "filelock": "filelock",
    "numpy": "numpy",
    "pillow": "PIL",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "platformdirs": "platformdirs",
    "pyyaml": "yaml",
    "scipy": "scipy",
    "plotly": "plotly",
    "scikit-learn": "sklearn",
}
OLDEST = (3, 10)


def refuse_incomplete() -> None:
    """End a command, with one line and exit code 2, where this Python can't run it.

    Only a command: who imports the package from a program of their own gets Python's usual error.
    """
    command = sys.argv[:1] == ["-m"] or Path(sys.argv[0] if sys.argv else "").name.startswith("framework")
    if not command:
        return
    missing = [package for package, module in NEEDED.items() if not _is_there(module)]
    if sys.version_info >= OLDEST and not missing:
        return
    needs = ", ".join(missing) if missing else ".".join(map(str, OLDEST))
    print(f"framework needs {needs}, which {sys.executable or 'this Python'} has not: {_way_out()}", file=sys.stderr)
    raise SystemExit(2)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _way_out() -> str:
    clone = Path(__file__).resolve().parents[2]
    if not (clone / "pyproject.toml").is_file():
        return "pip install framework, with Python 3.10 or newer"
    if (clone / ".venv").is_dir():
        return f"source {clone}/.venv/bin/activate first"
    return f"cd {clone} && python3 -m venv .venv && .venv/bin/pip install -e . && source .venv/bin/activate"

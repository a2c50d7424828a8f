"""What a command leaves to the system: permissions, temporary files, and no question to the network."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.hostile.files import class_folders
from benchmarks.hostile.runs import made, whole_config
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, ask, unclean
from benchmarks.measure import ROOT
from framework import check, compare, doctor, plan

UMASKS = (0o077, 0o027, 0o022, 0o002)
# ends the process that asks for another machine
OFFLINE = """
import os, sys
def hook(event, arguments):
    outwards = event == "socket.connect" and isinstance(arguments[1], tuple)
    if outwards or event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print("asked for", arguments[1:], file=sys.stderr, flush=True)
        os._exit(9)
sys.addaudithook(hook)
from framework import check, train
given = ["data=image_folder", "data.dir=photos", "data.image_size=16", "model.filters=[4]", "trainer.epochs=1"]
sys.argv = ["framework-train"]
sys.exit(check.main(given) or train.main([*given, "hydra.run.dir=run"]))
"""


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Commands under several masks; ``short``: without the one that trains."""
    os.chdir(folder)
    class_folders("blue", "red")
    given = ["data=image_folder", "data.dir=photos"]
    with accepting():
        for number in range(2):
            made(folder / f"run{number}", whole_config())
        commands: dict[str, tuple[Any, list[str]]] = {
            "check": (check, [*given, "data.write_split=out/split.csv"]),
            "plan": (plan, given),
            "compare": (compare, ["runs=[run0,run1]", "output=out"]),
            "doctor": (doctor, ["data.dir=photos", "output=out"]),
        }
        for name, (command, words) in commands.items():
            tally.cases(
                (
                    f"{name} where others may {0o777 & ~umask:o}",
                    lambda umask=umask, command=command, words=words: _masked(folder, umask, command, words),
                )  # type: ignore[misc]
                for umask in UMASKS
            )
    if not short:
        tally.count("check and train, without a network", _trained(folder))


def _masked(folder: Path, umask: int, command: Any, words: Sequence[str]) -> str:
    """What is wrong with the files that a command writes for a user of this mask, beside and in the folder for temporary ones."""
    out, temporary = folder / "out", folder / "temporary"
    for path in (out, temporary):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(0o700)
    before, tempfile.tempdir = os.umask(umask), str(temporary)
    try:
        with _watched(temporary) as opened:
            wrong = unclean(ask(command, words), (0,))
    finally:
        os.umask(before)
        tempfile.tempdir = None
    return wrong or _open_to_others(out, umask) or _left(temporary, opened)


class _watched:
    """While entered, the names are noted by which files are made in a folder that anybody could foresee."""

    def __init__(self, folder: Path):
        self._folder, self.names, self._on = str(folder), list[str](), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event == "open" and str(arguments[0]).startswith(f"{self._folder}/"):
            makes, alone = bool(arguments[2] & os.O_CREAT), bool(arguments[2] & os.O_EXCL)
            # one in a folder of a name that was drawn is nobody else's
            if makes and not alone and Path(str(arguments[0])).parent == Path(self._folder):
                self.names.append(str(arguments[0]))

    def __enter__(self) -> list[str]:
        self._on = True
        return self.names

    def __exit__(self, *_: object) -> None:
        self._on = False


def _left(temporary: Path, foreseen: Sequence[str] = ()) -> str:
    if foreseen:
        return f"anybody can foresee the names {foreseen}"
    left = [path.name for path in temporary.iterdir()]
    return f"left behind: {left}" if left else ""


def _open_to_others(folder: Path, umask: int) -> str:
    for path in _all(folder):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & umask or (path.is_file() and mode & 0o7111):
            return f"{path.relative_to(folder)} has the permissions {mode:o}"
    return ""


def _all(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_symlink())


def _trained(folder: Path) -> str:
    """A command that imports all, checks and trains; in a network of its own where the system allows that."""
    (folder / "offline.py").write_text(OFFLINE)
    temporary = folder / "temporary"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [*_alone(), sys.executable, "offline.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, umask=0o077)
    if done.returncode:
        return done.stderr[-400:]
    return _open_to_others(folder / "run", 0o077) or _left(temporary)


def _alone() -> list[str]:
    alone = ["unshare", "-rn"]
    possible = shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True).returncode == 0
    return alone if possible else []

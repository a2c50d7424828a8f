"""Fixtures that every room's tests share: small images made on the fly, an own cache folder, the real photos."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from framework.cli.primary import take_primary_config
from framework.core import registry
from tests import copies

# a shell lets its background jobs ignore Ctrl-C, and their children inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# else each of the hundreds of commands that tests start would compile every module anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

CLONE = Path(__file__).parents[1]
COLOURS = {"red": (210, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 220)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's caches."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def make_images(folder: Path, classes=tuple(COLOURS), count: int = 8, size: int = 40, seed: int = 0) -> Path:
    """A class folder each with ``count`` noisy images of the class's colour."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        colour = COLOURS.get(name, tuple(rng.integers(0, 255, 3)))
        for index in range(count):
            noise = rng.normal(0, 25, (size, size, 3))
            pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}-{seed}-{index:03d}.jpg", quality=90)
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of three classes, split into train and validation."""
    make_images(tmp_path / "photos" / "train", count=8, seed=0)
    make_images(tmp_path / "photos" / "validation", count=4, seed=1)
    return tmp_path / "photos"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, no recipes and no parts but the shipped ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEWORK_RECIPES", "")
    take_primary_config([])
    with registry.isolated():
        yield tmp_path
    take_primary_config([])


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small disk with these options of ``mount -o``, and gives its folder; skips where that is not allowed."""
    disk = tmp_path / "disk"

    def mount(options: str) -> Path:
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True).returncode:
            pytest.skip("mounting a disk needs rights that this process has not")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def s3(monkeypatch, tmp_path):
    """An S3 server on this machine, with an empty bucket."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", "me"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    # what it holds is the process's, of whichever server
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3")
    system.mkdir("bucket")
    yield system
    server.stop()


def bash(line: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line run as it is typed, quotes and all; ``python`` is the one of these tests, or a copy of it."""
    bin = f"{copies.folder()}{os.pathsep}{Path(sys.executable).parent}"
    environment = {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(CLONE), **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )


def until(seen, patience: float = 400):
    """What ``seen`` gives as soon as that is something; fails after so many seconds."""
    deadline = time.monotonic() + patience
    while not (found := seen()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files of these contents, indented as the test is, below a folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real photos and weights."""
    path = os.environ.get("FRAMEWORK_SHARED")
    if not path or not Path(path, "data", "clothing").is_dir():
        pytest.skip("FRAMEWORK_SHARED does not name the folder with the real photos")
    return Path(path).resolve()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests that wait for a process or a server leave some of them idle."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """The longest test comes first: begun late, it would be the last one at work, alone."""
    items.sort(key=lambda item: item.name != "test_every_command_of_the_documents_runs[the site]")


def pytest_terminal_summary(terminalreporter):
    """Print what a test has recorded as its summary, from whichever process it ran in."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "summary" and report.when == "call":
                    terminalreporter.write_line(text)

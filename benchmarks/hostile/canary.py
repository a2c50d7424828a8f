"""What must not happen: a file that must not appear, a secret that must not show, a door that nobody may come to."""

from __future__ import annotations

import base64
import contextlib
import marshal
import os
import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "HOSTILE_SECRET"
_heard: list[str] = []
_listening: list[Canary] = []
# what a payload would do; the arguments are held against what is the canary's own
_EVENTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "open", "urllib.Request")


class Canary:
    """A folder to watch, with a secret in a file and in the environment.

    Attributes:
        file: that no payload may make.
        secret: a text that no output may hold.
        secret_file: that holds it, and that nobody named.
        port: of this machine, that nobody may connect to.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "sung"
        self.secret = "s3cret-" + os.urandom(8).hex()
        self.secret_file = folder / "secret.txt"
        self.secret_file.write_text(f"{self.secret}\n")
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.setblocking(False)
        self.port = self._door.getsockname()[1]

    def fault(self, *said: str, named: bool = False) -> str:
        """What has happened that must not since it was last asked; empty if nothing.

        Args:
            said: what a command has printed.
            named: whether the file that holds the secret was named, so that it may be looked at; it is shown to nobody even so.
        """
        found = [one for one in _heard if not (named and one.startswith("open("))]
        _heard.clear()
        if self.file.exists():
            self.file.unlink()
            found.append("a payload ran")
        if any(self.secret in text for text in said):
            found.append("the secret was shown")
        with contextlib.suppress(BlockingIOError):
            self._door.accept()[0].close()
            found.append("somebody connected")
        return "; ".join(found)

    def holds(self, path: Path) -> bool:
        """Whether a file below a folder holds the secret."""
        secret = self.secret.encode()
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
        return any(secret in one.read_bytes() for one in files if one != self.secret_file)

    def close(self) -> None:
        """Close the door."""
        self._door.close()

    # payloads, each of which would make the file

    @property
    def code(self) -> str:
        """A lambda's code as Keras saves it: marshalled, in base64."""
        source = f"lambda x: [__import__('pathlib').Path({str(self.file)!r}).touch(), x][1]"
        inner = next(one for one in compile(source, "<payload>", "eval").co_consts if hasattr(one, "co_code"))
        return base64.b64encode(marshal.dumps(inner)).decode()

    @property
    def pickled(self) -> bytes:
        """A pickle."""
        return pickle.dumps(_Touch(str(self.file)))

    @property
    def python(self) -> str:
        """A module's text."""
        return f"import pathlib\npathlib.Path({str(self.file)!r}).touch()\n"

    @property
    def shell(self) -> str:
        """A command."""
        return f"touch {self.file}"


class _Touch:
    def __init__(self, file: str):
        self._file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self._file}",)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event in _EVENTS:  # at the end of the process neither is left, and this still hears
        told = repr(arguments)
        for canary in _listening:
            if (
                str(canary.file) in told
                or (event == "open" and arguments[0] == str(canary.secret_file))
                or (event == "socket.connect" and str(canary.port) in told)
            ):
                _heard.append(f"{event}{told[:200]}")


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[Canary]:
    """A canary in a folder of its own; while entered its secret is in the environment, and Python says what is done."""
    canary = Canary(folder)
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked.append(True)
    os.environ[VARIABLE] = canary.secret
    _listening.append(canary)
    try:
        yield canary
    finally:
        _listening.remove(canary)
        os.environ.pop(VARIABLE, None)
        canary.close()


_hooked: list[bool] = []

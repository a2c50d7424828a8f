"""Serve: a trained classifier over HTTP, with a page to drop an image on."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated

from framework.cli.options import run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import say, warn
from framework.core.errors import DONE, BadInput, Problem
from framework.core.schema import Count, NonNegative, PositiveShare
from framework.evaluation.rejection import By, asked
from framework.model.saved import ModelOptions, open_trained
from framework.serving.limits import Limits

USAGE = """
python -m framework.serve run=RUN [options]

Answers HTTP requests with the classes of images until Ctrl-C. The first page is for people: drop an image on it and
see the classes and where the network looks. POST /predict takes files or base64, /docs describes it, /health and
/metrics are for machines. Requests that come at once are worked on as one batch. Needs the extra serve.

  python -m framework.serve run=latest
  python -m framework.serve run=RUN port=9000 batch_size=64 limits.pixels=20000000
  curl -F image=@photo.jpg http://127.0.0.1:8000/predict

It listens to this machine only unless host says otherwise. With a token it answers only who brings it, in the header
Authorization: Bearer TOKEN; it speaks plain HTTP, so that others on the way can read it. What one client may take of
memory, time and connections is bounded by limits, which are listed below.

Exit code 0: stopped; 2: the command line, the run or the port are wrong.
"""
BACKLOG = 2048
MEMORY = (("MALLOC_ARENA_MAX", -8, 2), ("MALLOC_MMAP_THRESHOLD_", -3, 4 * 2**20))  # M_ARENA_MAX, M_MMAP_THRESHOLD
TOKEN = "FRAMEWORK_TOKEN"
PACKAGES = ("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client")


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-serve`` takes."""

    host: Annotated[str, "address to listen on; 0.0.0.0 is every network of this machine"] = "127.0.0.1"
    port: Annotated[int, "port to listen on; 0 takes a free one"] = 8000
    batch_size: Annotated[Count, "images that the network gets at once, at most"] = 32
    batch_wait: Annotated[NonNegative, "milliseconds that an image waits for others on their way, at most"] = 5.0
    token: Annotated[
        str | None, f"key that requests must bring; null: what the environment's {TOKEN} holds, else none"
    ] = None
    hosts: Annotated[
        list[str] | None, "names that the server is called by beside addresses and this machine's: [photos.example.org]"
    ] = None
    reject: Annotated[
        PositiveShare | None, "answer 'unknown' where it is less sure than of all but this share of validation images"
    ] = None
    reject_by: Annotated[By, "how unsure it is, how far from the training images, or either of the two"] = "confidence"
    limits: Limits = field(default_factory=Limits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit code."""
    return run_with_options(USAGE, Options, serve, arguments)


def serve(options: Options) -> int:
    """Load, then answer until SIGINT or SIGTERM; what is in hand then is still answered.

    Raises:
        BadInput: the classifier can't be used, a package is missing, or the address is taken.
    """
    if any(find_spec(name) is None for name in PACKAGES):
        raise BadInput(Problem("serving needs more packages", "framework.serve", "pip install 'framework[serve]'"))
    token = _token(options)
    trained = open_trained(options)
    far, unsure = asked(trained, options.reject, options.reject_by)
    if unsure is not None:
        say(unsure.told)
    door = _listen(options.host, options.port)
    give_back_memory()
    load_tensorflow()
    import uvicorn

    from framework.serving.access import Names
    from framework.serving.application import application
    from framework.serving.classifier import Classifier
    from framework.serving.connections import punctual
    from framework.serving.metrics import Metrics

    metrics = Metrics()
    classifier = Classifier(
        trained, options.limits, metrics, options.batch_size, options.batch_wait / 1000, unsure, far
    )
    with door:
        classifier.load()
        config = uvicorn.Config(
            application(classifier, options.limits, metrics, trained.name, Names(options.hosts or ()), token),
            log_level="warning",
            access_log=False,
            server_header=False,
            http=punctual(options.limits),
            ws="none",
            timeout_graceful_shutdown=int(options.limits.seconds) + 1,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        # before anyone is told: uvicorn listens to these only while it runs, and raises them again at its end
        kept = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        if token is None and not _is_loopback(door):
            warn(f"anyone who reaches this machine can ask; token=KEY, or {TOKEN} in the environment, asks for a key")
        say(f"{trained.name} is served at {_address(door)} (for programs: {_address(door)}docs); Ctrl-C stops it")
        try:
            server.run(sockets=[door])
        finally:
            classifier.close()
            for number, handler in kept.items():
                signal.signal(number, handler)
    say("stopped")
    return DONE


def give_back_memory() -> None:
    """Have all threads that begin later share two heaps, and blocks of 4 MiB and more go back to the system once freed.

    The C library of most Linux systems has up to eight heaps for each core, each of which keeps what it once needed, and
    serves large blocks from them once one of that size was freed: a server of many threads grew on and on. The
    environment's ``MALLOC_ARENA_MAX`` and ``MALLOC_MMAP_THRESHOLD_`` come first. Source: ``mallopt(3)``.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError):  # another C library
        for name, parameter, value in MEMORY:
            if name not in os.environ:
                ctypes.CDLL(None).mallopt(parameter, value)


def _token(options: Options) -> str | None:
    """The key, of the command line or the environment.

    Raises:
        BadInput: no header can bring it.
    """
    token = options.token if options.token is not None else os.environ.get(TOKEN)
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        right = "letters, digits and signs of ASCII, without blanks"
        raise BadInput(Problem("the token can't be sent in a header", "token", right))
    return token


def _is_loopback(door: socket.socket) -> bool:
    return ipaddress.ip_address(door.getsockname()[0].partition("%")[0]).is_loopback


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address, before anything heavy is loaded.

    Raises:
        BadInput: it is taken or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise BadInput(Problem(f"there is no address {host}:{port}: {error}", "host, port", "host=127.0.0.1")) from None
    try:
        if os.name != "nt":  # there it would let two listen at once
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        # at once: only a listening socket keeps others from the port, and who comes early waits instead of being refused
        door.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        door.close()
        reason = getattr(error, "strerror", None) or str(error)
        what = f"{host}:{port} can't be listened on: {reason}"
        raise BadInput(Problem(what, "host, port", "another port, or port=0 for a free one")) from None
    return door


def _address(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


if __name__ == "__main__":
    sys.exit(main())

"""Connections end, whoever holds them, and good requests are answered all the while."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from framework.serving.limits import Limits
from tests.conftest import make_images
from tests.evaluation.common import make_run
from tests.serving.made import client, files, jpeg, server

LIMITS = Limits(seconds=2.0, header_seconds=0.5, connections=20, bytes=200_000, request_bytes=300_000, memory=400_000)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    here = tmp_path_factory.mktemp("connections")
    run = make_run(here / "run", make_images(here / "photos", count=2))
    with server(run, LIMITS) as address:
        yield address


def connected(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20)


def held(address: str, begin: bytes, drop: bytes) -> tuple[float, bytes]:
    """Seconds until the server ends a connection on which something is sent every tenth of a second, and what it said."""
    started, said = time.monotonic(), b""
    with connected(address) as opened:
        opened.settimeout(0.1)
        with contextlib.suppress(ConnectionError):
            opened.sendall(begin)
            while time.monotonic() - started < 15:
                with contextlib.suppress(TimeoutError):
                    piece = opened.recv(4096)
                    if not piece:
                        break
                    said += piece
                if drop:
                    opened.send(drop)
    return time.monotonic() - started, said


@pytest.mark.parametrize(("begin", "drop"), [(b"", b""), (b"GET / HTTP/1.1\r\nA: ", b"a")])
def test_a_header_has_its_time(address, begin, drop):
    seconds, said = held(address, begin, drop)
    assert seconds < 3
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'{"error": "the request\'s header did not come within 0.5 s"}' in said


def test_the_rest_of_a_body_that_was_answered_has_its_time(address):
    seconds, said = held(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n", b" ")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert seconds < 4


def test_a_body_that_never_ends_is_refused(address):
    seconds, said = held(address, HEAD + b"Content-Length: 9999\r\n\r\n", b" ")
    assert said.startswith(b"HTTP/1.1 503 ")
    assert seconds < 12


def test_a_client_that_stays_is_answered_again_and_again(address):
    """Each request has its own time, so that a connection may be kept for longer than one has."""
    with client(address) as http:
        for _ in range(8):
            assert http.post("/predict", **files(jpeg())).status_code == 200
            time.sleep(0.4)


def test_requests_that_come_together_are_answered_in_turn(address):
    with connected(address) as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        said = b""
        while said.count(b'{"ready":true}') < 5:
            said += opened.recv(4096)


def test_there_are_so_many_connections_and_no_more(address):
    idle = [connected(address) for _ in range(LIMITS.connections)]
    try:
        with contextlib.suppress(ConnectionError):
            more = connected(address)
            assert more.recv(10) == b""
    finally:
        for one in idle:
            one.close()
    time.sleep(0.2)
    with client(address) as http:
        assert http.get("/health").status_code == 200


def test_all_requests_in_hand_have_so_much_memory(address):
    """Half-sent bodies of others take it; once they are gone there is room again."""
    begun = [connected(address) for _ in range(2)]
    body = b'{"image": "' + b"A" * 190_000
    for one in begun:
        one.sendall(HEAD + b"Content-Length: 250000\r\n\r\n" + body)
    time.sleep(0.3)
    with client(address) as http:
        told = http.post("/predict", json={"image": "A" * 100_000})
        assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
        for one in begun:
            one.close()
        time.sleep(0.3)
        assert http.post("/predict", **files(jpeg())).status_code == 200


def test_every_page_has_a_policy(address):
    with client(address) as http:
        for page in ("/", "/docs", "/redoc", "/health", "/nowhere"):
            assert "object-src 'none'" in http.get(page).headers["Content-Security-Policy"]

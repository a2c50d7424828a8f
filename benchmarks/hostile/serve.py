"""A server on this machine under hostile requests of 64 clients at once, while two others are answered as they must be.

Bombs of every format, requests that are none, headers and bodies that come a byte at a time or never end, answers that nobody
reads. The server is the real command, with shorter times than usual, so that slow ones end within the campaign.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.hostile import browser, networks
from benchmarks.hostile.files import bombs, jpeg, programs
from benchmarks.hostile.models import make_run
from benchmarks.hostile.names import HOSTILE, LONG
from benchmarks.hostile.tally import Tally, ask
from benchmarks.serve import FORM, JSON, Ask, Server, bad_requests, connected, in_form, resident, send, serving
from framework import serve
from framework.serving.limits import Limits

CLIENTS, GOOD_CLIENTS = 64, 2
SECONDS, HEADER_SECONDS = 6.0, 3.0
LIMITS = [
    f"limits.seconds={SECONDS:g}",
    f"limits.header_seconds={HEADER_SECONDS:g}",
    "limits.bytes=4000000",
    "limits.request_bytes=8000000",
]
SLOW_SHARE = 0.04  # of requests that take their time
PATIENCE = 60.0
TRIES = 20  # of a client that is told to come again
ROUNDS, REST_SECONDS = 5, 2.0
MOST_GROWTH, MOST_GROWTH_AT_WORK = 1.1, 1.15
GOOD_SHARE = 0.999
KEY = "s3cret+/="
MARKED = "run<img src=x onerror=alert(1)>"  # a folder
Attack = Callable[[int, random.Random], str]


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """All of it; ``short``: a few requests, and no browser."""
    os.chdir(folder)
    make_run(folder / "run", networks.keras_file(folder / "model.keras"))
    with serving("run=run", *LIMITS) as server:
        _attack(tally, server, 200 if short else requests)
        _stop(tally, server)
    _help(tally)
    if not short:
        _open(tally, folder)
        if browser.DRIVER:
            _named(tally, folder)


def attacks() -> dict[str, Attack]:
    """Requests that are answered, or refused, at once."""
    photo = jpeg((60, 40))
    found: dict[str, Attack] = {}
    for one in bad_requests(photo):
        found[one.kind] = _sends(one)
    for name, data in {**bombs(), **programs("touch sung")}.items():
        # which of them is damaged and which too large is not the point: it is refused in one sentence
        found[f"a bomb: {name}"] = _sends(Ask(name, in_form(data), FORM, 0))
        found[f"a bomb in base64: {name}"] = _sends(
            Ask(name, json.dumps({"image": base64.b64encode(data).decode()}).encode(), JSON, 0)
        )
        found[f"where it looks: {name}"] = _sends(Ask(name, in_form(data), FORM, 0), "/attention")
    deep = b'{"image": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    bodies = {
        "JSON nested deeply": deep, "objects nested deeply": b'{"a":' * 200_000, "a number of a million digits": b'{"image": ' + b"9" * 10**6 + b"}",
        "a million texts": b'{"image": [' + b'"",' * 10**6 + b'""]}', "a key a million times": b"{" + b'"image": "", ' * 10**5 + b'"image": ""}', "no UTF-8": b'{"image": "\xff\xfe"}',
        "a long key": b'{"' + b"x" * 10**6 + b'": 1}', "half a surrogate": b'{"image": "\\ud800"}', "a null": b"null", "NaN": b'{"image": NaN}',
    }  # fmt: skip
    for name, body in bodies.items():
        found[name] = _sends(Ask(name, body, JSON, 0))
    parts = (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n\r\n' for _ in range(5000))
        + b"--x--\r\n"
    )
    nested = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x--\r\n'
    forms = {
        "5,000 parts": (parts, "x"), "a part within a part": (nested, "x"), "no boundary": (parts, ""), "a long boundary": (parts, "x" * 10_000), "an odd boundary": (parts, "\x01"),
        "a header without end": (b'--x\r\nContent-Disposition: form-data; name="image"' + b"x" * 10**6, "x"), "many headers": (b"--x\r\n" + b"A: b\r\n" * 10**5, "x"),
        "a hostile name": (b'--x\r\nContent-Disposition: form-data; name="image"; filename="../../\x1b[2J<script>"\r\n\r\nx\r\n--x--\r\n', "x"),
    }  # fmt: skip
    for name, (body, boundary) in forms.items():
        found[name] = _sends(Ask(name, body, f"multipart/form-data; boundary={boundary}".strip("\x01"), 0))
    for name, text in {
        "no HTTP": b"hello\r\n\r\n", "HTTP/0.9": b"GET /\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "TLS": b"\x16\x03\x01\x02\x00" + bytes(512), "nulls": bytes(10_000),
        "a long line": b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\n\r\n", "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 10**6 + b"\r\n\r\n",
        "many headers at once": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 50_000 + b"\r\n", "no host": b"GET / HTTP/1.1\r\n\r\n", "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "a negative length": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "two lengths": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "a length and chunks": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        "a length of 10^30": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n",
        "chunks of no size": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk of 2^70": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n400000000000000000\r\n",
        "another encoding": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", "an upgrade": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                "a way out": b"GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "a way out, encoded": b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a hundred at once": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100, "a method": b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a proxy": b"GET http://127.0.0.1:22/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a range": b"GET /static/redoc.standalone.js HTTP/1.1\r\nHost: localhost\r\nRange: bytes=" + b"0-1," * 5000 + b"0-1\r\n\r\n",
        "a metric": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: " + b"application/openmetrics-text;" * 500 + b"\r\n\r\n",
    }.items():  # fmt: skip
        found[name] = _says(text)
    for name, head in {
        "another name": "GET /model HTTP/1.1\r\nHost: evil.example",
        "a name that ends as ours": "GET /model HTTP/1.1\r\nHost: localhost.evil.example",
        "another site": "POST /predict HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0",
        "a page without a site": "POST /predict HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 0",
    }.items():
        found[name] = _says(f"{head}\r\n\r\n".encode(), only=b"HTTP/1.1 403")
    return found


def slow_attacks() -> dict[str, Attack]:
    """Those that would hold a connection; each is ended by the server."""
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = SECONDS + 5.0 + HEADER_SECONDS + 5.0
    return {
        "nothing": _drips(b"", b"", HEADER_SECONDS + 5),
        "a header a byte at a time": _drips(b"GET / HTTP/1.1\r\nA: ", b"a", HEADER_SECONDS + 5),
        "a body a byte at a time": _drips(head + b"Content-Length: 1000000\r\n\r\n", b" ", whole),
        "chunks a byte at a time": _drips(head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", whole),
        "chunks without end": _drips(
            head + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + bytes(0x8000) + b"\r\n", whole, pause=0.0
        ),
        "a body that was answered": _drips(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b" ", HEADER_SECONDS + 8
        ),
        "an answer that is not read": _unread,
    }


def _sends(one: Ask, page: str = "/predict") -> Attack:
    def attack(port: int, draw: random.Random) -> str:
        with connected(port) as connection:
            for _ in range(TRIES):
                if page == "/predict":
                    status, text = send(connection, one)
                else:
                    connection.request("POST", page, one.body, {"Content-Type": one.content_type})
                    answer = connection.getresponse()
                    status, text = answer.status, answer.read()
                if status != 503:
                    break
                time.sleep(0.2)
        # a GIF of many frames is one image, and small ones may be right: what counts is that it is an answer
        if status not in ((one.status,) if one.status else (200, 400, 404, 413, 415, 422)):
            return f"{status}: {text[:200]!r}"
        if status == 200:
            return ""
        told = json.loads(text)
        sentence = told.get("error", "")
        return (
            ""
            if list(told) == ["error"] and 0 < len(sentence) < 400 and "\n" not in sentence
            else f"no one sentence: {text[:200]!r}"
        )

    return attack


@contextlib.contextmanager
def _socket(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as opened:
        yield opened


def _says(text: bytes, only: bytes = b"") -> Attack:
    """Bytes that are no good request; whatever comes back is no fault of the server's, or begins with ``only``."""

    def attack(port: int, draw: random.Random) -> str:
        with _socket(port) as opened:
            with contextlib.suppress(ConnectionError):
                opened.sendall(text)
                opened.shutdown(socket.SHUT_WR)
            answer = _rest(opened)
        for line in answer.split(b"\r\n"):
            if line.startswith(b"HTTP/1.1 5") and not line.startswith((b"HTTP/1.1 501", b"HTTP/1.1 503")):
                return line.decode(errors="replace")
        if only and not answer.startswith((only, b"HTTP/1.1 503")):
            return f"it was answered: {answer[:200]!r}"
        return "" if b"root:" not in answer else "a file was sent"

    return attack


def _drips(begin: bytes, drop: bytes, within: float, pause: float = 0.4) -> Attack:
    """A request that never ends; the server must."""

    def attack(port: int, draw: random.Random) -> str:
        started = time.monotonic()
        with _socket(port) as opened:
            opened.settimeout(pause or 0.001)
            try:
                opened.sendall(begin)
                while time.monotonic() - started < within:
                    with contextlib.suppress(TimeoutError):
                        if opened.recv(1 << 16) == b"":
                            return ""
                    if drop:
                        with contextlib.suppress(TimeoutError):
                            opened.send(drop)
            except ConnectionError:
                return ""
        return f"it was still open after {within:g} s"

    return attack


def _unread(port: int, draw: random.Random) -> str:
    """Ask for much, and read nothing."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(PATIENCE)
        opened.connect(("127.0.0.1", port))
        opened.sendall(b"GET /static/redoc.standalone.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        time.sleep(draw.uniform(0, 2))
        if draw.random() < 0.5:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # gone without a word
    return ""


def _rest(opened: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := opened.recv(1 << 16):
            data += piece
    return data


def _attack(tally: Tally, server: Server, requests: int) -> None:
    """All hostile requests, in rounds, with good ones all the while; memory in the midst of each round, and at rest after it."""
    quick, slow = list(attacks().items()), list(slow_attacks().items())
    lock, left, good, sizes = threading.Lock(), [0], Counter[str](), [resident(server.port)]
    busy: list[float] = []
    places = list(range(CLIENTS))  # every kind in turn, each client from another one on
    draws = [random.Random(number) for number in places]
    done = threading.Event()

    def hostile(number: int) -> None:
        draw = draws[number]
        while True:
            with lock:
                if left[0] <= 0:
                    return
                left[0] -= 1
            name, attack = draw.choice(slow) if draw.random() < SLOW_SHARE else quick[places[number] % len(quick)]
            places[number] += 1
            try:
                wrong = attack(server.port, draw)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            with lock:
                tally.count(name, wrong)

    def friendly() -> None:
        photo, ask = jpeg((8, 8)), Ask("good", b"", FORM, 200)
        ask = ask._replace(body=in_form(photo))
        while not done.is_set():
            started = time.monotonic()
            try:
                with connected(server.port) as connection:
                    for _ in range(TRIES):
                        status, text = send(connection, ask)
                        if status != 503:
                            break
                        time.sleep(0.2)
                right = status == 200 and json.loads(text)["predictions"][0]["class"] in networks.CLASSES
            except Exception:
                right = False
            with lock:
                good["right" if right else "wrong"] += 1
                good["slowest"] = max(good["slowest"], round(1000 * (time.monotonic() - started)))

    others = [threading.Thread(target=friendly) for _ in range(GOOD_CLIENTS)]
    for thread in others:
        thread.start()
    for round_ in range(ROUNDS):
        left[0] = requests * (round_ + 1) // ROUNDS - requests * round_ // ROUNDS
        threads = [threading.Thread(target=hostile, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while left[0] > requests // (2 * ROUNDS):
            time.sleep(0.1)
        busy.append(resident(server.port))
        for thread in threads:
            thread.join()
        # what is in hand at a moment is bounded by limits.memory and no leak: what is kept is to be seen
        time.sleep(REST_SECONDS)
        sizes.append(resident(server.port))
    done.set()
    for thread in others:
        thread.join()
    answered = good["right"] / max(1, good["right"] + good["wrong"])
    tally.count(
        "good answers meanwhile",
        "" if answered >= GOOD_SHARE else f"{answered:.2%} of {good['right'] + good['wrong']:,}",
    )
    # what the allocator and the network need is there after the first round
    for when, seen, most in (("at rest", sizes[1:], MOST_GROWTH), ("at work", busy, MOST_GROWTH_AT_WORK)):
        grown = seen[-1] / seen[0]
        tally.count(f"memory {when}", "" if grown < most else f"from {seen[0]:.0f} to {seen[-1]:.0f} MB")
    tally.facts.append(
        f"{good['right']:,} of {good['right'] + good['wrong']:,} good requests were answered right meanwhile, the slowest in {good['slowest'] / 1000:.1f} s"
    )
    for when, seen in (("at rest", sizes), ("at work", busy)):
        tally.facts.append(f"resident memory in MB, {when}: {', '.join(f'{size:.0f}' for size in seen)}")


def _stop(tally: Tally, server: Server) -> None:
    """SIGTERM while requests are under way: each is answered, and nothing else."""
    body = in_form(jpeg((8, 8)))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    opened = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(8)]
    for one in opened:
        one.sendall(head + body[: len(body) // 2])
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    answers = []
    for one in opened:
        with contextlib.suppress(OSError):
            one.sendall(body[len(body) // 2 :])
    for one in opened:
        answers.append(_rest(one))
        one.close()
    right = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    tally.count(
        "SIGTERM answers what is under way",
        "" if right == len(opened) else f"{right} of {len(opened)}: {answers[0][:200]!r}",
    )
    code = server.process.wait(PATIENCE)
    tally.count("SIGTERM ends with 0", "" if code == 0 else f"exit code {code}")


def _help(tally: Tally) -> None:
    """Each limit is told by ``--help``."""
    told = ask(serve, ["--help"]).out
    for one in dataclasses.fields(Limits):
        tally.count(f"--help tells of limits.{one.name}", "" if f"limits.{one.name}" in told else "it does not")


def _open(tally: Tally, folder: Path) -> None:
    """A server for every network says so, unless it has a key; with one it answers only who brings it."""
    for words, warned in ((["host=0.0.0.0"], True), (["host=0.0.0.0", f"token={KEY}"], False)):
        with serving("run=run", *words) as server:
            said = server.said()
            told = any("anyone who reaches this machine can ask" in line for line in said)
            tally.count(f"a server of {words} warns: {warned}", "" if told == warned else str(said))
            if not warned:
                _ask_locked(tally, server.port)


def _ask_locked(tally: Tally, port: int) -> None:
    keys = {"no key": None, "a wrong key": "x", "half a key": KEY[:-1], "a longer key": f"{KEY}x", "a key of letters": "é\x80", "the key": KEY}  # fmt: skip
    for name, key in keys.items():
        for method, page in (("POST", "/predict"), ("POST", "/attention"), ("GET", "/model"), ("GET", "/metrics")):
            with connected(port) as connection:
                headers = {"Content-Type": FORM, **({} if key is None else {"Authorization": f"Bearer {key}".encode("latin-1")})}  # fmt: skip
                connection.request(method, page, in_form(jpeg((8, 8))) if method == "POST" else None, headers)
                status = connection.getresponse().status
            tally.count(f"{method} {page} with {name}", "" if (status != 401) == (key == KEY) else f"status {status}")


def _named(tally: Tally, folder: Path) -> None:
    """The pages of a model whose classes have hostile names, and their answer to an image."""
    names = [*HOSTILE, *LONG]
    weights = networks.hdf5(lambda file: networks.write_arrays(file, units=len(names)))
    config = networks.network(units=len(names))
    make_run(folder / MARKED, networks.keras_file(folder / "named.keras", config, weights), names)
    (folder / "a.jpg").write_bytes(jpeg((8, 8)))
    with serving(f"run={MARKED}", *LIMITS) as server, browser.chromium() as opened:
        at = f"http://127.0.0.1:{server.port}"
        answered = "return document.querySelectorAll('#classes li').length >= 10"
        tally.count("/ of hostile names", browser.fault(opened, at))
        opened.find_element("id", "file").send_keys(str(folder / "a.jpg"))
        tally.count("an answer of hostile names", browser.settled(opened, answered))
        tally.count("a script that gets into the page", browser.intruder(opened))
        for page, ready in (("/docs", "return document.querySelector('.opblock') !== null"), ("/redoc", "return document.querySelector('h1') !== null")):  # fmt: skip
            tally.count(f"{page} of hostile names", browser.fault(opened, f"{at}{page}", ready))
            tally.count(f"a script that gets into {page}", browser.intruder(opened))

"""A server under load: good and bad requests of many clients at once, then batched throughput against one at a time.

    python -m benchmarks.serve
    python -m benchmarks.serve --requests 20000 --clients 16

The network is a MobileNet (width 0.25, 224 px) with ImageNet weights where they are to be had; its new head is random,
which costs the same. Every good answer is held against what ``framework.predict`` says of the same file, every bad
request against the status that its kind gets. Clients and server share the machine's processors.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.hostile.files import bomb
from benchmarks.measure import ROOT, needs, report, weights_file

CLASSES = tuple("abcdefghij")
PHOTOS = 24
NEAR = 1e-3  # an image's place in a batch moves its probabilities in the last digits
BOUNDARY = "8a1f0c55d1be4b7f"
FORM, JSON = f"multipart/form-data; boundary={BOUNDARY}", "application/json"
START_SECONDS = 120.0


class Ask(NamedTuple):
    """A request and what it must get: a status, and of a good one the files whose classes are asked for."""

    kind: str
    body: bytes
    content_type: str
    status: int
    files: tuple[str, ...] = ()


class Server(NamedTuple):
    """A running server: its port, its process, what it says on standard error."""

    port: int
    process: subprocess.Popen[str]
    told: IO[str]

    def said(self) -> list[str]:
        """Its lines so far."""
        return _said(self.told)


def main() -> None:
    """Load a server with good and bad requests, then measure its throughput both ways; print both."""
    needs("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client")
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2000, help="good and bad ones, of all clients")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement of throughput")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        model = _make_model(folder / "mobilenet.keras")
        photos = _make_photos(folder / "photos")
        wanted = _predicted(model, folder / "photos")
        soaked = _soak(model, photos, wanted, options.requests, options.clients)
        _throughput(model, photos, options.clients, options.seconds, options.repeats)
    if not soaked:
        sys.exit("a request did not get the answer that it must")


def _soak(model: Path, photos: dict[str, bytes], wanted: dict[str, Any], requests: int, clients: int) -> bool:
    good, bad = _good(photos), bad_requests(next(iter(photos.values())))
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    sizes: list[float] = []
    lock = threading.Lock()

    def client(number: int, count: int) -> None:
        chance = random.Random(number)
        with connected(server.port) as connection:
            for _ in range(count):
                ask = chance.choice(good if chance.random() < 0.5 else bad)
                fault = _check(ask, *send(connection, ask), wanted)
                with lock:
                    counts["good" if ask.status == 200 else "bad"] += 1
                    if fault:
                        wrong.append(f"{ask.kind}: {fault}")

    with serving(*_of(model), "limits.bytes=4000000", "limits.request_bytes=8000000") as server:
        # the allocator takes what it will need in the first fifth
        for share in (0.2, 0.2, 0.2, 0.2, 0.2):
            each = max(1, round(requests * share / clients))
            _together([lambda number=number, each=each: client(number, each) for number in range(clients)])  # type: ignore[misc]
            sizes.append(resident(server.port))
    report(
        f"{counts.total():,} requests of {clients} clients, {counts['good']:,} good, {counts['bad']:,} bad",
        ["", *(f"after {number} of 5" for number in range(1, 6))],
        [["resident memory of the server, MB", *(f"{size:.0f}" for size in sizes)]],
        f"answers other than they must be: {len(wrong)}",
    )
    for kind, count in Counter(wrong).most_common(10):
        print(f"{count} × {kind}")
    return not wrong


def _throughput(model: Path, photos: dict[str, bytes], clients: int, seconds: float, repeats: int) -> None:
    asks = [ask for ask in _good(photos) if ask.content_type == FORM and len(ask.files) == 1]
    rates: dict[str, list[float]] = {"alone": [], "together": []}
    with serving(*_of(model), "batch_size=1", "batch_wait=0") as alone, serving(*_of(model)) as together:
        for _ in range(repeats):
            rates["alone"].append(_rate(alone.port, asks, 1, seconds))
            rates["together"].append(_rate(together.port, asks, clients, seconds))
        size = _figure(together.port, "framework_batch_images_sum") / _figure(
            together.port, "framework_batch_images_count"
        )
    first, second = (statistics.median(rates[name]) for name in ("alone", "together"))
    report(
        f"Throughput, median of {repeats} × {seconds:g} s",
        ["", "images a second", "of each repeat"],
        [
            ["one client, batches of one", f"{first:.1f}", " ".join(f"{rate:.1f}" for rate in rates["alone"])],
            [f"{clients} clients, batches", f"{second:.1f}", " ".join(f"{rate:.1f}" for rate in rates["together"])],
        ],
        f"{second / first:.2f} times as many; {size:.1f} images a batch",
    )


def _rate(port: int, asks: Sequence[Ask], clients: int, seconds: float) -> float:
    """Answers a second, after a second of running warm."""
    counts = [0] * clients
    begin = time.perf_counter() + 1
    until = begin + seconds

    def client(number: int) -> None:
        with connected(port) as connection:
            place = number
            while (now := time.perf_counter()) < until:
                status, text = send(connection, asks[place % len(asks)])
                assert status == 200, text
                counts[number] += begin <= now
                place += 1

    _together([lambda number=number: client(number) for number in range(clients)])  # type: ignore[misc]
    return sum(counts) / seconds


def _together(work: Sequence[Callable[[], None]]) -> None:
    failed: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _check(ask: Ask, status: int, text: bytes, wanted: dict[str, Any]) -> str:
    """What is wrong with an answer; empty if nothing."""
    if status != ask.status:
        return f"{status} in place of {ask.status}: {text[:200]!r}"
    told = json.loads(text)
    if status != 200:
        sentence = told.get("error", "")
        return (
            "" if list(told) == ["error"] and sentence and "\n" not in sentence else f"no one sentence: {text[:200]!r}"
        )
    found = told["predictions"]
    if len(found) != len(ask.files):
        return f"{len(found)} answers for {len(ask.files)} images"
    for name, one in zip(ask.files, found, strict=True):
        shares = {entry["class"]: entry["probability"] for entry in one["top"]}
        if any(abs(share - wanted[name][key]) > NEAR for key, share in shares.items()):
            return f"not what predict says of {name}: {shares}"
    return ""


@contextlib.contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection to a server on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def send(connection: http.client.HTTPConnection, ask: Ask) -> tuple[int, bytes]:
    """Status and text of an answer."""
    connection.request("POST", "/predict", ask.body, {"Content-Type": ask.content_type})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _of(model: Path) -> list[str]:
    return [f"model={model}", f"classes=[{','.join(CLASSES)}]", "preprocess=tf"]


@contextlib.contextmanager
def serving(*words: str) -> Iterator[Server]:
    """A server of its own process, told these words, ended as Ctrl-C does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            [sys.executable, "-m", "framework.serve", "port=0", *words], stderr=told, env=environment, text=True
        ) as it,
    ):
        try:
            yield Server(_port(it, told), it, told)
        finally:
            it.terminate()
            it.wait(START_SECONDS)


def _port(process: subprocess.Popen[str], told: IO[str]) -> int:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        text = "".join(_said(told))
        if found := re.search(r"http://[\d.]+:(\d+)", text):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"the server did not start:\n{text}")


def _said(told: IO[str]) -> list[str]:
    # its place in the file is the server's too: read from another one
    with open(f"/proc/self/fd/{told.fileno()}", encoding="utf-8") as again:
        return again.readlines()


def _figure(port: int, name: str) -> float:
    with connected(port) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


def resident(port: int) -> float:
    """Memory that a server has, in MB, as it says itself."""
    return _figure(port, "process_resident_memory_bytes") / 1e6


def _make_model(path: Path) -> Path:
    from framework.core.backend import keras, load_tensorflow

    load_tensorflow()
    keras.utils.set_random_seed(1)
    base = keras.applications.MobileNet(
        alpha=0.25, input_shape=(224, 224, 3), include_top=False, weights=weights_file("mobilenet", None), pooling="avg"
    )
    keras.Model(base.input, keras.layers.Dense(len(CLASSES))(base.output)).save(path)
    return path


def _make_photos(folder: Path) -> dict[str, bytes]:
    """Smooth images of 640×480 with some noise, JPEG: about the bytes and the work of a photo of that size."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 6, (480, 640, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.jpg", quality=88)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _predicted(model: Path, photos: Path) -> dict[str, Any]:
    """Of each file the probability of each class, as ``framework.predict`` says."""
    named = [str(photos), f"model={model}", f"classes=[{','.join(CLASSES)}]", "preprocess=tf"]
    command = [sys.executable, "-m", "framework.predict", *named, "format=jsonl", f"top={len(CLASSES)}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"predict ended with {done.returncode}:\n{done.stderr}")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(one["path"]).name: {entry["class"]: entry["probability"] for entry in one["top"]} for one in told}


def _good(photos: dict[str, bytes]) -> list[Ask]:
    """Each image as a file and as base64, and some together."""
    names = list(photos)
    asks = [Ask("a file", in_form(photos[name]), FORM, 200, (name,)) for name in names]
    asks += [Ask("base64", in_json(photos[name]), JSON, 200, (name,)) for name in names]
    for start in range(0, len(names) - 2, 3):
        some = tuple(names[start : start + 3])
        asks.append(Ask("three files", in_form(*(photos[name] for name in some)), FORM, 200, some))
        asks.append(Ask("three in base64", in_json(*(photos[name] for name in some)), JSON, 200, some))
    return asks


def bad_requests(photo: bytes) -> list[Ask]:
    """One request of each bad kind, with the status that it must get."""
    text = base64.b64encode(photo).decode()
    return [
        Ask("a text called .jpg", in_form(b"hello, I am no image"), FORM, 415),
        Ask("an empty file", in_form(b""), FORM, 400),
        Ask("a truncated image", in_form(photo[: len(photo) // 2]), FORM, 422),
        Ask("a header alone", in_form(photo[:20]), FORM, 422),
        Ask("a decompression bomb", in_form(bomb(60_000, 60_000)), FORM, 413),
        Ask("100 megapixels", in_form(bomb(10_000, 10_000)), FORM, 413),
        Ask("too many bytes", in_form(photo + bytes(4_000_001)), FORM, 413),
        Ask("too long a request", in_form(bytes(3_000_000), bytes(3_000_000), bytes(3_000_000)), FORM, 413),
        Ask("too many images", in_form(*[photo] * 17), FORM, 413),
        Ask("another field", in_form(photo, field="photo"), FORM, 400),
        Ask("half a form", in_form(photo)[:-60], FORM, 400),
        Ask("an empty body", b"", JSON, 400),
        Ask("no JSON", b'{"image": ', JSON, 400),
        Ask("JSON of another shape", b'{"image": {"a": 1}}', JSON, 400),
        Ask("an unknown field", json.dumps({"image": text, "more": 1}).encode(), JSON, 400),
        Ask("no base64", b'{"image": "!!!"}', JSON, 400),
        Ask("another kind of request", photo, "image/jpeg", 415),
    ]


def in_form(*contents: bytes, field: str = "image") -> bytes:
    """A form of files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n\r\n'.encode()
        + one
        + b"\r\n"
        for one in contents
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def in_json(*contents: bytes) -> bytes:
    """The same in base64."""
    return json.dumps({"image": [base64.b64encode(one).decode() for one in contents]}).encode()


if __name__ == "__main__":
    main()

"""A server in a thread of this process, and requests good and bad."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from PIL import Image

from benchmarks.hostile.files import bomb
from framework.evaluation.rejection import Rejection
from framework.model.saved import ModelOptions, open_trained
from framework.serving.application import application
from framework.serving.classifier import Classifier
from framework.serving.connections import punctual
from framework.serving.limits import Limits
from framework.serving.metrics import Metrics

RED, GREEN = (210, 40, 40), (40, 190, 60)


def jpeg(colour=RED, size=(60, 40), **more) -> bytes:
    """An image of one colour and some noise."""
    rng = np.random.default_rng(1)
    pixels = np.clip(np.asarray(colour) + rng.normal(0, 9, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, more.pop("format", "JPEG"), **more)
    return file.getvalue()


def files(*contents: bytes, name: str = "a.jpg") -> dict:
    """What httpx takes for a form of files."""
    return {"files": [("image", (name, content, "image/jpeg")) for content in contents]}


# each with the status that it gets
BAD: dict[str, tuple[Callable[[], dict], int]] = {
    "a text called .jpg": (lambda: files(b"hello, I am no image"), 415),
    "nothing in the file": (lambda: files(b""), 400),
    "a truncated image": (lambda: files(jpeg()[:-400]), 422),
    "a header alone": (lambda: files(jpeg()[:20]), 422),
    "a decompression bomb": (lambda: files(bomb(60_000, 60_000)), 413),
    "100 megapixels": (lambda: files(bomb(10_000, 10_000)), 413),
    "too many bytes": (lambda: files(jpeg() + bytes(300_000)), 413),
    "a request that is too long": (lambda: files(*[bytes(190_000)] * 6), 413),
    "too many images": (lambda: files(*[jpeg()] * 5), 413),
    "a wrong field": (lambda: {"files": [("photo", ("a.jpg", jpeg(), "image/jpeg"))]}, 400),
    "a text in place of a file": (
        lambda: {"data": {"image": "x"}, **{"files": [("image", ("a.jpg", jpeg()))]}},
        400,
    ),
    "no body": (dict, 415),
    "an empty form": (lambda: {"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400),
    "a form without an end": (
        lambda: {"content": b"--x\r\nbad", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        400,
    ),
    "another kind of request": (lambda: {"content": jpeg(), "headers": {"Content-Type": "image/jpeg"}}, 415),
    "JSON that is none": (lambda: {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    "JSON of another shape": (lambda: {"json": {"image": 3}}, 400),
    "an unknown field": (lambda: {"json": {"image": "", "more": 1}}, 400),
    "no base64": (lambda: {"json": {"image": "!!!"}}, 400),
    "base64 of a text": (lambda: {"json": {"image": base64.b64encode(b"hello").decode()}}, 415),
    "an empty list": (lambda: {"json": {"image": []}}, 400),
    "a bad number": (lambda: {**files(jpeg()), "params": {"top": "x"}}, 400),
    "no class": (lambda: {**files(jpeg()), "params": {"top": "0"}}, 400),
}


@contextlib.contextmanager
def server(
    run: Path,
    limits: Limits,
    batch: int = 8,
    wait: float = 0.005,
    called: str = "colours",
    threshold: float | None = None,
    **access: Any,
) -> Iterator[str]:
    """The address of a server that answers with a run's model."""
    metrics = Metrics()
    unsure = None if threshold is None else Rejection(threshold, None, 0, 1)
    classifier = Classifier(open_trained(ModelOptions(run=str(run))), limits, metrics, batch, wait, unsure)
    classifier.load()
    app = application(classifier, limits, metrics, called, **access)
    config = uvicorn.Config(app, port=0, log_level="error", http=punctual(limits), ws="none")
    serving = uvicorn.Server(config)
    thread = threading.Thread(target=serving.run)
    thread.start()
    while not serving.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}"
    serving.should_exit = True
    thread.join()
    classifier.close()


def client(address: str) -> httpx.Client:
    """A client of a server."""
    return httpx.Client(base_url=address, timeout=30, trust_env=False)

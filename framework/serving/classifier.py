"""A trained classifier that answers many clients: worker threads decode, one thread runs the network."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from framework.core.backend import load_tensorflow
from framework.core.errors import BadInput
from framework.evaluation.attention import GradCam
from framework.evaluation.familiar import Familiar
from framework.evaluation.forward import inference
from framework.evaluation.predictions import Prediction, form_of
from framework.evaluation.rejection import Rejection
from framework.model.saved import Trained
from framework.reports.attention import overlay
from framework.serving.batching import Batcher, Row
from framework.serving.decoding import Decoder
from framework.serving.limits import Limits, Refusal
from framework.serving.metrics import Metrics


class Upload(NamedTuple):
    """An image as it came: what messages call it, the name that its sender gave it, its bytes."""

    called: str
    name: str | None
    data: bytes


class Classifier:
    """Loads a model, then answers; ``ready`` says whether it does.

    Args:
        trained: the classifier.
        limits: on images.
        metrics: told of batches.
        batch: images that the network gets at once, at most.
        wait: seconds that an image waits for others at most.
        unsure: when the answer is ``unknown``; None for never.
        far: what distances are to; None where they are not asked for.
    """

    def __init__(
        self,
        trained: Trained,
        limits: Limits,
        metrics: Metrics,
        batch: int,
        wait: float,
        unsure: Rejection | None = None,
        far: Familiar | None = None,
    ):
        self.unsure, self._far = unsure, far
        self.task, self.geometry = trained.task, trained.geometry
        self.ready = False
        self._trained, self._metrics, self._batch, self._wait = trained, metrics, batch, wait
        self._decoder = Decoder(trained.geometry, limits)
        self._decoding = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "decode")
        self._looking = ThreadPoolExecutor(1, "attention")
        self._lock, self._coming = threading.Lock(), 0
        self._batcher: Batcher | None = None
        self._cam: GradCam | None = None
        metrics.watch(
            "framework_queue_images",
            "Decoded images that wait for the network.",
            lambda: self._batcher.waiting if self._batcher else 0,
        )
        metrics.watch("framework_decoding_images", "Images that wait for or are in decoding.", lambda: self._coming)

    @property
    def explains(self) -> bool:
        """Whether the model has feature maps for Grad-CAM."""
        return self._cam is not None

    def load(self) -> None:
        """Load the model and use every part of it once, so that no client pays for first times.

        Raises:
            BadInput: the model can't be loaded.
        """
        tensorflow = load_tensorflow()
        model = self._trained.load()
        network = inference(model, far=self._far)
        try:
            self._cam = GradCam(model, self.task)
        except BadInput:
            self._cam = None
        grey = np.full((*self.geometry.size, 3), 128, np.uint8)
        seen = grey[..., : self.geometry.channels]
        for size in sorted({1, 2, self._batch}):
            network(tensorflow.constant(np.stack([seen] * size)))
        self._decoder(_image(grey), "a grey image")
        if self._cam is not None:
            self._cam(seen, [0])
        self._batcher = Batcher(
            lambda images: network(tensorflow.constant(images)).numpy(),
            self._batch,
            self._wait,
            lambda: self._coming,
            self._metrics.batch,
        )
        self.ready = True

    async def predict(self, uploads: Sequence[Upload], top: int) -> list[Prediction]:
        """What the images show, in their order; ``top`` classes of each.

        Raises:
            Refusal: for the first image that can't be read.
        """
        answers: list[Future[Row]] = [self._start(upload) for upload in uploads]
        rows: list[Row] = []
        failure: BaseException | None = None
        for row in await asyncio.gather(*map(asyncio.wrap_future, answers), return_exceptions=True):
            if isinstance(row, BaseException):
                failure = failure or row
            else:
                rows.append(row)
        if failure is not None:
            raise failure
        form = form_of(self.task, top, self.unsure)
        return list(form.predictions([upload.name or "" for upload in uploads], np.stack(rows)))

    async def attention(self, upload: Upload, target: int | None) -> tuple[int, bytes]:
        """Where in an image the evidence for a class lies: the class, and the image with heat over it as JPEG.

        Args:
            upload: the image.
            target: number of the class; None is the likeliest.

        Raises:
            Refusal: the image can't be read, or the model has no feature maps.
        """
        return await asyncio.wrap_future(self._looking.submit(self._look, upload, target))

    def close(self) -> None:
        """Finish what is in hand and end all threads."""
        self.ready = False
        for pool in (self._decoding, self._looking):
            pool.shutdown(cancel_futures=True)
        if self._batcher is not None:
            self._batcher.close()
        self._decoder.close()

    def _start(self, upload: Upload) -> Future[Row]:
        answer: Future[Row] = Future()
        self._count(1)
        self._decoding.submit(self._decode, upload, answer)
        return answer

    def _decode(self, upload: Upload, answer: Future[Row]) -> None:
        try:
            if answer.cancelled():
                return
            assert self._batcher is not None
            self._batcher.put(self._decoder(upload.data, upload.called), answer)
        except Exception as error:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._coming += more

    def _look(self, upload: Upload, target: int | None) -> tuple[int, bytes]:
        if self._cam is None:
            raise Refusal(404, "this model has no feature maps, so where it looks can't be shown")
        image = self._decoder(upload.data, upload.called)
        if target is None:
            (target,) = self.task.likeliest(self._cam(image, [0])[1], 1)
        heats, _ = self._cam(image, [target])
        return target, _image(overlay(self._decoder.upright(upload.data, upload.called), heats[0]))


def _image(pixels: np.ndarray) -> bytes:
    """Pixels, uint8 RGB, as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88)
    return file.getvalue()

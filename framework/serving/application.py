"""The HTTP application: images in, classes out; a page for people, figures for Prometheus, a description for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framework import __version__
from framework.core.console import warn
from framework.data.decode import DEPTH
from framework.data.headers import is_deep
from framework.evaluation.predictions import form_of
from framework.serving.access import Door, Names, key, policy
from framework.serving.classifier import Classifier, Upload
from framework.serving.limits import Limits, Refusal
from framework.serving.metrics import Metrics
from framework.serving.uploads import SCHEMAS, Body, check_count, read

RETRY_SECONDS = 1
STATIC = "static"  # where the pages of the description have their scripts
_Answer = TypeVar("_Answer")


def application(
    classifier: Classifier,
    limits: Limits,
    metrics: Metrics,
    called: str,
    names: Names | None = None,
    token: str | None = None,
) -> FastAPI:
    """All pages of a server.

    Args:
        classifier: answers; loaded or about to be.
        limits: on requests.
        metrics: told of requests.
        called: what /model and the page call the model.
        names: that the server is called by; its own ones if none are given.
        token: the key that all but the page, /health and the description ask for; None for none.
    """
    pages = FastAPIOffline(
        docs_url=None,  # below, with its policy
        static_url=f"/{STATIC}",
        # nothing of the model's name: the pages take the title for HTML
        title="framework serve",
        version=__version__,
        description="Classes of images. Whatever is wrong with a request is said in one sentence: `error`.",
    )
    desk, locked = _Desk(classifier, limits), [Depends(key(token))]
    top, form = (
        len(classifier.task.classes),
        form_of(classifier.task, len(classifier.task.classes), classifier.unsure),
    )

    @pages.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        return _with_policy(_page())

    @pages.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def described() -> HTMLResponse:
        return _with_policy(_description(pages.title))

    @pages.post(
        "/predict", openapi_extra=_BODY, responses=_REFUSED, dependencies=locked, summary="The classes of images"
    )
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, description="how many of the likeliest classes are named")] = min(5, top),
    ) -> dict[str, Any]:
        async def work(uploads: list[Upload]) -> dict[str, Any]:
            found = await classifier.predict(uploads, top)
            named = zip(uploads, found, strict=True)
            return {
                "predictions": [{"image": upload.name, **form.record(one), **_note(upload)} for upload, one in named]
            }

        return await desk.handle(request, work)

    @pages.post(
        "/attention",
        openapi_extra=_BODY,
        responses={200: {"content": {"image/jpeg": {}}}, **_REFUSED},
        response_class=Response,
        dependencies=locked,
        summary="Where in an image the evidence for a class lies (Grad-CAM)",
    )
    async def attention(
        request: Request, target: Annotated[str | None, Query(description="a class; the likeliest if none")] = None
    ) -> Response:
        async def work(uploads: list[Upload]) -> Response:
            if len(uploads) > 1:
                raise Refusal(400, "one image at a time, please")
            if target is not None and target not in classifier.task.classes:
                raise Refusal(400, "there is no such class; /model lists them")
            number = None if target is None else classifier.task.classes.index(target)
            return Response((await classifier.attention(uploads[0], number))[1], media_type="image/jpeg")

        return await desk.handle(request, work)

    @pages.get("/model", dependencies=locked, summary="What the model is asked, and what a request may hold")
    def model() -> dict[str, Any]:
        height, width = classifier.geometry.size
        return {
            "model": called,
            "task": classifier.task.kind,
            "classes": list(classifier.task.classes),
            "counted": classifier.task.counted,
            "height": height,
            "width": width,
            "explains": classifier.explains,
            "unknown_below": classifier.unsure and classifier.unsure.threshold,
            "unknown_beyond": classifier.unsure and classifier.unsure.farthest,
            "limits": {"bytes": limits.bytes, "pixels": limits.pixels, "images": limits.images},
        }

    @pages.get("/health", responses={503: {}}, summary="Whether the model answers")
    def health() -> JSONResponse:
        return JSONResponse({"ready": classifier.ready}, 200 if classifier.ready else 503)

    @pages.get("/metrics", response_class=Response, dependencies=locked, summary="Figures for Prometheus")
    def figures(request: Request) -> Response:
        text, kind = metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": kind})

    @pages.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else None
        return JSONResponse({"error": refusal.sentence}, refusal.status, headers)

    @pages.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 400)

    @pages.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @pages.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:
        warn(f"a fault of this program: {type(error).__name__}: {error}")
        return JSONResponse({"error": "a fault of the server; its terminal says more"}, 500)

    pages.add_middleware(Door, names=names or Names())
    pages.add_middleware(_Counting, metrics=metrics, known={getattr(route, "path", "") for route in pages.routes})
    return pages


class _Desk:
    """Takes requests with images: reads them, keeps to the limits, has them answered in time."""

    def __init__(self, classifier: Classifier, limits: Limits):
        self._classifier, self._limits, self._in_hand, self._bytes = classifier, limits, 0, 0

    async def handle(self, request: Request, work: Callable[[list[Upload]], Awaitable[_Answer]]) -> _Answer:
        body = Body(request, self._limits.request_bytes, self._hold)
        try:
            return await asyncio.wait_for(self._answer(body, work), self._limits.seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f"no answer within {self._limits.seconds:g} s", RETRY_SECONDS) from None
        except Refusal:
            await body.drain()
            raise
        finally:
            self._bytes -= body.read

    def _hold(self, size: int) -> None:
        if self._bytes + size > max(self._limits.memory, self._limits.request_bytes):
            raise _busy()
        self._bytes += size

    async def _answer(self, body: Body, work: Callable[[list[Upload]], Awaitable[_Answer]]) -> _Answer:
        if self._in_hand >= self._limits.queue:
            raise _busy()
        uploads = await read(body, self._limits)
        check_count(len(uploads), self._limits)
        if self._in_hand and self._in_hand + len(uploads) > self._limits.queue:
            raise _busy()
        self._in_hand += len(uploads)
        try:
            return await work(uploads)
        finally:
            self._in_hand -= len(uploads)


class _Counting:
    """Counts requests by page and status, and their seconds."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: set[str]):
        self._app, self._metrics, self._known = app, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def listening(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, listening)
        finally:
            # any path can be asked for: those that are not there are one
            path = scope["path"] if scope["path"] in self._known else "other"
            self._metrics.request(path, status, time.perf_counter() - started)


def _busy() -> Refusal:
    return Refusal(503, "too many images are in hand already; try again soon", RETRY_SECONDS)


def _note(upload: Upload) -> dict[str, str]:
    """What the sender should know of how the image was read."""
    return {"note": DEPTH} if is_deep(upload.data) else {}


def _with_policy(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers={"Content-Security-Policy": policy(page)})


@cache
def _page() -> str:
    return (files("framework.serving") / "assets" / "page.html").read_text(encoding="utf-8")


@cache
def _description(title: str) -> str:
    answer = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{title} - Swagger UI",
        swagger_js_url=f"{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{STATIC}/favicon.png",
    )
    return bytes(answer.body).decode()


_BODY = {"requestBody": {"required": True, "content": SCHEMAS}}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": _ERROR}}}
    for status, what in {
        400: "the request can't be understood",
        401: "a key is needed, or it is another one",
        403: "asked by another name, or by a page of another site",
        413: "more bytes, pixels or images than are taken",
        415: "no kind of image, or of request, that is read here",
        422: "a damaged image",
        503: "too busy, or not in time: try again",
    }.items()
}

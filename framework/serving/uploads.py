"""The images in a request: files of a form, or base64 in JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, MutableMapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from framework.serving.classifier import Upload
from framework.serving.limits import DRAIN_SECONDS, Limits, Refusal, amount

FIELD = "image"
FORM, JSON = "multipart/form-data", "application/json"
_PARTS = 1000
_NAME_LENGTH = 200


class Encoded(BaseModel):
    """A request in JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)
    image: str | list[str] = Field(description="An image's file in base64, or a list of such.")


SCHEMAS = {
    FORM: {
        "schema": {
            "type": "object",
            "required": [FIELD],
            "additionalProperties": False,
            "properties": {
                FIELD: {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "format": "binary"},
                    "description": "One file or several, each a part of this name.",
                }
            },
        }
    },
    JSON: {"schema": Encoded.model_json_schema()},
}


class Body:
    """A request's body that ends the reading when it gets longer than allowed.

    Args:
        request: whose body it is.
        most: bytes.
        hold: told of the bytes of each piece before they are kept; what it raises ends the reading.
    """

    def __init__(self, request: Request, most: int, hold: Callable[[int], None]):
        self._receive, self._most, self._hold, self.read = request.receive, most, hold, 0
        self.finished = False
        self.request = Request(request.scope, self._next)

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        size = len(message.get("body", b""))
        self.finished = not message.get("more_body", False)
        self._hold(size)
        self.read += size
        if self.read > self._most:
            raise _too_long(self._most)
        return message

    async def drain(self) -> None:
        """Take what is left, within reason: a client that still sends does not hear the answer."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(), DRAIN_SECONDS)

    async def _drain(self) -> None:
        left = self._most
        while not self.finished and left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            self.finished = not message.get("more_body", False)


async def read(body: Body, limits: Limits) -> list[Upload]:
    """The images of a request, one at least; they are not looked at yet.

    Raises:
        Refusal: it is not in a form that is read here, or has more than allowed.
    """
    request = body.request
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.request_bytes:
        raise _too_long(limits.request_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (FORM, JSON):
        got = f", not as {kind[:60]}" if kind.isascii() and kind.isprintable() and kind else ""
        raise Refusal(415, f"send files as {FORM} or base64 as {JSON}{got}")
    try:
        found = await (_form(request, limits) if kind == FORM else _json(request, limits))
    except ClientDisconnect:
        raise Refusal(400, "the client went away before the request was whole") from None
    if not found:
        raise Refusal(400, f"the request holds no image; send one as '{FIELD}'")
    return found


def check_count(count: int, limits: Limits) -> None:
    """Refuse too many images.

    Raises:
        Refusal: there are more than one request may hold.
    """
    if count > limits.images:
        raise Refusal(413, f"the request holds {count} images; at most {limits.images} are taken at once")


async def _form(request: Request, limits: Limits) -> list[Upload]:
    try:
        form = await request.form(max_files=_PARTS, max_fields=_PARTS)
    except (HTTPException, MultiPartException) as error:
        reason = error.detail if isinstance(error, HTTPException) else error.message
        raise Refusal(400, f"the form can't be read: {str(reason).rstrip('.')}") from None
    try:
        entries = form.multi_items()
        for key, value in entries:
            if key != FIELD:
                raise Refusal(400, f"there is no field {_quoted(key)}; send files as '{FIELD}'")
            if not isinstance(value, UploadFile):
                raise Refusal(400, f"the field '{FIELD}' holds a text and no file")
        files = [value for _, value in entries if isinstance(value, UploadFile)]
        check_count(len(files), limits)
        found = []
        for number, file in enumerate(files, start=1):
            called = _called(number, len(files), name := _name(file.filename))
            if (file.size or 0) > limits.bytes:
                what = f"{called} has {amount(file.size or 0)}bytes"
                raise Refusal(413, f"{what}; at most {amount(limits.bytes)}bytes are taken")
            found.append(Upload(called, name, await file.read()))
        return found
    finally:
        await form.close()


async def _json(request: Request, limits: Limits) -> list[Upload]:
    data = await request.body()
    if not data:
        raise Refusal(400, f'the request is empty; send {{"{FIELD}": "BASE64"}}')
    # large texts take a while: other requests go on meanwhile
    return await asyncio.to_thread(_decoded, data, limits)


def _decoded(data: bytes, limits: Limits) -> list[Upload]:
    try:
        given = Encoded.model_validate_json(data).image
    except ValidationError as error:
        raise Refusal(400, _sentence(error)) from None
    texts = [given] if isinstance(given, str) else given
    check_count(len(texts), limits)
    found = []
    for number, text in enumerate(texts, start=1):
        called = _called(number, len(texts), None)
        try:
            found.append(Upload(called, None, base64.b64decode(text, validate=True)))
        except (binascii.Error, ValueError):
            raise Refusal(400, f"{called} is not in base64") from None
    return found


def _sentence(error: ValidationError) -> str:
    """What is wrong with the JSON, one thing, in a sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the request is not JSON: {first['ctx']['error']}"
    if first["type"] == "extra_forbidden":
        return f"there is no field {_quoted(str(first['loc'][-1]))}; send images as '{FIELD}'"
    if first["type"] == "missing":
        return f'the field \'{FIELD}\' is missing; send {{"{FIELD}": "BASE64"}}'
    return f'\'{FIELD}\' must be a text in base64, or a list of such: {{"{FIELD}": "BASE64"}}'


def _too_long(most: int) -> Refusal:
    return Refusal(413, f"the request is too long; at most {amount(most)}bytes are taken")


def _called(number: int, count: int, name: str | None) -> str:
    place = f"image {number}" if count > 1 else "the image"
    return f"{place} ({_quoted(name)})" if name else place


def _name(given: str | None) -> str | None:
    """The last part of a file's name, of a length that can be shown."""
    return (given or "").replace("\\", "/").rpartition("/")[2][:_NAME_LENGTH] or None


def _quoted(text: str) -> str:
    """In quotes on one line, what can't be printed left out."""
    return "'" + "".join(letter for letter in text[:_NAME_LENGTH] if letter.isprintable()) + "'"

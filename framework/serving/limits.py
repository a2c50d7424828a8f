"""What a request may ask for, and the refusal of one that asks for more or for what can't be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framework.core.schema import Count, Positive

DRAIN_SECONDS = 5.0  # for the rest of a request that is refused: a client that still sends does not hear the answer


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on requests; each is also an option of the command."""

    bytes: Annotated[Count, "of an image's file; a larger one gets 413"] = 16_000_000
    request_bytes: Annotated[Count, "of a whole request, base64 as it is sent"] = 64_000_000
    pixels: Annotated[Count, "of an image, read from its header before it is decoded"] = 50_000_000
    images: Annotated[Count, "in one request"] = 16
    seconds: Annotated[Positive, "for a request, from its header to its answer"] = 30.0
    header_seconds: Annotated[Positive, "for a request's header, from the connection on; then it is closed"] = 10.0
    connections: Annotated[Count, "open at once; one more is closed"] = 512
    memory: Annotated[Count, "bytes of all requests in hand at once; one more gets 503"] = 256_000_000
    queue: Annotated[Count, "images in hand at once, of all clients; one more gets 503 and when to try again"] = 64


class Refusal(Exception):
    """An answer that is no success.

    Args:
        status: of HTTP, 4xx or 5xx.
        sentence: what is wrong and what would be right; it names no path of this machine.
        retry_after: seconds after which the same request may well succeed.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


def amount(number: int) -> str:
    """A number of bytes or pixels with a unit's prefix that reads well: 16 M, 1.5 M, 800."""
    for size, prefix in ((1_000_000, " M"), (1_000, " k")):
        if number >= size:
            return f"{number / size:.3g}{prefix}" if number < 1000 * size else f"{number / size:,.0f}{prefix}"
    return f"{number} "

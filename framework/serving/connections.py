"""Connections to a server, each with an end: nobody holds one by sending or reading slowly, or all by opening many.

uvicorn waits without end for a request's first lines, for the rest of a body that was answered before its end, and for
who does not read. Here a clock runs for each connection at all times, and closes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from framework.serving.limits import DRAIN_SECONDS, Limits

_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


def punctual(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with these limits on the time of a connection and on how many there are."""
    # one that is not answered in time is refused, the rest of its body drained, the refusal sent
    whole = limits.seconds + DRAIN_SECONDS + limits.header_seconds
    said = b'{"error": "the request\'s header did not come within %g s"}' % limits.header_seconds
    late = _LATE % (len(said), said)

    class Punctual(H11Protocol):
        """A connection that ends."""

        _clock: asyncio.TimerHandle | None = None
        _waiting = True  # for a header
        _begun: Any = None  # the request that the clock runs for

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Take a connection, unless there are too many."""
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            else:
                self._start(limits.header_seconds, self._late)

        def data_received(self, data: bytes) -> None:
            """Take what was sent: the rest of a header, of a body, or what belongs to no request yet."""
            super().data_received(data)
            if self._at_work():
                self._began()
            elif not self._waiting:
                self._waiting = True
                self._start(limits.header_seconds, self._late)

        def on_response_complete(self) -> None:
            """Wait for the next request, which may be here already, or until the answer is read."""
            super().on_response_complete()
            self._waiting = False
            self._start(whole, self.transport.abort)
            if self._at_work():
                self._began()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop the clock."""
            self._stop()
            super().connection_lost(exc)

        def _at_work(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _began(self) -> None:
            if self._begun is not self.cycle:
                self._begun, self._waiting = self.cycle, False
                self._start(whole, self.transport.abort)

        def _start(self, seconds: float, end: Callable[[], None]) -> None:
            self._stop()
            self._clock = self.loop.call_later(seconds, end)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()

        def _late(self) -> None:
            if self.conn.our_state is h11.IDLE and not self.transport.is_closing():
                self.transport.write(late)
            self.transport.close()

    return Punctual

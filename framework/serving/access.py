"""Who may ask a server: it answers to its own names, to no page of another site, and where there is a key to those with it.

A browser inside a network reaches servers that its owner's firewall keeps from others. A page of another site must not use
it for that, neither by a form or script that posts here nor by a name of its own that it lets point here (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framework.core.policy import allowed_of

READING = ("GET", "HEAD", "OPTIONS")


def policy(page: str = "") -> str:
    """What a page may do: run its own scripts, and ask nobody else for anything.

    Args:
        page: its text, which holds nothing of anybody else's; without it, no script but those of the server's files.
    """
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {allowed_of(page)}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "worker-src blob:",  # the search of the description
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class Names:
    """The names that a server is called by: any address, this machine's name, and those that it is told."""

    def __init__(self, told: Sequence[str] = ()):
        here = socket.gethostname().lower()
        self._told = {name.lower() for name in told}
        self._known = {"localhost", here, f"{here}.local", *self._told}

    def include(self, host: str) -> bool:
        """Whether a ``Host`` header, a name or an address with or without a port, is the server's own."""
        name = _name(f"//{host}")
        return name in self._known or _is_address(name)

    def own(self, origin: str, host: str) -> bool:
        """Whether an ``Origin`` header names the server that a request with this ``Host`` header is sent to."""
        return origin.partition("://")[2] == host or _name(origin) in self._told


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Door:
    """Refuses requests to another name, and posts that a page of another site makes its visitors send."""

    def __init__(self, app: ASGIApp, names: Names):
        self._app, self._names, self._policy = app, names, policy()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls an application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        reason = self._reason(scope["method"], asked.get("host", ""), asked.get("origin"))

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Content-Security-Policy", self._policy)  # a page of its own scripts names them
            await send(message)

        app = JSONResponse({"error": reason}, 403) if reason else self._app
        await app(scope, receive, labelled)

    def _reason(self, method: str, host: str, origin: str | None) -> str:
        if not self._names.include(host):
            return "the server is not called by this name; it is if it is started with hosts=[NAME]"
        if method not in READING and origin is not None and not self._names.own(origin, host):
            return (
                "a page of another site has sent this; it may if the server is started with hosts=[NAME OF THAT SITE]"
            )
        return ""


def key(token: str | None) -> Callable[..., None]:
    """What a page depends on that answers only who brings the key; None lets anybody pass."""
    brought = Depends(HTTPBearer(auto_error=False, scheme_name="key"))

    def check(given: HTTPAuthorizationCredentials | None = brought) -> None:
        if token is None or (given and hmac.compare_digest(given.credentials.encode(), token.encode())):
            return
        reason = "the key is wrong" if given else "a key is needed: the header Authorization: Bearer KEY"
        raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})

    return check

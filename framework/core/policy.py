"""Which scripts a page runs: those that it was made with, each named by its hash in the page's Content-Security-Policy.

What gets into a page otherwise, a script or an attribute like ``onerror``, is not run: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import hashlib
import re

_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def allowed(*scripts: str) -> str:
    """What ``script-src`` lists for the texts of inline scripts, as they stand between their tags."""
    hashes = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in hashes)


def allowed_of(page: str) -> str:
    """The same for the inline scripts of a page; for pages alone that hold nothing of anybody else's."""
    return allowed(*_INLINE.findall(page))

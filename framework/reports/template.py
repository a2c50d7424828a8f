"""Pages that open offline: what they are made of lies in ``assets``, with ``{{names}}`` where parts are put in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


def asset(name: str) -> str:
    """The text of a file in ``assets``."""
    return files("framework.reports").joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def filled(name: str, parts: Mapping[str, str]) -> str:
    """A page of ``assets`` with its parts in their places; what a part holds is not looked at again."""
    first, *pieces = asset(name).split("{{")
    made = [first]
    for piece in pieces:
        part, rest = piece.split("}}", 1)
        made += [parts[part], rest]
    return "".join(made)


def in_script(told: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or begin markup."""
    text = json.dumps(told, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

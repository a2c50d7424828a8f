"""``doctor.html``: what was found of a data set, with a tick for each image to leave out or to rename; it opens offline, and
saves the lists that ``data`` takes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.files import write_whole
from framework.core.policy import allowed
from framework.reports.template import asset, filled, in_script


def write(
    path: Path,
    name: str,
    findings: Sequence[Mapping[str, str]],
    exclude: Sequence[Mapping[str, Any]],
    relabel: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
) -> Path:
    """Write the page whole; a content policy forbids it every connection, and every script but its own.

    Args:
        path: where to.
        name: of the data.
        findings: each with ``severity``, ``what`` and ``advice``.
        exclude: images to leave out: ``path`` and ``why`` as a list has them, ``image`` as ``thumbnail`` gives it or None.
        relabel: images with another label: ``path``, ``label``, ``was`` and ``share`` as a list has them, and ``image``.
        classes: labels to choose from, as a list has them.
    """
    told = {"name": name, "findings": findings, "exclude": exclude, "relabel": relabel, "classes": classes}
    script = asset("doctor.js")
    parts = {"title": html.escape(name), "allowed": allowed(script), "script": script, "data": in_script(told)}
    write_whole(path, filled("doctor.html", parts))
    return path


def thumbnail(image: np.ndarray, side: int = 96) -> str:
    """An image, RGB uint8 (height, width, 3), as an address that holds it."""
    from PIL import Image

    small, file = Image.fromarray(image), io.BytesIO()
    small.thumbnail((side, side))
    small.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

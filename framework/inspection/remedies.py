"""What was found as lists that a person edits and ``data`` takes: images to leave out, and other labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from framework.core.files import write_table
from framework.core.names import in_csv, path_in_csv
from framework.data.edits import LABEL, PATH
from framework.data.images import Images
from framework.inspection.findings import Finding
from framework.inspection.neighbours import Suspect

# of copies in several splits those of the last of these stay: what is measured is left as it is
HELD_OUT = ("train", "validation", "test")


def write(files: Mapping[str, Path], images: Images, found: Sequence[Finding], suspects: Sequence[Suspect]) -> None:
    """Write ``exclude.csv`` (path, why) and ``relabel.csv`` (path, label, was, share).

    Args:
        files: where to, by ``exclude`` and ``relabel``.
        images: the data; paths are told from its folder on.
        found: all findings.
        suspects: images whose label may be wrong, by their position among all.
    """
    files["exclude"].parent.mkdir(parents=True, exist_ok=True)
    out = to_leave_out(images, found)
    write_table(files["exclude"], [PATH, "why"], ([told(path, images), why] for path, why in out.items()))
    rows = ([told(path, images), *row] for path, row in to_relabel(images, suspects).items())
    write_table(files["relabel"], [PATH, LABEL, "was", "share"], rows)


def to_leave_out(images: Images, found: Sequence[Finding]) -> dict[str, str]:
    """Images to leave out, each with the reason; arguments as for ``write``."""
    return dict(_to_leave_out(images, found))


def to_relabel(images: Images, suspects: Sequence[Suspect]) -> dict[str, tuple[str, str, str]]:
    """Images with another label: that, the one they have, and the share of neighbours that say so, as a list has them."""
    everything = [
        (path, label) for split in images.splits.values() for path, label in zip(split.paths, split.labels, strict=True)
    ]
    found = {}
    for one in suspects:
        path, label = everything[one.position]
        suggested, was = (in_csv(images.classes[number]) for number in (one.suggested, int(label)))
        found[path] = suggested, was, f"{one.share:.2f}"
    return found


def _to_leave_out(images: Images, found: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    split_of = {path: name for name, split in images.splits.items() for path in split.paths}
    for finding in found:
        if finding.kind == "unreadable":
            for ((path, why),) in finding.groups:
                yield path, why
        if finding.kind in ("same-leak", "near-leak"):
            copy = "the same as" if finding.kind == "same-leak" else "nearly the same as"
            for group in finding.groups:
                paths = [path for path, _ in group]
                stays = max((split_of[path] for path in paths), key=HELD_OUT.index)
                kept = next(path for path in paths if split_of[path] == stays)
                for path in paths:
                    if split_of[path] != stays:
                        yield path, f"{copy} {told(kept, images)} in {stays}"


def told(path: str, images: Images) -> str:
    """From the data's folder on where it lies there, as ``data.edits`` reads it."""
    return path_in_csv(path.removeprefix(os.path.join(images.root, "")))

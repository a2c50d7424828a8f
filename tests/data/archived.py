"""Archives made for tests: of a folder, or of names with bytes as no good program would write them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


def archive(folder: Path, file: Path, within: str = "") -> Path:
    """All files below a folder in a ZIP or a tar, by the ending of ``file``, in a folder ``within`` if it is named."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    entries = {f"{within}/{path.relative_to(folder)}".lstrip("/"): path.read_bytes() for path in files}
    return write_archive(file, entries)


def write_archive(file: Path, entries: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    """A ZIP or a tar of these names and bytes, in their order; a tar is compressed as its ending says."""
    pairs = list(entries.items()) if isinstance(entries, dict) else entries
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in pairs:
                made.writestr(name, data)
        return file
    with tarfile.open(file, "w" if file.suffix == ".tar" else f"w:{file.suffix[1:]}") as made:
        for name, data in pairs:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            made.addfile(header, io.BytesIO(data))
    return file

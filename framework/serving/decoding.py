"""The bytes of an upload to pixels: first what its header says, then the same decoding as of files."""

from __future__ import annotations

import contextlib
import io
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from framework.core.geometry import Geometry
from framework.data.decode import image, pixels
from framework.data.folders import READS_HEIF
from framework.data.headers import HEAD, format_of
from framework.data.upright import fitted
from framework.serving.limits import Limits, Refusal, amount

# Other formats that Pillow reads are refused: some run other programs.
ACCEPTED = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WebP", "AVIF", *["HEIC"] * READS_HEIF)
# A few bytes make a scan that costs a pass over the image; a progressive photo has ten or so.
MOST_SCANS = 200
DISPLAY = 720


class Decoder:
    """Decodes uploads to what the network takes; may be called from several threads.

    The bytes go through a file in a folder that only this user can read, gone as soon as they are decoded: so an image
    has the very pixels that ``predict`` gives it.

    Args:
        geometry: of the images that the network takes.
        limits: on bytes and pixels.
    """

    def __init__(self, geometry: Geometry, limits: Limits):
        self.geometry, self.limits = geometry, limits
        self._folder = tempfile.TemporaryDirectory(prefix="framework-serve-")

    def __call__(self, data: bytes, name: str) -> np.ndarray:
        """The image as the network gets it, uint8 (height, width, channels); ``name`` is what messages call it.

        Raises:
            Refusal: it is no image, damaged, or larger than allowed.
        """
        self.check(data, name)
        with self._file(data, name) as path:
            return image(path, self.geometry)

    def upright(self, data: bytes, name: str) -> np.ndarray:
        """The image for people, what the network sees of it: uint8 RGB, its longer side ``DISPLAY`` at most. One that
        is stretched keeps its aspect here.

        Raises:
            Refusal: as above.
        """
        from PIL import Image

        self.check(data, name)
        with self._file(data, name) as path:
            image = pixels(path, (DISPLAY // 2, DISPLAY // 2))
        how, (height, width) = self.geometry, self.geometry.size
        if how.resize != "stretch":
            scale = min(DISPLAY, max(image.shape)) / max(height, width)
            size = max(1, round(scale * height)), max(1, round(scale * width))
            return fitted(image, size, how.resize, how.fill, 3)
        shown = Image.fromarray(image)
        shown.thumbnail((DISPLAY, DISPLAY))
        return np.asarray(shown)

    def check(self, data: bytes, name: str) -> None:
        """Look at size, kind and header; nothing is decoded.

        Raises:
            Refusal: it is no image, its header is damaged, or it is larger than allowed.
        """
        if len(data) > self.limits.bytes:
            what = f"{name} has {amount(len(data))}bytes"
            raise Refusal(413, f"{what}; at most {amount(self.limits.bytes)}bytes are taken")
        if not data:
            raise Refusal(400, f"{name} is empty")
        kind = format_of(data[:HEAD])
        if kind not in ACCEPTED:
            told = f", but {kind}" if kind else ""
            what = f"{name} is not an image of a kind that is read here{told}"
            raise Refusal(415, f"{what}; these are: {', '.join(ACCEPTED)}")
        width, height = dimensions(data, kind, name)
        if width * height > self.limits.pixels:
            what = f"{name} has {width}×{height} pixels"
            raise Refusal(413, f"{what}; at most {amount(self.limits.pixels)}pixels are taken")
        if kind == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS:
            raise Refusal(422, f"{name} has more than {MOST_SCANS} scans, which no photo has")

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    @contextlib.contextmanager
    def _file(self, data: bytes, name: str) -> Iterator[str]:
        """A file of these bytes; what is found wrong with it while it is read refuses the upload."""
        path = Path(self._folder.name, uuid.uuid4().hex)
        path.write_bytes(data)
        try:
            yield str(path)
        except ValueError as error:
            why = str(error).removeprefix(f"{path}: ").replace(str(path), "the image")
            raise Refusal(422, f"{name} can't be read: {why}") from None
        finally:
            path.unlink(missing_ok=True)


def dimensions(data: bytes, kind: str, name: str) -> tuple[int, int]:
    """Width and height as the header says.

    Raises:
        Refusal: it says more than any photo has, or makes no sense.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels: the limit is ours
            if kind == "HEIC":
                from pillow_heif import register_heif_opener

                register_heif_opener()
            with Image.open(io.BytesIO(data), formats=["HEIF" if kind == "HEIC" else kind.upper()]) as image:
                return image.size
    except Image.DecompressionBombError:
        raise Refusal(413, f"{name} has more pixels than any photo has") from None
    except Exception:
        raise Refusal(422, f"{name} can't be read: its beginning is that of a {kind} file, the rest is not") from None

"""The bytes of an upload to pixels: first what its header says, then the same decoding as of files."""

from __future__ import annotations

import io
import tempfile
import threading
import uuid
import warnings
from pathlib import Path

import numpy as np

from framework.core.backend import tf
from framework.data.decode import pixels, plan, read_picture
from framework.serving.limits import Limits, Refusal, amount

# What the bytes of each kind begin with. Other kinds that Pillow reads are refused: some run other programs.
KINDS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PPM": tuple(b"P%d" % number for number in range(1, 7)),
}
INSIDE = {"WEBP": (0, b"RIFF", 8, b"WEBP"), "AVIF": (4, b"ftyp", 8, b"avi")}
ACCEPTED = ", ".join([*KINDS, *INSIDE])
# A few bytes make a scan that costs a pass over the picture; a progressive photo has ten or so.
MOST_SCANS = 200
DISPLAY = 720


class Decoder:
    """Decodes uploads to what the network takes; may be called from several threads.

    The bytes go through a file in a folder that only this user can read, gone as soon as they are decoded: so a picture
    has the very pixels that ``predict`` gives it.

    Args:
        size: height and width in pixels.
        limits: on bytes and pixels.
    """

    def __init__(self, size: tuple[int, int], limits: Limits):
        self.size, self.limits = size, limits
        self._folder = tempfile.TemporaryDirectory(prefix="framework-serve-")
        self._lock = threading.Lock()
        self._read: tf.types.experimental.PolymorphicFunction | None = None

    def __call__(self, data: bytes, name: str) -> np.ndarray:
        """The picture as the network gets it, uint8 (height, width, 3); ``name`` is what messages call it.

        Raises:
            Refusal: it is no picture, damaged, or larger than allowed.
        """
        self.check(data, name)
        path = self._write(data)
        try:
            (reader,) = plan([str(path)], self.size)
            return self._graph()(tf.constant(str(path)), tf.constant(reader)).numpy()
        except Exception:
            raise Refusal(422, f"{name} can't be read: {self._reason(path)}") from None
        finally:
            path.unlink(missing_ok=True)

    def upright(self, data: bytes, name: str) -> np.ndarray:
        """The picture for people: uint8 RGB, its aspect kept, its longer side ``DISPLAY`` at most.

        Raises:
            Refusal: as above.
        """
        from PIL import Image

        self.check(data, name)
        path = self._write(data)
        try:
            picture = Image.fromarray(pixels(str(path), (DISPLAY // 2, DISPLAY // 2)))
        except ValueError:
            raise Refusal(422, f"{name} can't be read: {self._reason(path)}") from None
        finally:
            path.unlink(missing_ok=True)
        picture.thumbnail((DISPLAY, DISPLAY))
        return np.asarray(picture)

    def check(self, data: bytes, name: str) -> None:
        """Look at size, kind and header; nothing is decoded.

        Raises:
            Refusal: it is no picture, its header is damaged, or it is larger than allowed.
        """
        if len(data) > self.limits.bytes:
            what = f"{name} has {amount(len(data))}bytes"
            raise Refusal(413, f"{what}; at most {amount(self.limits.bytes)}bytes are taken")
        if not data:
            raise Refusal(400, f"{name} is empty")
        kind = kind_of(data)
        if kind is None:
            raise Refusal(415, f"{name} is not a picture of a kind that is read here: {ACCEPTED}")
        width, height = dimensions(data, kind, name)
        if width * height > self.limits.pixels:
            what = f"{name} has {width}×{height} pixels"
            raise Refusal(413, f"{what}; at most {amount(self.limits.pixels)}pixels are taken")
        if kind == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS:
            raise Refusal(422, f"{name} has more than {MOST_SCANS} scans, which no photo has")

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def _write(self, data: bytes) -> Path:
        path = Path(self._folder.name, uuid.uuid4().hex)
        path.write_bytes(data)
        return path

    def _graph(self) -> tf.types.experimental.PolymorphicFunction:
        with self._lock:
            if self._read is None:
                kinds = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)]
                self._read = tf.function(lambda path, reader: read_picture(path, reader, self.size), kinds)
            return self._read

    def _reason(self, path: Path) -> str:
        try:
            pixels(str(path), self.size)
        except ValueError as error:
            return str(error).removeprefix(f"{path}: ").replace(str(path), "the picture")
        return "it can't be decoded"


def kind_of(data: bytes) -> str | None:
    """The kind that the first bytes are of, as Pillow calls it; None for any other."""
    for kind, starts in KINDS.items():
        if data.startswith(starts):
            return kind
    for kind, (place, first, later, second) in INSIDE.items():
        if data.startswith(first, place) and data.startswith(second, later):
            return kind
    return None


def dimensions(data: bytes, kind: str, name: str) -> tuple[int, int]:
    """Width and height as the header says.

    Raises:
        Refusal: it says more than any photo has, or makes no sense.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels: the limit is ours
            with Image.open(io.BytesIO(data), formats=[kind]) as picture:
                return picture.size
    except Image.DecompressionBombError:
        raise Refusal(413, f"{name} has more pixels than any photo has") from None
    except Exception:
        raise Refusal(422, f"{name} can't be read: its beginning is that of a {kind} file, the rest is not") from None

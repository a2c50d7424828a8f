"""Data from strangers: archives, tables, shards, images and addresses."""

from __future__ import annotations

import contextlib
import http.server
import os
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.hostile.canary import Canary, listening
from benchmarks.hostile.files import bombs, jpeg, programs
from benchmarks.hostile.tally import Tally, ask, unclean
from framework import check
from framework.data import remote
from tests.data.archived import write_archive
from tests.data.sharded import example, records

SMALL = ["model=cnn", "model.filters=[4]", "data.image_size=16"]
KINDS = ("to-inside", "to-file", "to-itself", "to-other", "shorter", "longer", "packed", "negative", "huge", "without")
LEADING_OUT = (
    "../red/a.jpg",
    "red/../../a.jpg",
    "/etc/a.jpg",
    "..\\a.jpg",
    "C:/a.jpg",
    "a/" * 5000 + "b.jpg",
)


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every source; ``short``: smaller bombs."""
    os.chdir(folder)
    with listening(folder / "canary") as canary:
        for ending in (".zip", ".tar"):
            _archives(tally, canary, folder, ending, short)
        _images(tally, canary, folder)
        _tables(tally, canary, folder)
        _addresses(tally, canary, folder)


def sound(count: int = 4) -> dict[str, bytes]:
    """Names and images of a small data set."""
    return {f"{name}/{number}.jpg": jpeg() for name in ("blue", "red") for number in range(count)}


def _asked(canary: Canary, folder: Path, codes: tuple[int, ...], *words: str, named: bool = False) -> str:
    before = {path for path in folder.rglob("*") if "canary" not in path.parts}
    told = ask(check, [*words, *SMALL])
    made = {path for path in folder.rglob("*") if "canary" not in path.parts} - before
    made = {path for path in made if not path.is_relative_to(folder / "cache")}
    return unclean(told, codes) or canary.fault(told.said, named=named) or (f"it wrote {made}" if made else "")


def _archives(tally: Tally, canary: Canary, folder: Path, ending: str, short: bool) -> None:
    def given(name: str, codes: tuple[int, ...], make: Callable[[Path], Any]) -> None:
        file = folder / f"given{ending}"
        file.unlink(missing_ok=True)
        make(file)
        tally.case(f"{ending}: {name}", lambda: _asked(canary, folder, codes, "data=image_folder", f"data.dir={file}"))

    images = sound()
    given("a sound one", (0,), lambda file: write_archive(file, images))
    for name in LEADING_OUT:
        given(f"a name {name[:20]!r}", (2,), lambda file, name=name: write_archive(file, {**images, name: jpeg()}))
    twice = [*images.items(), next(iter(images.items()))]
    given("a name twice", (2,), lambda file: write_archive(file, twice))
    given(
        "an image that is a bomb of zeros",
        (0,) if ending == ".zip" else (2,),  # a tar holds it all
        lambda file: write_archive(file, {**images, "red/b.jpg": bytes(10**7 if short else 5 * 10**8)}),
    )
    given(
        "images that are bombs",
        (2,),
        lambda file: write_archive(file, {**images, **{f"red/{name}.jpg": data for name, data in bombs().items()}}),
    )
    given(
        "10,000 names",
        (0, 2),
        lambda file: write_archive(file, {**images, **{f"red/{number}.jpg": b"" for number in range(10_000)}}),
    )
    given("an archive in it", (0,), lambda file: write_archive(file, {**images, "red/more.zip": b"PK\3\4" + bytes(99)}))
    whole = write_archive(folder / f"whole{ending}", images).read_bytes()
    for share in range(0, 100, 10 if short else 5):
        given(
            f"cut at {share} %",
            (2,) if share < 80 else (0, 2),
            lambda file, share=share: file.write_bytes(whole[: len(whole) * share // 100]),
        )
    if ending == ".zip":
        given("links", (0,), lambda file: _zip_links(write_archive(file, images), canary))
        given("a size that is not true", (2,), lambda file: _lying(file, images))
        given(
            "10^6 files in an index of none",
            (0, 2),
            lambda file: file.write_bytes(
                whole[:-22] + whole[-22:-14] + struct.pack("<HH", 65_535, 65_535) + whole[-10:]
            ),
        )
        given("members that overlap", (0, 2), lambda file: _overlapping(file))
    else:
        given("links and devices", (0,), lambda file: _tar_links(write_archive(file, images), canary))
        given("a size of 8 EiB", (2,), lambda file: file.write_bytes(_resized(whole, b"\x80" + b"\xff" * 11)))
        given("a negative size", (2,), lambda file: file.write_bytes(_resized(whole, b"-0000000001\0")))
        given("a header of names without end", (2,), lambda file: _extended(file))


def _zip_links(file: Path, canary: Canary) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFBLK):
            entry = zipfile.ZipInfo(f"red/{kind}.jpg")
            entry.external_attr = (kind | 0o777) << 16
            archive.writestr(entry, str(canary.secret_file))


def _lying(file: Path, images: dict[str, bytes]) -> None:
    write_archive(file, {**images, "red/bomb.jpg": bytes(10**7)})
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"red/bomb.jpg"))
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    file.write_bytes(data)


def _overlapping(file: Path) -> None:
    """Many names for one kernel of compressed zeros, after Fifield's bomb."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = kernel.compress(bytes(10**7)) + kernel.flush()
    local = (
        struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(bytes(10**7)), len(data), 10**7, 1, 0)
        + b"a"
        + data
    )
    entries = b""
    for number in range(40):
        name = f"{'red' if number % 2 else 'blue'}/{number}.jpg".encode()
        entries += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, zlib.crc32(bytes(10**7)), len(data), 10**7, len(name), 0, 0, 0, 0, 0, 0) + name  # fmt: skip
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 40, 40, len(entries), len(local), 0)
    file.write_bytes(local + entries + end)


def _tar_links(file: Path, canary: Canary) -> None:
    with tarfile.open(file, "a") as archive:
        for kind in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.FIFOTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.GNUTYPE_SPARSE,
        ):
            header = tarfile.TarInfo(f"red/odd-{kind.decode()}.jpg")
            header.type, header.linkname = kind, str(canary.secret_file)
            archive.addfile(header)


def _resized(tar: bytes, size: bytes) -> bytes:
    block = bytearray(tar[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + tar[512:]


def _extended(file: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    file.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def _images(tally: Tally, canary: Canary, folder: Path) -> None:
    """Files in a folder that are bombs, programs, or no files."""
    photos = folder / "photos"
    for name, data in sound().items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(data)
    for name, data in {**bombs(), **programs(canary.shell)}.items():
        for ending in (".jpg", ".png"):
            bad = photos / "red" / f"bad{ending}"
            bad.write_bytes(data)
            codes = (0,) if name in ("GIF of frames",) else (0, 2)
            tally.case(
                f"{name} called {ending}",
                lambda codes=codes: _asked(canary, folder, codes, "data=image_folder", f"data.dir={photos}"),
            )
            bad.unlink()
    for name, make in {
        "a pipe": os.mkfifo,
        "a link to a device": lambda path: os.symlink("/dev/zero", path),
        "a link to itself": lambda path: os.symlink(path, path),
        "a folder": os.mkdir,
        "a file of 1 TiB": lambda path: (open(path, "wb").close(), os.truncate(path, 1 << 40)),
    }.items():
        odd = photos / "red" / "odd.jpg"
        make(odd)
        tally.case(
            f"{name} called .jpg", lambda: _asked(canary, folder, (0, 2), "data=image_folder", f"data.dir={photos}")
        )
        odd.rmdir() if odd.is_dir() else odd.unlink()
    for name, make in {
        "links that lead in circles": _circles,
        "links that lead to twice as many at each step": _doubling,
    }.items():
        make(photos / "red" / "links")
        tally.case(name, lambda: _asked(canary, folder, (0,), "data=image_folder", f"data.dir={photos}"))
        (photos / "red" / "links").rename(folder / make.__name__)
    for name in (
        "=cmd|' /C calc'!A1",
        "<script>alert(1)<",
        "\x1b]0;title\x07",
        "a\nb",
        "${oc.env:HOSTILE_SECRET}",
        "$HOSTILE_SECRET",
        "x" * 250,
    ):
        (photos / name.replace("/", "-")).mkdir()
        (photos / name.replace("/", "-") / "a.jpg").write_bytes(jpeg())
        tally.case(
            f"a class {name[:20]!r}", lambda: _asked(canary, folder, (0, 2), "data=image_folder", f"data.dir={photos}")
        )
        (photos / name.replace("/", "-") / "a.jpg").unlink()
        (photos / name.replace("/", "-")).rmdir()


def _tables(tally: Tally, canary: Canary, folder: Path) -> None:
    """CSV, Parquet, TFRecord, WebDataset, Label Studio."""
    photos = folder / "photos"

    def given(name: str, codes: tuple[int, ...], file: str, content: bytes, *words: str) -> None:
        (folder / file).write_bytes(content)
        tally.case(name, lambda: _asked(canary, folder, codes, *words, named="a secret" in name))

    rows = b"path,label\n" + b"".join(f"photos/{name},{name[:3]}\n".encode() for name in sound())
    csv = ("data=csv", f"data.file={folder}/given.csv")
    given("a sound CSV", (0,), "given.csv", rows, *csv)
    for name, row in {
        "a secret": str(canary.secret_file), "a way out": "../../../etc/passwd", "a device": "/dev/zero", "an address": f"http://127.0.0.1:{canary.port}/a.jpg",
        "a variable": "$HOSTILE_SECRET/a.jpg", "a long name": "x" * 100_000, "a null": "a\0b.jpg", "a pipe": "|touch sung",
    }.items():  # fmt: skip
        given(f"a CSV that names {name}", (2,), "given.csv", rows + f"{row},red\n".encode(), *csv)
    given("a CSV of one cell", (2,), "given.csv", b"path,label\n" + b"x" * 10**7, *csv)
    given("a CSV of quotes", (2,), "given.csv", b'path,label\n"' * 1000, *csv)
    given("a CSV of nulls", (2,), "given.csv", bytes(10**6), *csv)
    good = [
        example({"image/encoded": data, "image/class/label": 1 + ("red" in name)}) for name, data in sound().items()
    ]
    tfrecord = ("data=tfrecord", f"data.files={folder}/given.tfrecord")
    whole = records(folder / "given.tfrecord", good).read_bytes()
    given("a sound TFRecord", (0,), "given.tfrecord", whole, *tfrecord)
    for share in range(0, 100, 5):
        given(f"a TFRecord cut at {share} %", (2,), "given.tfrecord", whole[: len(whole) * share // 100 - 1], *tfrecord)
    records(folder / "given.tfrecord", [*good, example({"image/encoded": jpeg(), "image/class/label": [1] * 10**6})])
    tally.case("a TFRecord of 10^6 labels", lambda: _asked(canary, folder, (0, 2), *tfrecord))
    given(
        "a TFRecord of varints",
        (2,),
        "given.tfrecord",
        records(folder / "v.tfrecord", [b"\xff" * 10**5]).read_bytes(),
        *tfrecord,
    )
    for name, text in {
        "nested": b"[" * 10**5,
        "numbers": b"[1, 2]",
        "none": b"",
        "a bomb": b"[" + b"{}," * 10**5 + b"{}]",
    }.items():
        words = ("data=label_studio", f"data.export={folder}/given.json", f"data.folder={photos}")
        given(f"an export of {name}", (2,), "given.json", text, *words)
        given(f"names that are {name}", (0, 2), "given.json", text, *csv, f"data.names={folder}/given.json")
    shard = {
        name.replace("/", "-").replace(".jpg", f".{part}"): data
        for name, image in sound().items()
        for part, data in (("jpg", image), ("json", b'{"label": ' + b"[" * 10**5))
    }
    write_archive(folder / "given.tar", shard)
    tally.case(
        "a WebDataset of nested labels",
        lambda: _asked(canary, folder, (2,), "data=webdataset", f"data.files={folder}/given.tar", "data.label=json"),
    )
    _parquet(tally, canary, folder)
    for name, word in {
        "braces": "{0..999999}" * 4,
        "a long range": "{0..99999999999999999999}",
        "digits": "{" + "0" * 10**5 + "..1}",
        "stars": "**/" * 100 + "*",
        "stars among circles": "_circles/**/*.tar",
        "stars among links": "_doubling/**/*.tar",
    }.items():
        tally.case(
            f"files named by {name}",
            lambda word=word: _asked(canary, folder, (2,), "data=webdataset", f"data.files='{word}'"),
        )


def _parquet(tally: Tally, canary: Canary, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = ("data=parquet", f"data.files={folder}/given.parquet", "data.label_column=label", "data.image_column=image")

    def given(name: str, codes: tuple[int, ...], make: Callable[[Path], Any]) -> None:
        make(folder / "given.parquet")
        tally.case(name, lambda: _asked(canary, folder, codes, *words))

    images = list(sound().values())
    labels = ["blue"] * 4 + ["red"] * 4
    given("a sound Parquet", (0,), lambda file: pq.write_table(pa.table({"image": images, "label": labels}), file))
    given(
        "a Parquet of a million rows of one image",
        (2,),
        lambda file: pq.write_table(
            pa.table({"image": pa.array([b"x"] * 10**6), "label": pa.array(["red"] * 10**6)}), file
        ),
    )
    given(
        "a Parquet of zeros",
        (2,),
        lambda file: pq.write_table(
            pa.table({"image": [bytes(10**7)] * 20, "label": ["red"] * 20}),
            file,
            compression="gzip",
            use_dictionary=False,
        ),
    )
    given(
        "a Parquet whose images lie elsewhere",
        (2,),
        lambda file: pq.write_table(
            pa.table({"image": [{"bytes": None, "path": str(canary.secret_file)}] * 4, "label": ["a", "a", "b", "b"]}),
            file,
        ),
    )
    given(
        "a Parquet of hostile names",
        (0, 2),
        lambda file: pq.write_table(pa.table({"image": images, "label": ["=cmd", "\x1b[31m"] * 4}), file),
    )
    whole = (folder / "given.parquet").read_bytes()
    for share in range(0, 100, 10):
        given(
            f"a Parquet cut at {share} %",
            (2,),
            lambda file, share=share: file.write_bytes(whole[: len(whole) * share // 100]),
        )


def _circles(place: Path) -> None:
    """A folder with two links to itself."""
    place.mkdir()
    for name in "ab":
        (place / name).symlink_to(".")


def _doubling(place: Path, steps: int = 60) -> None:
    """Folders with two links to the next, so that 2^60 ways lead to the last."""
    for step in range(steps):
        (place / str(step)).mkdir(parents=True)
        for name in "ab":
            (place / str(step) / name).symlink_to(f"../{step + 1}")
    (place / str(steps)).mkdir()


class _Web(http.server.BaseHTTPRequestHandler):
    """Answers of a server that means no good, by the path."""

    data = b""
    inside = ""

    def do_GET(self) -> None:
        kind = self.path.strip("/").partition(".")[0]
        body, more = self.data, {"ETag": "x"}
        if kind in ("to-file", "to-inside", "to-itself", "to-other"):
            place = {
                "to-file": "file:///etc/passwd",
                "to-inside": self.inside,
                "to-itself": self.path,
                "to-other": "gopher://x/",
            }[kind]
            self.send_response(302)
            self.send_header("Location", place)
            self.end_headers()
            return
        self.send_response(206 if "Range" in self.headers else 200)
        if kind == "packed":
            body = zlib.compress(bytes(1 << 28))
            more |= {"Content-Encoding": "deflate"}
        said = {
            "shorter": len(body) * 2,
            "longer": len(body) // 2,
            "endless": len(body),
            "negative": -5,
            "huge": 10**15,
        }.get(kind, len(body))
        if kind != "without":
            self.send_header("Content-Length", str(said))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def served(folder: Path, inside: str) -> Iterator[str]:
    """The address of such a server on 127.0.0.1, which stands for the outside."""
    handler = type(
        "Web", (_Web,), {"data": write_archive(folder / "served.zip", sound()).read_bytes(), "inside": inside}
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _addresses(tally: Tally, canary: Canary, folder: Path) -> None:
    """A server that lies; 127.0.0.1 is taken for the outside, 127.0.0.2 and all else for the inside."""
    private = remote._is_private
    with (
        served(folder, f"http://127.0.0.2:{canary.port}/secret.zip") as address,
        mock.patch.object(remote, "_is_private", lambda one: one != "127.0.0.1" and private(one)),
        mock.patch.object(remote, "PAUSE", 0.0),
    ):

        def asked(kind: str, codes: tuple[int, ...]) -> str:
            return _asked(canary, folder, codes, "data=image_folder", f"data.dir={address}/{kind}.zip")

        tally.case("a sound ZIP on the web", lambda: asked("sound", (0,)))
        for kind in KINDS:
            codes = (0, 2) if kind in ("longer", "negative") else (2,)
            tally.case(f"an address: {kind}", lambda kind=kind, codes=codes: asked(kind, codes))  # type: ignore[misc]
    for word in (
        "file:///etc",
        "https://[::1",
        "http://",
        "s3://",
        "memory://../x",
        "local:///etc",
        "http://a@b:c/",
        "https://" + "x" * 10_000,
        "http://\0/",
    ):
        tally.case(
            f"the address {word[:20]!r}",
            lambda word=word: _asked(canary, folder, (2,), "data=image_folder", f"data.dir='{word}'"),
        )

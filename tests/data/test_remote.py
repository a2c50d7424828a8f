"""Data elsewhere: fetched once, many at a time, again where it fails; what can't be had is told in one sentence."""

from __future__ import annotations

import os
import socket
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks.hostile import sources
from framework import check
from framework.core.errors import BadInput
from framework.data import fingerprint, remote
from framework.data.sources import read, read_all
from tests.data.archived import archive
from tests.data.sharded import webdataset
from tests.options.counted import effect
from tests.options.made import settings

SHARES = {"validation": 0.25, "test": 0.0}


class Weak(MemoryFileSystem):
    """A store in memory that takes its time, and fails as it is told."""

    protocol = "weak"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    seconds = 0.0
    failing: dict[str, list[Exception]] = {}  # noqa: RUF012 - by a part of the name: what the next reads raise
    reads: list[str] = []  # noqa: RUF012
    lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("weak://", "memory://"))

    def cat_file(self, path, start=None, end=None, **more):
        time.sleep(self.seconds)
        with self.lock:
            self.reads.append(path)
            for name, errors in self.failing.items():
                if name in path and errors:
                    raise errors.pop(0)
        return super().cat_file(path, start, end, **more)

    def find(self, path, *given, **more):
        for error in self.failing.get("LIST", [])[:1]:
            raise self.failing["LIST"].pop(0) or error
        return super().find(path, *given, **more)


fsspec.register_implementation("weak", Weak, clobber=True)


@pytest.fixture
def weak(monkeypatch, tmp_path):
    monkeypatch.setattr(Weak, "store", {})
    monkeypatch.setattr(Weak, "pseudo_dirs", [""])
    monkeypatch.setattr(Weak, "failing", {})
    monkeypatch.setattr(Weak, "reads", [])
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    yield Weak
    ended()


def ended() -> None:
    """What comes is as in another process: this one reads none of its copies any more."""
    remote._USED.close()
    remote._KEYS.clear()


def put(files: dict[str, bytes], protocol: str = "weak") -> None:
    system = fsspec.filesystem(protocol)
    for name, data in files.items():
        system.pipe_file(name, data)


def put_folder(folder: Path, place: str, protocol: str = "weak") -> str:
    put(
        {f"{place}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()},
        protocol,
    )
    return f"{protocol}://{place.lstrip('/')}"


def source(*overrides):
    return read(settings("data=image_folder", *overrides).data)


@effect("data.disk_limit")
def test_a_folder_elsewhere_is_read_as_one_here(photos, weak):
    address = put_folder(photos, "/bucket/photos")
    plain, images = source(f"data.dir={photos}"), source(f"data.dir={address}")
    assert images.classes == plain.classes
    assert fingerprint.dataset(images) == fingerprint.dataset(plain)
    assert [os.path.basename(path) for path in images.splits["train"].paths] == [
        os.path.basename(path) for path in plain.splits["train"].paths
    ]
    assert f"data.dir is a copy of {address}" in images.notes
    with pytest.raises(BadInput) as caught:
        source(f"data.dir={address}", "data.disk_limit=0.00001")
    (problem,) = caught.value.problems
    assert problem.what.startswith(f"{address} holds ")
    assert problem.what.endswith("more than 1e-05 GiB of copies may take")
    assert (problem.where, problem.right) == ("data.dir", "data.disk_limit=1, or a part of it")


def test_what_is_here_is_not_fetched_again_and_what_changed_is(photos, weak):
    address = put_folder(photos, "/b/p")
    source(f"data.dir={address}")
    assert len(weak.reads) == 36
    weak.reads.clear()
    source(f"data.dir={address}")
    assert weak.reads == []
    (first, *_), system = sorted(weak.store), fsspec.filesystem("weak")
    system.rm(first)
    put({"/b/p/train/red/new.jpg": b"new"})
    images = source(f"data.dir={address}")
    assert weak.reads == ["/b/p/train/red/new.jpg"]
    assert sum(map(len, images.splits.values())) == 36
    (new,) = [path for path in images.splits["train"].paths if path.endswith("new.jpg")]
    Path(new).write_bytes(b"cut")  # somebody's
    Path(new).write_bytes(b"longer")
    source(f"data.dir={address}")
    assert Path(new).read_bytes() == b"new"


def test_an_archive_or_shards_elsewhere(photos, weak, tmp_path, capsys):
    put({"/b/photos.zip": archive(photos, tmp_path / "a.zip").read_bytes()}, "memory")
    assert check.main(["data=image_folder", "data.dir=memory://b/photos.zip", "model=cnn"]) == 0
    assert "data.dir is a copy of memory://b/photos.zip" in capsys.readouterr().err
    images = source("data.dir=memory://b/photos.zip")
    assert {split: len(found) for split, found in images.splits.items()} == {"train": 24, "validation": 12}
    for file in webdataset(photos, tmp_path / "shards"):
        put({f"/b/shards/{file.name}": file.read_bytes()})
    for files in ("train-{000..001}.tar", "train-*.tar", ""):
        parameters, _ = remote.fetched({"files": f"weak://b/shards/{files}"}, 1)
        shards = read_all("webdataset", 1, **parameters, label="cls", label_key="", names=None, **SHARES)
        assert sum(map(len, shards.splits.values())) == 24


def test_many_are_fetched_at_once(weak, monkeypatch):
    """At 50 ms an answer, twenty times as many a second as one after the other."""
    monkeypatch.setattr(weak, "seconds", 0.05)
    put({f"/b/{number:04d}.jpg": b"x" * 1000 for number in range(400)})
    started = time.perf_counter()
    folder = remote.local("weak://b", 1, "data.dir")
    seconds = time.perf_counter() - started
    assert len(os.listdir(folder)) == 400
    assert 400 * 0.05 / seconds >= 20


def test_what_fails_is_asked_for_again(weak):
    put({f"/b/{number}.jpg": b"x" for number in range(9)})
    weak.failing.update({"3.jpg": [TimeoutError(), ConnectionError("reset")], "LIST": [OSError("slow down")]})
    assert len(os.listdir(remote.local("weak://b", 1, "data.dir"))) == 9
    assert weak.reads.count("/b/3.jpg") == 3


def test_what_could_not_be_fetched_is_named_and_the_rest_kept(weak):
    put({f"/b/{number}.jpg": b"x" for number in range(9)})
    weak.failing.update({"3.jpg": [TimeoutError()] * 4})
    with pytest.raises(BadInput) as caught:
        remote.local("weak://b", 1, "data.dir")
    (problem,) = caught.value.problems
    assert problem.what == "of 9 files of weak://b 1 can't be fetched: /b/3.jpg: no answer in time"
    assert problem.right == "the same command again: what was fetched is kept"
    weak.reads.clear()
    remote.local("weak://b", 1, "data.dir")
    assert weak.reads == ["/b/3.jpg"]


def test_a_large_file_goes_on_where_it_was_left(weak, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 1000)
    data = os.urandom(10_500)
    put({"/b/large.tar": data})
    read = Weak.cat_file

    def stops(self, path, start=None, end=None, **more):
        if start == 5000:
            raise KeyboardInterrupt
        return read(self, path, start, end, **more)

    monkeypatch.setattr(Weak, "cat_file", stops)
    with pytest.raises(KeyboardInterrupt):
        remote.local("weak://b/large.tar", 1, "data.files")
    monkeypatch.setattr(Weak, "cat_file", read)
    weak.reads.clear()
    file = remote.local("weak://b/large.tar", 1, "data.files")
    assert len(weak.reads) == 6
    assert Path(file).read_bytes() == data


def test_copies_keep_to_their_limit(weak):
    gib = 1000 / remote.GIB
    for name in "abc":
        put({f"/{name}/file": b"x" * 400})
    a = remote.local("weak://a", gib, "data.dir")
    os.utime(next((Path(a).parents[1] / "records").iterdir()), (1, 1))
    b = remote.local("weak://b", gib, "data.dir")
    assert os.listdir(a) == os.listdir(b) == ["file"]
    ended()
    c = remote.local("weak://c", gib, "data.dir")
    assert not os.listdir(a)
    assert os.listdir(b) == os.listdir(c) == ["file"]


def test_copies_that_are_in_use_stay(weak):
    gib = 1000 / remote.GIB
    for name in "abc":
        put({f"/{name}/file": b"x" * 400})
    a, b = (remote.local(f"weak://{name}", gib, "data.dir") for name in "ab")
    with pytest.raises(BadInput) as caught:
        remote.local("weak://c", gib, "data.dir")
    (problem,) = caught.value.problems
    assert problem.what.startswith(
        "weak://c and copies that are in use now (weak://b, weak://a) come to 1.17 KiB, more than"
    )
    assert os.listdir(a) == os.listdir(b) == ["file"]
    ended()
    remote.local("weak://a", gib, "data.dir")  # by another process
    c = remote.local("weak://c", gib, "data.dir")
    assert os.listdir(a) == os.listdir(c) == ["file"]
    assert not os.listdir(b)


def test_pieces_of_what_was_not_fetched_to_its_end_count_too(weak, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 100)
    put({"/a/file": b"x" * 800, "/b/file": b"x" * 400})
    read = Weak.cat_file

    def stops(self, path, start=None, end=None, **more):
        if start == 700:
            raise KeyboardInterrupt
        return read(self, path, start, end, **more)

    monkeypatch.setattr(Weak, "cat_file", stops)
    with pytest.raises(KeyboardInterrupt):
        remote.local("weak://a", 1000 / remote.GIB, "data.dir")
    (piece,) = (remote.cache_folder() / "remote" / "parts").glob("*/*")
    assert piece.stat().st_size == 700
    ended()
    remote.local("weak://b", 1200 / remote.GIB, "data.dir")
    assert piece.exists()
    ended()
    fsspec.filesystem("weak").pipe_file("/b/file", b"y" * 401)
    remote.local("weak://b", 1000 / remote.GIB, "data.dir")
    assert not piece.exists()


@pytest.mark.parametrize(
    ("address", "said", "right"),
    [
        ("weak://nowhere", "there is nothing at weak://nowhere", "the address of a file, or of a folder of files"),
        (
            "weak://b/none.zip",
            "there is nothing at weak://b/none.zip",
            "the address of a file, or of a folder of files",
        ),
        ("nosuch://b", "nosuch://b: Protocol not known: nosuch", "s3://, gs:// or https://"),
        ("abfs://b/x", "abfs:// is read by the package adlfs, which is not installed", "pip install adlfs"),
    ],
)
def test_what_is_not_there_is_told(weak, address, said, right):
    put({"/b/file": b""})
    with pytest.raises(BadInput) as caught:
        source(f"data.dir={address}")
    (problem,) = caught.value.problems
    assert (problem.what, problem.where, problem.right) == (said, "data.dir", right)


def test_a_store_that_refuses_or_does_not_answer_is_told(weak, monkeypatch):
    put({f"/b/{number}.jpg": b"x" for number in range(300)})
    weak.failing["LIST"] = [PermissionError("Access Denied")]
    with pytest.raises(BadInput, match=r"weak://b can't be listed: access is refused \(Access Denied\)"):
        remote.local("weak://b", 1, "data.dir")
    weak.failing["LIST"] = [TimeoutError()] * 4
    with pytest.raises(BadInput, match="weak://b can't be listed: no answer in time"):
        remote.local("weak://b", 1, "data.dir")
    monkeypatch.setattr(
        weak, "seconds", 0.05
    )  # as a store does: else all would be asked before the first answer is heard
    weak.failing[".jpg"] = [PermissionError("Forbidden")] * 300
    with pytest.raises(BadInput, match=r"can't be fetched: .*access is refused \(Forbidden\)"):
        remote.local("weak://b", 1, "data.dir")
    assert len(weak.reads) < 300  # it does not ask for each


def test_a_name_that_leads_out_of_the_store_is_refused(weak):
    weak.store["/b/../../x.jpg"] = fsspec.implementations.memory.MemoryFile(None, "/b/../../x.jpg", b"x")
    with pytest.raises(BadInput, match="weak://b has a name that leads out of it"):
        remote.local("weak://b", 1, "data.dir")


def test_a_bucket_of_s3_is_read_as_a_folder(photos, s3):
    s3.put(str(photos), "bucket/photos", recursive=True)
    images = source("data.dir=s3://bucket/photos")
    assert fingerprint.dataset(images) == fingerprint.dataset(source(f"data.dir={photos}"))
    path = images.splits["train"].paths[0]
    s3.pipe_file(f"bucket/photos/train/{'/'.join(Path(path).parts[-2:])}", b"other")
    again = source("data.dir=s3://bucket/photos")
    assert Path(path).read_bytes() == b"other"
    assert again.splits["train"].paths[0] == path
    with pytest.raises(BadInput) as caught:
        source("data.dir=s3://nowhere/photos")
    assert caught.value.problems[0].what == "there is nothing at s3://nowhere/photos"


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Serves on this machine by a handler; gives the address."""
    servers = []

    def serve(handler) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_zip_on_the_web(photos, tmp_path, served, monkeypatch):
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    archive(photos, tmp_path / "a.zip")
    address = served(partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    images = source(f"data.dir={address}/a.zip?version=2")
    assert sum(map(len, images.splits.values())) == 36
    with pytest.raises(BadInput) as caught:
        source(f"data.dir={address}/none.zip")
    assert caught.value.problems[0].what == f"there is nothing at {address}/none.zip"


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        """Quiet."""


def test_a_bucket_that_answers_403(served, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "me")
    monkeypatch.setenv("AWS_ENDPOINT_URL", served(Refusing))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(BadInput) as caught:
        source("data.dir=s3://refused/photos")
    (problem,) = caught.value.problems
    assert problem.what.startswith("s3://refused/photos can't be listed: access is refused")
    assert problem.right == "access to it: credentials are read as its own tools do"


@pytest.fixture
def web(photos, tmp_path, monkeypatch):
    """A server that means no good, on an address that is taken for one of the outside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    private = remote._is_private
    monkeypatch.setattr(remote, "_is_private", lambda address: address != "127.0.0.1" and private(address))
    with socket.create_server(("127.0.0.2", 0)) as inside:
        inside.setblocking(False)
        with sources.served(tmp_path, f"http://127.0.0.2:{inside.getsockname()[1]}/secret.zip") as address:
            yield address, inside


def fetching(address, kind):
    with pytest.raises(BadInput) as caught:
        remote.local(f"{address}/{kind}.zip", 1, "data.dir")
    return str(caught.value)


def test_a_redirect_to_the_inside_is_not_followed(web, monkeypatch):
    address, inside = web
    assert os.path.isfile(remote.local(f"{address}/sound.zip", 1, "data.dir"))
    said = fetching(address, "to-inside")
    assert f"{address}/to-inside.zip is not followed: it leads to 127.0.0.2, an address of the network inside" in said
    with pytest.raises(BlockingIOError):
        inside.accept()
    monkeypatch.setenv(remote.PRIVATE, "1")
    monkeypatch.setattr(remote, "TRIES", 1)
    threading.Thread(target=lambda: fetching(address, "to-inside"), daemon=True).start()
    inside.setblocking(True)
    inside.settimeout(20)
    inside.accept()[0].close()  # it is followed where that is allowed


def test_what_is_typed_may_be_inside(web, monkeypatch):
    """And so may what that leads to."""
    address, inside = web
    monkeypatch.setattr(remote, "_is_private", lambda address: True)
    threading.Thread(target=lambda: fetching(address, "to-inside"), daemon=True).start()
    inside.setblocking(True)
    inside.settimeout(20)
    inside.accept()[0].close()


@pytest.mark.parametrize("kind", ["to-file", "to-itself", "to-other", "shorter", "packed", "huge", "without"])
def test_a_server_that_lies_is_told(web, kind):
    assert fetching(web[0], kind)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
        *[(one, True) for one in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1")],
        *[(one, True) for one in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "224.0.0.1", "ff02::1", "x")],
    ],
)
def test_what_is_an_address_of_the_inside(address, private):
    assert remote._is_private(address) == private

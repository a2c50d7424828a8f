"""Data that lie elsewhere (``s3://``, ``gs://``, ``memory://``, ``https://``): their files are fetched into the user's cache
folder, and read from there as any others.

fsspec knows the protocols, and its libraries the credentials. Many files are fetched at once, each in pieces, again where
that fails; what was fetched stays, so that the same command goes on after whatever stopped it. A file is fetched anew
when its size or tag differs. Copies of other addresses, and pieces of files that are not whole yet, make room where all
together would take more than they may, the least recently used first; never those that a running process reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from framework.config.documents import read
from framework.config.folders import conf_folder
from framework.core.console import amount, progress, say
from framework.core.errors import BadInput, Problem, RunFailed, listing, many
from framework.core.files import cache_folder, held, in_use, is_full, locked, write_whole

T = TypeVar("T")
GIB = 2**30
READERS = 64  # files fetched at once: most of the time of one is waiting
PIECE = 16 << 20  # bytes of a large file that are asked for at once
TRIES, PAUSE = 4, 0.25  # how often a file is asked for, and seconds before the second time, doubled each time
SAVED = 5.0  # seconds after which it is noted what has been fetched
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.IGNORECASE)
# what asking again does not change
_FOR_GOOD = (PermissionError, FileNotFoundError, NotImplementedError, IsADirectoryError, ValueError, TypeError)
_WEB = ("http", "https")
PRIVATE = "FRAMEWORK_PRIVATE_ADDRESSES"  # lets addresses elsewhere lead to the network inside
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
} | dict.fromkeys(_WEB, "aiohttp")
_OF_EXTRA = ("fsspec", "s3fs", "gcsfs", "aiohttp")


def is_address(text: object) -> bool:
    """Whether a text leads to another machine."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


def local(address: str, limit: float, where: str) -> str:
    """The path at which an address's file, or all below its folder or of its glob, lie on this machine, fetched if need be.

    Args:
        address: with its protocol.
        limit: GiB that all such files may take in the user's cache folder.
        where: the key of the config that names it.

    Raises:
        BadInput: a package is missing; there is nothing, or no access; or it is larger than ``limit``.
        RunFailed: the disk is full.
    """
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    files = _listed(address, where)
    size = sum(one.size for one in files.values())
    root = cache_folder() / "remote"
    if size > limit * GIB:
        what = f"{address} holds {amount(size)}, more than {limit:g} GiB of copies may take"
        raise BadInput(Problem(what, where, f"data.disk_limit={-(-size // GIB)}, or a part of it"))
    copy = _Copy(root, address)
    try:
        with locked(copy.lock, lambda: say(f"Waiting: another process fetches {address}.")):
            _use(copy)
            _make_room(copy, files, size, limit, where)
            wanted = copy.missing(files)
            more = sum(files[name].size for name in wanted)
            if shutil.disk_usage(root).free < more:
                raise RunFailed(f"{address} takes {amount(more)} more, and {root} has not so much room.")
            copy.fetch(wanted, files, where)
            copy.forget(files)
    except OSError as error:
        if is_full(error):
            raise RunFailed(
                f"{address} can't be fetched: the disk of {root} is full. What was fetched is kept."
            ) from None
        raise
    return str(root / _place(found[1].lower(), address))


@dataclass(frozen=True)
class _File:
    """A file elsewhere: how to ask for it, its size, and what changes with its contents."""

    system: Any
    name: str
    size: int
    tag: str


def _listed(address: str, where: str) -> dict[str, _File]:
    """The files of an address, by their paths in the folder of all copies."""
    protocol = address.partition("://")[0].lower()
    system, path = system_of(address, where)
    found = _asked(lambda: _find(system, path.rstrip("/"), protocol), address, where)
    if not found:
        raise BadInput(
            Problem(f"there is nothing at {address}", where, "the address of a file, or of a folder of files")
        )
    files = {}
    for name, said in found.items():
        inside = _place(protocol, name)
        if any(part in ("", ".", "..") for part in inside.split("/")):
            raise BadInput(Problem(f"{address} has a name that leads out of it: {name}", where, "names of plain parts"))
        tags = (said.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created"))
        size = said.get("size")
        if size is None:
            what = f"{address} does not say how large it is"
            raise BadInput(Problem(what, where, "a server that tells the length of its files"))
        files[inside] = _File(system, name, int(size), str(next((tag for tag in tags if tag), "")))
    return files


def system_of(address: str, where: str) -> tuple[Any, str]:
    """What fsspec reads an address by, and the path there.

    Args:
        address: with its protocol.
        where: the key of the config that names it.

    Raises:
        BadInput: a package is missing, or nobody knows the protocol.
    """
    protocol = address.partition("://")[0].lower()
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address, **(_on_the_web(address) if protocol in _WEB else {}))
    except ImportError as error:
        package = _PACKAGES.get(protocol, getattr(error, "name", None) or "fsspec")
        what = f"{protocol}:// is read by the package {package}, which is not installed"
        extra = package in _OF_EXTRA
        raise BadInput(
            Problem(what, where, "pip install 'framework[remote]'" if extra else f"pip install {package}")
        ) from None
    except ValueError as error:
        raise BadInput(Problem(f"{address}: {_first_line(error)}", where, "s3://, gs:// or https://")) from None
    return system, path


def _on_the_web(address: str) -> dict[str, Any]:
    """What fsspec is told of a web address: how to connect, and that nothing is to be taken over from another one.

    A server elsewhere may answer with a redirect, and a name be given another address between two requests: either could
    make this machine read what only the network around it can reach. So the addresses that are connected to are
    those of the outside, unless the one that was typed is of the inside itself, or ``PRIVATE`` is set. What comes is
    read up to what was asked for, however it is packed.
    """
    host = urlsplit(address).hostname or ""
    inside = bool(os.environ.get(PRIVATE)) or any(map(_is_private, _addresses(host)))

    def connect(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        if not inside and _is_private(place[0]):
            raise Inside(place[0])
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        return opened

    async def client(**given: Any) -> Any:
        import aiohttp

        class Bounded(aiohttp.ClientResponse):
            """An answer that is no longer than a piece."""

            async def read(self) -> bytes:
                """All of it."""
                pieces, left = [], PIECE
                async for piece in self.content.iter_chunked(1 << 16):
                    pieces.append(piece)
                    left -= len(piece)
                    if left < 0:
                        self.close()
                        raise OSError(f"more than the {PIECE:,} bytes came that were asked for")
                self._body = b"".join(pieces)
                return self._body

        connector = aiohttp.TCPConnector(socket_factory=connect)
        return aiohttp.ClientSession(connector=connector, response_class=Bounded, **given)

    return {"get_client": client, "skip_instance_cache": True}


def _addresses(host: str) -> list[str]:
    """The addresses that a name has now; none if it has none."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _is_private(address: str) -> bool:
    """Whether an address is none of the public network: of this machine, of the network around it, of a cloud's inside."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_global or found.is_multicast


class Inside(ValueError):
    """An address of the inside that an address of the outside led to."""

    def __init__(self, address: str):
        super().__init__(
            f"it leads to {address}, an address of the network inside; {PRIVATE}=1 in the environment allows that"
        )


def _place(protocol: str, name: str) -> str:
    """Where a file's copy lies in the folder of all copies; what a web address asks for behind ``?`` is left out."""
    path = name.partition("://")[2] or name
    return f"{protocol}/{(path.partition('?')[0] if protocol in _WEB else path).strip('/')}"


def _find(system: Any, path: str, protocol: str) -> Mapping[str, Mapping[str, Any]]:
    """What is said of each file."""
    if protocol in _WEB:  # a folder there is a page like any other
        return {path: system.info(path)}
    from framework.data.shards import expanded

    found: dict[str, Mapping[str, Any]] = {}
    for one in expanded(path):
        if any(sign in one for sign in "*?["):
            found |= system.glob(one, detail=True)
        else:
            found |= system.find(one, detail=True)
    return {name: said for name, said in found.items() if said.get("type") != "directory" and not name.endswith("/")}


class _Copy:
    """The files of an address on this machine, and what is known of those that are whole."""

    def __init__(self, root: Path, address: str):
        self.root, self.address = root, address
        self.key = key = hashlib.blake2b(address.encode(), digest_size=8).hexdigest()
        self.record = root / "records" / f"{key}.json"
        self.lock = root / "locks" / key
        self.parts = root / "parts" / key  # pieces of files that are not whole yet
        self.known = _read(self.record)

    def missing(self, files: Mapping[str, _File]) -> list[str]:
        """Those that are not here, or were fetched when they were others."""
        return [name for name, file in files.items() if not self._has(name, file)]

    def fetch(self, names: list[str], files: Mapping[str, _File], where: str) -> None:
        """Fetch these; what could not be fetched is told at the end, and the others stay."""
        self._save()  # so that the pieces are known to be of this address
        failed: dict[str, str] = {}
        saved = time.monotonic()
        with (
            progress(f"Fetching {self.address}", len(names), "files") as advance,
            ThreadPoolExecutor(READERS) as pool,
        ):
            tasks = {pool.submit(self._fetch, name, files[name]): name for name in names}
            try:
                for task in as_completed(tasks):
                    name = tasks[task]
                    try:
                        task.result()
                    except Exception as error:
                        if is_full(error):
                            raise
                        failed[files[name].name] = why(error)
                        if isinstance(error, PermissionError):
                            break  # the next ones are refused too
                    else:
                        self.known[name] = [files[name].size, files[name].tag]
                        advance(1)
                    if time.monotonic() - saved > SAVED:
                        saved = time.monotonic()
                        self._save()
            finally:
                pool.shutdown(cancel_futures=True)
                self._save()
        if failed:
            told = listing([f"{name}: {why}" for name, why in sorted(failed.items())], 3)
            what = f"of {many(len(names), 'file')} of {self.address} {len(failed):,} can't be fetched: {told}"
            raise BadInput(Problem(what, where, "the same command again: what was fetched is kept"))

    def forget(self, files: Mapping[str, _File]) -> None:
        """Remove copies of what is no longer there, and pieces of what has changed meanwhile; note the time of use."""
        for name in [name for name in self.known if name not in files]:
            self._remove(name)
        shutil.rmtree(self.parts, ignore_errors=True)
        self._save()

    def clear(self) -> None:
        """Remove all of it."""
        for name in list(self.known):
            self._remove(name)
        shutil.rmtree(self.parts, ignore_errors=True)
        self.record.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes that are here, pieces of files that are not whole yet among them."""
        pieces = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.parts) as found:
            for piece in found:
                with contextlib.suppress(FileNotFoundError):
                    pieces += piece.stat().st_size
        return pieces + sum(size for size, _ in self.known.values())

    def drop_pieces(self, files: Mapping[str, _File]) -> None:
        """Remove pieces of files that are no more as they were then."""
        wanted = {self._piece_of(name, file).name for name, file in files.items()}
        for piece in self.parts.glob("*"):
            if piece.name not in wanted:
                piece.unlink(missing_ok=True)

    def _has(self, name: str, file: _File) -> bool:
        if self.known.get(name) != [file.size, file.tag]:
            return False
        with contextlib.suppress(OSError):
            return os.path.getsize(self.root / name) == file.size
        return False

    def _fetch(self, name: str, file: _File) -> None:
        """One file, piece by piece; a piece that is there from a run before is not asked for again."""
        path = self.root / name
        part = self._piece_of(name, file)
        for folder in (path.parent, part.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as opened:
            while (start := opened.tell()) < file.size:
                stop = min(start + PIECE, file.size)
                data = _again(lambda start=start, stop=stop: _piece(file, start, stop))  # type: ignore[misc]
                if len(data) != stop - start:
                    part.unlink()
                    raise OSError(f"{len(data):,} bytes came in place of {stop - start:,}")
                opened.write(data)
        os.replace(part, path)

    def _piece_of(self, name: str, file: _File) -> Path:
        """Where a file is put together."""
        return self.parts / hashlib.blake2b(repr((name, file.size, file.tag)).encode(), digest_size=16).hexdigest()

    def _remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self.known.pop(name, None)

    def _save(self) -> None:
        write_whole(self.record, json.dumps({"address": self.address, "files": self.known}))


def _piece(file: _File, start: int, stop: int) -> bytes:
    if start == 0 and stop == file.size:
        return bytes(file.system.cat_file(file.name))
    return bytes(file.system.cat_file(file.name, start=start, end=stop))


def _read(record: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(record.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


_USED = contextlib.ExitStack()  # what this process reads, to its end: paths are all that anybody keeps of a copy
_KEYS: set[tuple[Path, str]] = set()


def _use(copy: _Copy) -> None:
    """Keep others from removing the copy as long as this process lives."""
    if (copy.root, copy.key) not in _KEYS:
        _USED.enter_context(in_use(copy.root, copy.key))
        _KEYS.add((copy.root, copy.key))


def _make_room(own: _Copy, files: Mapping[str, _File], size: int, limit: float, where: str) -> None:
    """Remove copies of other addresses until all keep to the limit, the least recently used first, and none in use.

    Raises:
        BadInput: those that are in use leave too little room.
    """
    root = own.root
    root.mkdir(parents=True, exist_ok=True)
    own.drop_pieces(files)
    records = [record for record in (root / "records").glob("*.json") if record != own.record]
    copies: list[_Copy] = []
    for record in sorted(records, key=lambda file: -file.stat().st_mtime):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            copies.append(_Copy(root, json.loads(record.read_bytes())["address"]))
    used = [copy for copy in copies if _is_used(copy)]
    size += sum(copy.size for copy in used)
    if size > limit * GIB:
        names = listing([copy.address for copy in used], 3)
        what = f"{own.address} and copies that are in use now ({names}) come to {amount(size)}, more than {limit:g} GiB"
        raise BadInput(Problem(what, where, f"data.disk_limit={-(-size // GIB)}, or wait for their end"))
    for copy in copies:
        if copy not in used:
            size += copy.size
            if size > limit * GIB:
                with held(root, copy.key) as alone:
                    if alone:
                        copy.clear()


def _is_used(copy: _Copy) -> bool:
    with held(copy.root, copy.key) as alone:
        return not alone


def _asked(ask: Callable[[], T], address: str, where: str) -> T:
    try:
        return _again(ask)
    except FileNotFoundError as error:
        inside: BaseException | None = error  # the library says so of whatever went wrong
        while inside is not None and not isinstance(inside, Inside):
            inside = inside.__cause__ or inside.__context__
        if inside is not None:
            raise BadInput(
                Problem(f"{address} is not followed: {inside}", where, "the address that it leads to")
            ) from None
        raise BadInput(Problem(f"there is nothing at {address}", where, "the address of a file or a folder")) from None
    except Exception as error:
        right = (
            "access to it: credentials are read as its own tools do" if _refused(error) else "the same command again"
        )
        raise BadInput(Problem(f"{address} can't be listed: {why(error)}", where, right)) from None


def _again(ask: Callable[[], T]) -> T:
    """Ask, and ask again where that may help."""
    for number in range(TRIES):
        try:
            return ask()
        except _FOR_GOOD:
            raise
        except Exception as error:
            if number == TRIES - 1 or _refused(error):
                raise
            time.sleep(PAUSE * 2**number)
    raise AssertionError


def _refused(error: BaseException) -> bool:
    return isinstance(error, PermissionError) or type(error).__name__ in ("NoCredentialsError", "ProfileNotFound")


def why(error: BaseException) -> str:
    """What a store's library says of a failure, in a clause."""
    if isinstance(error, PermissionError):
        return f"access is refused ({_first_line(error)})"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") or type(error).__name__


def usual_limit() -> float:
    """GiB that copies may take where no run says otherwise."""
    return float(read(conf_folder() / "train.yaml").content["data"]["disk_limit"])


def fetched(parameters: Mapping[str, Any], limit: float) -> tuple[dict[str, Any], list[str]]:
    """Parameters of a source with paths in place of addresses, and what is to be said of that; raises as ``local``."""
    found = {
        key: local(value, limit, f"data.{key}") if is_address(value) else value for key, value in parameters.items()
    }
    return found, [f"data.{key} is a copy of {value}" for key, value in parameters.items() if is_address(value)]

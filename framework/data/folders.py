"""What lies in a folder: images, known by their ending, and all that is not used, counted by kind.

Nothing is decoded, and of 100,000 images not one is opened: only what is no image by its name is looked into, and
of many files with one ending only the first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from importlib.util import find_spec
from typing import NamedTuple

from framework.core.errors import BadInput, Problem, listing, many
from framework.data import containers
from framework.data.containers import Entry, Member
from framework.data.headers import format_of

JPEGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
OTHERS = (".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif")
HEIFS = (".heic", ".heif", ".hif")
# Pillow reads them by a library of their own, an extra
READS_HEIF = find_spec("pillow_heif") is not None
EXTENSIONS = frozenset(JPEGS + OTHERS + HEIFS * READS_HEIF)
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
# What network storage, systems and programs leave in folders; so do all names that begin with a dot.
FOREIGN = frozenset(
    (
        *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found"),
        *("__macosx", "__pycache__", "$recycle.bin", "system volume information"),
    )
)
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
RAW = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
EXAMPLES = 20
# Of files with one ending so many are looked into; if all were of one kind, the others are taken for it too.
LOOKED_INTO = 100
_HEAD_BYTES = 512


class Kind(NamedTuple):
    """What a group of unused files is called, singly and in number, and what to do about them."""

    one: str
    several: str
    advice: str = ""


@dataclass(frozen=True)
class Unused:
    """Files, or folders, of one kind that are not used: how many, and the paths of some; ``wanted`` if the config asks
    for it."""

    kind: Kind
    count: int
    examples: tuple[str, ...]
    wanted: bool = False

    def __str__(self) -> str:
        return many(self.count, self.kind.one, self.kind.several) + f" ({self.kind.advice})" * bool(self.kind.advice)


def told(unused: Sequence[Unused]) -> list[tuple[str, str]]:
    """What is said of files that are not used: a heading and a text, nothing if there are none."""
    return [("not used", ", ".join(map(str, unused)))] if unused else []


CONVERT = "convert to JPEG"
HEIC_ADVICE = f"as iPhones write it: pip install 'framework[heif]', or {CONVERT}"
HEIC = Kind("HEIC", "HEIC", HEIC_ADVICE)
_KINDS = {
    "HEIC": HEIC,
    "text": Kind("text file", "text files"),
    "empty": Kind("empty file", "empty files"),
    "video": Kind("video", "videos"),
    "ZIP": Kind("archive", "archives", "unpack"),
    "gzip": Kind("archive", "archives", "unpack"),
    "HTML": Kind("web page", "web pages"),
    **{name: Kind(name, name, CONVERT) for name in ("JPEG XL", "JPEG 2000", "Photoshop", "SVG", "PDF", "ICO")},
}
_RAW_PHOTO = Kind("raw photo", "raw photos", CONVERT)
_HIDDEN = Kind("hidden file", "hidden files")
_SYSTEM_FILE = Kind("file of the system", "files of the system")
_BROKEN_LINK = Kind("broken link", "broken links")
_UNLISTED = Kind("folder that can't be listed", "folders that can't be listed")
_LOOP = Kind("link to a folder around it", "links to a folder around them")
_AGAIN = Kind("link to a folder that is read already", "links to folders that are read already")
_LOOSE = Kind("image beside the class folders", "images beside the class folders", "move them into their class")


class Tally:
    """Counts what is met and not used."""

    def __init__(self) -> None:
        self._counts: dict[Kind, int] = {}
        self._examples: dict[Kind, list[str]] = {}
        self._kinds: dict[str, set[Kind]] = {}
        self._looked_into: dict[str, int] = {}

    @property
    def unused(self) -> tuple[Unused, ...]:
        """All kinds, the most frequent first."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        return tuple(Unused(kind, self._counts[kind], tuple(sorted(self._examples[kind]))) for kind in kinds)

    def add(self, entry: Entry) -> None:
        """Count a file that is no image by its name, or a folder that is passed over."""
        if is_directory(entry):
            self.add_kind(Kind(f"{entry.name} folder", f"{entry.name} folders"), entry.path)
        else:
            self.add_kind(self._kind(entry), entry.path)

    def add_kind(self, kind: Kind, path: str, count: int = 1) -> None:
        """Count one of a kind, or several by one path."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(path)

    def add_unlisted(self, folder: str) -> None:
        """Count a folder whose files can't be listed."""
        self.add_kind(_UNLISTED, folder)

    def _kind(self, entry: Entry) -> Kind:
        ending = os.path.splitext(entry.name)[1].lower()
        if isinstance(entry, Member):
            if entry.odd:
                return Kind(f"{entry.odd} in an archive", f"{entry.odd}s in an archive")
        elif not os.path.exists(entry.path):
            return _BROKEN_LINK
        if entry.name.startswith("."):
            return _HIDDEN
        if entry.name.lower() in SYSTEM_FILES:
            return _SYSTEM_FILE
        if ending in RAW:
            return _RAW_PHOTO
        looked, kinds = self._looked_into.get(ending, 0), self._kinds.setdefault(ending, set())
        if looked >= LOOKED_INTO:
            return next(iter(kinds)) if len(kinds) == 1 else _by_ending(ending)
        self._looked_into[ending] = looked + 1
        kind = _by_contents(entry, ending)
        kinds.add(kind)
        return kind


def _by_contents(entry: Entry, ending: str) -> Kind:
    try:
        if not entry.is_file():
            return _by_ending(ending)
        format = format_of(containers.head(entry.path, _HEAD_BYTES))
    except OSError:
        return _by_ending(ending)
    if format is None:
        return _by_ending(ending)
    name = f"{format} without an image's ending"
    return _KINDS.get(format) or Kind(name, name, "rename, for instance to .jpg")


def _by_ending(ending: str) -> Kind:
    return Kind(f"{ending} file", f"{ending} files") if ending else Kind("without ending", "without ending")


def is_foreign(name: str) -> bool:
    """Whether a folder of this name is hidden, or one that a system or another program keeps for itself."""
    return name.startswith(".") or name.lower() in FOREIGN


def is_image(entry: Entry) -> bool:
    """Whether an entry is a file, not hidden, with an image's ending."""
    name = entry.name
    if isinstance(entry, Member) and entry.image:
        return True
    try:
        return name[name.rfind(".") :].lower() in EXTENSIONS and not name.startswith(".") and entry.is_file()
    except OSError:  # a link to itself
        return False


def is_directory(entry: Entry) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def walk(folder: str, tally: Tally) -> Iterator[str]:
    """Images under a folder, in no order; links are followed, but none back into the folders on the way here, and each
    folder is read once: links to links would lead to as many as one likes.

    Raises:
        OSError: a folder can't be listed.
    """
    return _walk(folder, {containers.identity(os.path.dirname(folder)), containers.identity(folder)}, set(), tally)


def _walk(folder: str, trail: set[Hashable], read: set[Hashable], tally: Tally) -> Iterator[str]:
    inside = []
    for entry in containers.scandir(folder):
        if is_image(entry):
            yield entry.path
        elif not is_directory(entry) or is_foreign(entry.name):
            tally.add(entry)
        else:
            inside.append(entry)
    # so that the same one of several ways is gone everywhere, and none by a link where there is another
    for entry in sorted(inside, key=lambda entry: (_is_link(entry), entry.name)):
        here = containers.identity(entry.path)
        if here in trail:
            tally.add_kind(_LOOP, entry.path)
        elif here in read:
            tally.add_kind(_AGAIN, entry.path)
        else:
            read.add(here)
            yield from _walk(entry.path, trail | {here}, read, tally)


def _is_link(entry: Entry) -> bool:
    return not isinstance(entry, Member) and entry.is_symlink()


def class_folders(folder: str, tally: Tally) -> dict[str, str]:
    """Path of each folder in a folder by its name, in order; what else lies there is counted."""
    for entry in containers.scandir(folder):
        if is_image(entry):
            tally.add_kind(_LOOSE, entry.path)
        elif not is_directory(entry) or is_foreign(entry.name):
            tally.add(entry)
    return _folders(folder)


def root_of(path: str, tally: Tally | None = None) -> str:
    """The folder of the class folders, or of the splits: a path in full, in an archive past folders that are alone; what
    lies beside those is counted.

    Raises:
        BadInput: it is an archive that is broken, or not read as it is.
    """
    root = os.path.abspath(os.path.expanduser(path))
    if containers.is_container(root):
        if containers.opened(root, "data.dir").images:
            right = f"data={'parquet' if root.endswith('.parquet') else 'tfrecord'} data.files={root}"
            raise BadInput(Problem(f"{root} is a table of images, and has no class folders", "data.dir", right))
        while len(inside := _folders(root)) == 1 and not any(map(is_image, containers.scandir(root))):
            (only,) = inside.values()
            if not _folders(only):
                break
            class_folders(root, tally or Tally())
            root = only
    return root


def _folders(folder: str) -> dict[str, str]:
    found = (entry for entry in containers.scandir(folder) if is_directory(entry) and not is_foreign(entry.name))
    return {entry.name: entry.path for entry in sorted(found, key=lambda entry: entry.name)}


def split_folders(root: str) -> dict[str, str]:
    """The folder of the class folders of each split in a folder, as far as there are such; none where its folders are
    classes.

    They are known by their names in any case, also with the same words around them (``seg_train``, ``seg_test``).
    Where a folder in one of them repeats its name, as archives unpack to, it is that; where all splits lie in one
    folder, they are found there. A folder with images right in it is a class, whatever it is called, unless it holds
    folders too and another split lies beside it.

    Raises:
        BadInput: more than one folder could be a split.
    """
    inside = _folders(root)
    if len(inside) == 1:
        (only,) = inside.values()
        splits = _only_set(only, _sets_of_splits(only))
        if "train" in splits:
            return splits
    return _only_set(root, _sets_of_splits(root))


def beside_splits(root: str, splits: Collection[str], tally: Tally) -> None:
    """Count what lies in a folder beside the folders of its splits, and in those on the way to them: images by the folder
    that they lie in."""
    for name, path in class_folders(root, tally).items():
        if path in splits:
            continue
        if any(split.startswith(f"{path}/") for split in splits):
            beside_splits(path, splits, tally)
        else:
            try:
                count = sum(1 for _ in walk(path, Tally()))
            except OSError:
                tally.add_unlisted(path)
                continue
            if count:
                tally.add_kind(Kind(f"image in {name}/", f"images in {name}/", "beside the splits"), path, count)


def _sets_of_splits(root: str) -> dict[str, dict[str, list[str]]]:
    """Folders that look like splits: by what their names have in common, by split."""
    pure, mixed = [], []
    for name, path in _folders(root).items():
        split = split_in(name)
        if split is None:
            continue
        if not any(map(is_image, containers.scandir(path))):
            pure.append((*split, path))
        elif _folders(path):
            mixed.append((*split, path))
    sets: dict[str, dict[str, list[str]]] = {}
    for common, name, path in pure + mixed * (len(pure + mixed) > 1):
        sets.setdefault(common, {}).setdefault(name, []).append(_repeated(path))
    return {common: splits for common, splits in sets.items() if not common or {"train"} < set(splits)}


def split_in(name: str) -> tuple[str, str] | None:
    """A folder's name without the word that names a split, and the split; None without such a word."""
    words = re.split("([^a-z]+)", name.casefold())
    found = [(place, split) for place, word in enumerate(words) if (split := split_called(word))]
    if len(found) != 1:
        return None
    (place, split), *_ = found
    return "".join(words[:place] + words[place + 1 :]), split


def split_called(name: str) -> str | None:
    """The split that goes by this name, in any case; None if none does."""
    return next((split for split, names in SPLIT_NAMES.items() if name.casefold() in names), None)


def _repeated(folder: str) -> str:
    """The folder in a folder that is alone there and has its name; else the folder itself."""
    inside = _folders(folder)
    name = os.path.basename(folder).casefold()
    return next(iter(inside.values())) if [one.casefold() for one in inside] == [name] else folder


def _only_set(root: str, sets: dict[str, dict[str, list[str]]]) -> dict[str, str]:
    """The splits of the one set; one whose names are nothing but those of splits goes before others.

    Raises:
        BadInput: there are several sets, or several folders for one split.
    """
    if "" in sets:
        sets = {"": sets[""]}
    if len(sets) > 1:
        paths = [path for splits in sets.values() for paths in splits.values() for path in paths]
        what = f"{root} holds several sets of splits: {listing([os.path.relpath(path, root) for path in paths])}"
        raise BadInput(Problem(what, "data.dir", "the folders of one set called train, validation and test"))
    splits = next(iter(sets.values()), {})
    problems = [
        Problem(
            f"{root} has several {split} folders: {listing([os.path.relpath(path, root) for path in paths])}",
            "data.dir",
            f"one of them alone, called {split}; another name for the others, or another place",
        )
        for split, paths in splits.items()
        if len(paths) > 1
    ]
    if problems:
        raise BadInput(problems)
    return {split: splits[split][0] for split in SPLIT_NAMES if split in splits}


def relative(path: str, folder: str) -> str:
    """``os.path.relpath``, in a fifth of the time for what lies below: of 100,000 images that is felt."""
    below = os.path.join(folder, "")
    return path[len(below) :] if path.startswith(below) else os.path.relpath(path, folder)


def left_out(one: str, several: str, key: str, paths: Sequence[str]) -> tuple[Unused, ...]:
    """Images that a key of the config leaves out; nothing if there are none."""
    kind = Kind(one, several, key)
    return (Unused(kind, len(paths), tuple(nsmallest(EXAMPLES, paths)), wanted=True),) if len(paths) else ()


def not_learnt(outside: Mapping[str, Sequence[str]]) -> tuple[Unused, ...]:
    """Test images by class, where training has no such class."""
    if not outside:
        return ()
    kind = Kind("test image", "test images", f"of what training has not: {listing(list(outside))}")
    paths = [path for some in outside.values() for path in some]
    return (Unused(kind, len(paths), tuple(paths[:EXAMPLES])),)

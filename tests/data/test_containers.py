"""Containers: members are read as files are, and what is broken or hostile is told in one sentence."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from framework.core import registry
from framework.core.errors import BadInput
from framework.data import containers, decode, fingerprint, scaffold
from framework.data.folders import told
from framework.data.manifest import read_manifest
from framework.data.sources import read_all
from framework.evaluation import inputs
from framework.inspection.look import look_at
from tests.conftest import make_images
from tests.data.archived import archive, write_archive

ENDINGS = (".zip", ".tar")
SHARES = {"validation": 0.25, "test": 0.0}


def listed(place, **changes):
    return read_all("image_folder", 1, **{"dir": str(place), "validation": 0.25, "test": 0.0, **changes})


def complaint(place):
    with pytest.raises(BadInput) as caught:
        listed(place)
    (problem,) = caught.value.problems
    return problem


def below(images, split):
    """Names of a split's images from the data's folder on."""
    return [os.path.relpath(path, images.root) for path in images.splits[split].paths]


def zipped_bytes(photos):
    return {str(path.relative_to(photos)): path.read_bytes() for path in sorted(photos.rglob("*.jpg"))}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("within", ["", "my photos/of 2024"])
def test_an_archive_is_read_as_the_folder_that_it_was_made_of(photos, tmp_path, ending, within):
    packed = archive(photos, tmp_path / f"a{ending}", within)
    plain, images = listed(photos), listed(packed)
    assert images.classes == plain.classes
    for split in ("train", "validation"):
        assert below(images, split) == below(plain, split)
        assert images.splits[split].labels.tolist() == plain.splits[split].labels.tolist()
    one, other = plain.splits["train"].paths, images.splits["train"].paths
    assert fingerprint.contents(other) == fingerprint.contents(one)
    assert fingerprint.dataset(images) == fingerprint.dataset(plain)
    assert decode.look(other) == decode.Look([], [])
    assert [look.hash for look in look_at(other)] == [look.hash for look in look_at(one)]
    assert np.array_equal(decode.pixels(other[0]), decode.pixels(one[0]))
    assert scaffold.look(images).side == 40


@pytest.mark.parametrize("ending", ENDINGS)
def test_shares_are_drawn_as_from_the_folder(photos, tmp_path, ending):
    (photos / "train" / "notes.txt").write_text("text")
    packed = archive(photos / "train", tmp_path / f"a{ending}", "photos")
    plain, images = listed(photos / "train"), listed(packed)
    assert images.told() == plain.told() == [("not used", "1 text file")]
    beside = write_archive(tmp_path / f"b{ending}", {"README": b"text", "photos/a/1.jpg": b"", "photos/b/1.jpg": b""})
    assert registry.get("source", "image_folder")(1, dir=str(beside), **SHARES).told()[0] == ("not used", "1 text file")
    assert [below(images, split) for split in images.splits] == [below(plain, split) for split in plain.splits]


def test_names_that_are_long_or_of_other_letters_and_what_is_no_image(photos, tmp_path):
    image = next(photos.rglob("*.jpg")).read_bytes()
    long = "x" * 200
    names = [f"rosé/{long}.jpg", "rosé/日本.jpg", "./blau/a.jpg", "blau/inner/b.jpg", "blau/inner/c\udc80.jpg"]
    entries = {**dict.fromkeys(names, image), "blau/notes.txt": b"text", "__MACOSX/blau/._a.jpg": b"", ".DS_Store": b""}
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        file = tmp_path / f"{format}.tar"
        with tarfile.open(file, "w", format=format, errors="surrogateescape") as made:
            for name, data in entries.items():
                if format == tarfile.USTAR_FORMAT and len(name) > 100:
                    name = f"rosé/{'x' * 80}/{'y' * 90}.jpg"  # its longest
                header = tarfile.TarInfo(name)
                header.size, header.mtime = len(data), 1.5  # what PAX writes in a header of its own
                made.addfile(header, io.BytesIO(data))
        images = listed(file)
        assert images.classes == ("blau", "rosé")
        assert sum(map(len, images.splits.values())) == 5
        assert {fingerprint.file_hash(path) for split in images.splits.values() for path in split.paths} == {
            fingerprint.digest(image)
        }
        ((heading, text),) = told(images.unused)
        assert (heading, text) == ("not used", "1 __MACOSX folder, 1 hidden file, 1 text file")


def test_what_a_tar_has_beside_files_is_counted(photos, tmp_path):
    entries = zipped_bytes(photos)
    file = write_archive(tmp_path / "a.tar", entries)
    with tarfile.open(file, "a") as made:
        for name, kind, target in (
            ("train/red/link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            ("train/red/hard.jpg", tarfile.LNKTYPE, "train/red/red-0-000.jpg"),
            ("train/red/pipe.jpg", tarfile.FIFOTYPE, ""),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, target
            made.addfile(header)
    images = listed(file)
    assert sum(map(len, images.splits.values())) == len(entries)
    assert told(images.unused) == [("not used", "2 links in an archive, 1 special file in an archive")]
    with pytest.raises(FileNotFoundError):
        containers.contents(f"{file}/train/red/link.jpg")


def test_what_a_zip_has_beside_files_is_counted(photos, tmp_path):
    file = write_archive(tmp_path / "a.zip", zipped_bytes(photos))
    with zipfile.ZipFile(file, "a") as made:
        link = zipfile.ZipInfo("train/red/link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
        made.writestr("train/red/odd.jpg", b"x" * 99, zipfile.ZIP_LZMA)
        made.writestr("train/red/zeros.jpg", bytes(20 << 20), zipfile.ZIP_DEFLATED)
        made.writestr("train/red/large.jpg", b"x")
        made.getinfo("train/red/large.jpg").file_size = 2**29 + 1
    assert told(listed(file).unused) == [
        (
            "not used",
            "1 decompression bomb in an archive, 1 link in an archive, 1 otherwise compressed file in an archive, "
            "1 oversized file in an archive",
        )
    ]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["../red/a.jpg", "red/../../a.jpg", "/etc/a.jpg", "..\\a.jpg", "C:/a.jpg"])
def test_a_name_that_leads_out_is_refused(photos, tmp_path, ending, name):
    file = write_archive(tmp_path / f"a{ending}", {**zipped_bytes(photos), name: b"x"})
    problem = complaint(file)
    assert problem.what == f"{file} has 1 name that leads out of it: {name}"
    assert problem.where == "data.dir"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_name_too_deep_in_folders_is_refused(photos, tmp_path, ending):
    file = write_archive(tmp_path / f"a{ending}", {**zipped_bytes(photos), "a/" * 5000 + "b.jpg": b"x"})
    assert complaint(file).what.startswith(f"{file} has 1 name more than 100 folders deep: a/a/a/")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(photos, tmp_path, ending):
    entries = list(zipped_bytes(photos).items())
    file = write_archive(tmp_path / f"a{ending}", [*entries, entries[0]])
    assert complaint(file).what == f"{file} has 1 name twice: {entries[0][0]}"


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_path_leads_out_of_an_archive(photos, tmp_path, ending):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    file = archive(photos, tmp_path / f"a{ending}")
    for way in ("../secret.jpg", "train/../../secret.jpg", "nowhere.jpg", "train", ""):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            containers.contents(f"{file}/{way}")


def test_a_bomb_unpacks_to_no_more_than_it_says(photos, tmp_path):
    file = tmp_path / "a.zip"
    write_archive(file, {**zipped_bytes(photos), "train/red/bomb.jpg": bytes(10**8)})
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"train/red/bomb.jpg"))
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")  # its size, as the index says
    file.write_bytes(data)
    assert os.path.getsize(file) < 10**6
    (bad,) = decode.look([f"{file}/train/red/bomb.jpg"]).unreadable
    assert bad[1] == "damaged: it is not what the archive's checksum says"


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_archive_that_is_cut_or_damaged_is_told(photos, tmp_path, ending):
    whole = archive(photos, tmp_path / f"whole{ending}").read_bytes()
    file = tmp_path / f"a{ending}"
    rng = random.Random(0)
    for cut in (0, 1, 100, 513, len(whole) // 2, len(whole) // 2 + 1):
        file.write_bytes(whole[:cut])
        os.utime(file, (1, cut))
        assert complaint(file).what.startswith(f"{file} can't be read: ")
    damaged = 0
    for number in range(20):
        at = rng.randrange(len(whole))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        os.utime(file, (2, number))
        try:
            images = listed(file)
        except BadInput:
            damaged += 1
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                damaged += bool(decode.look([path for one in images.splits.values() for path in one.paths]).unreadable)
    assert damaged > (15 if ending == ".zip" else 0)  # a tar has no checksum of its members


@pytest.mark.parametrize(
    ("name", "unpack"), [("a.tar.gz", "gunzip"), ("a.tgz", "gunzip"), ("a.tar.bz2", "bunzip2"), ("a.tar.xz", "unxz")]
)
def test_a_tar_that_is_compressed_says_how_it_can_be_read(tmp_path, name, unpack):
    file = tmp_path / name
    file.write_bytes(b"\x1f\x8b")
    problem = complaint(file)
    assert problem.what.startswith(f"{file} is compressed as a whole")
    assert problem.right == f"{unpack} {file} makes {tmp_path}/a.tar, which is read as it is"


def test_an_archive_that_changes_is_indexed_again(photos, tmp_path):
    file = archive(photos, tmp_path / "a.zip")
    assert len(listed(file).splits["train"]) == 24
    archive(make_images(tmp_path / "more", count=3, seed=5), file, "photos")
    assert sum(map(len, listed(file).splits.values())) == 9


def test_a_table_names_members_and_a_word_on_a_command_line_an_archive(photos, tmp_path):
    file = archive(photos / "train", tmp_path / "a.zip")
    (tmp_path / "a.csv").write_text("path,label\nred/red-0-000,1\nblue/blue-0-000.jpg,2\n")
    images = read_manifest(str(tmp_path / "a.csv"), "path", "label", None, None, folder=str(file))
    assert images.splits["train"].paths == (f"{file}/red/red-0-000.jpg", f"{file}/blue/blue-0-000.jpg")
    assert decode.look(images.splits["train"].paths).unreadable == []
    assert len(list(inputs.files([str(file)]))) == 24
    assert next(iter(inputs.files([f"{file}/red"]))) == f"{file}/red/red-0-000.jpg"
    inputs.check([f"{file}/red/red-0-000.jpg"])
    with pytest.raises(BadInput, match="there is no image in"):
        inputs.check([f"{file}/red/none.jpg"])


@pytest.mark.slow
def test_a_pipeline_reads_members_to_the_bit_as_files(photos, tmp_path):
    from framework.core.geometry import Geometry
    from framework.data.rows import FileImages

    folder = photos / "train" / "red"
    Image.effect_noise((90, 70), 60).save(folder / "grey.png")
    Image.effect_noise((400, 300), 60).save(folder / "large.jpg")
    Image.effect_noise((90, 70), 60).convert("RGBA").save(folder / "alpha.png")
    Image.effect_noise((90, 70), 60).save(folder / "b.webp")
    geometry = Geometry((40, 30))
    plain = sorted(map(str, folder.iterdir()))
    expected = FileImages(plain, geometry).read(np.arange(len(plain))).numpy()
    for ending in ENDINGS:
        file = archive(photos, tmp_path / f"a{ending}")
        paths = [f"{file}/train/red/{os.path.basename(path)}" for path in plain]
        assert np.array_equal(FileImages(paths, geometry).read(np.arange(len(paths))).numpy(), expected)
        assert np.array_equal(decode.image(paths[-1], geometry), expected[-1])


@pytest.mark.slow
def test_commands_work_on_an_archive_as_on_a_folder(photos, tmp_path, capsys, monkeypatch):
    from framework import check, doctor, evaluate, predict, train

    monkeypatch.chdir(tmp_path)
    packed = archive(photos, tmp_path / "a.zip")
    given = ["data=image_folder", f"data.dir={packed}", "model=cnn", "data.image_size=16", "trainer.epochs=1"]
    assert check.main(given) == 0
    assert train.main([*given, f"hydra.run.dir={tmp_path}/run"]) == 0
    assert "a.zip" in json.loads((tmp_path / "run" / "run.json").read_text())["data"]["origin"]
    rows = (tmp_path / "run" / "answers.csv").read_text().splitlines()[1:]
    assert rows[0].startswith("validation/blue/blue-1-000.jpg,")
    assert evaluate.main([f"run={tmp_path}/run"]) == 0
    assert evaluate.main([f"run={tmp_path}/run", f"data.dir={packed}/validation"]) == 0
    capsys.readouterr()
    assert predict.main([str(packed), f"run={tmp_path}/run", "format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 37
    assert doctor.main([f"data.dir={packed}", f"output={tmp_path}/doctor", f"write={tmp_path}/lists"]) == 0
    again = [f"data.file={tmp_path}/run/split.csv", "data.split_column=split"]
    assert check.main(["data=csv", *again, *given[2:]]) == 0

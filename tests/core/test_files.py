"""Files are whole or not there; a lock is freed by its holder's death."""

import glob
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from framework.core.files import fitting, locked, open_own, read_own, refuse_bomb, refuse_device, whole, write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "run.json"
    write_whole(file, "old")

    def fail():
        with whole(file) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_file_keeps_its_ending_while_it_is_written(tmp_path):
    with whole(tmp_path / "a" / "model.keras") as beside:
        assert beside.suffix == ".keras"
        assert beside.parent == tmp_path / "a"
        beside.write_bytes(b"x")
    assert (tmp_path / "a" / "model.keras").read_bytes() == b"x"


def test_a_killed_holder_frees_the_lock_and_the_waiter_is_told(tmp_path):
    lock = tmp_path / "lock"
    code = "import sys,time,pathlib\nfrom framework.core.files import locked\n"
    code += "with locked(pathlib.Path(sys.argv[1])):\n  print('held', flush=True)\n  time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline().strip() == "held"
    told = []

    def waiting():
        told.append(time.monotonic())
        holder.send_signal(signal.SIGKILL)

    with locked(lock, waiting):
        assert holder.wait() == -signal.SIGKILL
    assert len(told) == 1


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_a_file_has_the_permissions_that_the_umask_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


def test_a_stranger_s_file_is_plain_its_own_and_of_a_size(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_text("text")
    assert read_own(folder / "a", folder) == "text"
    (tmp_path / "link").symlink_to(folder)
    assert read_own(tmp_path / "link" / "a", tmp_path / "link") == "text"
    with pytest.raises(ValueError, match="larger than"):
        read_own(folder / "a", folder, 3)
    (tmp_path / "secret").write_text("s3cret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    os.mkdir(folder / "folder")
    for name in ("out", "loop", "pipe", "folder", "nothing", "../secret"):
        with pytest.raises(OSError):  # noqa: PT011 - each for a reason of its own
            open_own(folder / name, folder)


def test_a_member_unpacks_to_no_more_than_it_may(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("right", bytes(1 << 20))
        archive.writestr("bomb", bytes(64 << 20))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        refuse_bomb(archive, ["right"])
        with pytest.raises(ValueError, match="'bomb' would unpack to 67,108,864 bytes"):
            refuse_bomb(archive)


def test_a_device_is_not_read(tmp_path):
    """Lists of images that are one would never end."""
    with pytest.raises(OSError, match="it is a device"):
        refuse_device("/dev/zero")
    refuse_device(tmp_path)


@pytest.mark.parametrize(
    "pattern", ["**/*.jpg", "a/**", "a/**/*.jpg", "**/b/**/*", "*/b/*.jpg", "a**/*.jpg", "[ab]/**/1.*", "no/**/x"]
)
def test_a_glob_names_what_it_does_elsewhere(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    for name in ("1.jpg", "a/1.jpg", "a/b/1.jpg", "a/b/c/2.jpg", "a/.hidden/3.jpg", "a[b]/4.jpg", "b/b/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for given in (pattern, f"{tmp_path}/{pattern}"):
        found = [path for path in fitting(given) if os.path.isfile(path)]
        assert found == sorted(path for path in set(glob.glob(given, recursive=True)) if os.path.isfile(path))


def test_no_links_and_no_stars_make_a_glob_endless(tmp_path):
    (tmp_path / "1.jpg").touch()
    for name in "ab":
        (tmp_path / name).symlink_to(".")
    assert fitting(f"{tmp_path}/**/*.jpg") == [f"{tmp_path}/1.jpg"]
    deep = tmp_path / "c"
    for _ in range(12):
        deep /= "c"
    deep.mkdir(parents=True)
    assert fitting(f"{tmp_path}/{'**/' * 100}*.jpg") == [f"{tmp_path}/1.jpg"]

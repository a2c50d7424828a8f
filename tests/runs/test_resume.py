"""A run that was stopped goes on as if it had not been, and only where it is the same run."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import kills, whole_files
from framework import train
from framework.core.files import locked
from framework.core.runs import RunFolder
from tests.conftest import bash
from tests.options.counted import effect

SMALL = ["model.filters=[4,8]", "data.image_size=32", "trainer.epochs=2", "trainer.batch_size=8", "data=image_folder"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def rows(folder: str | Path) -> list[dict]:
    return [
        {key: value for key, value in row.items() if key != "seconds"} for row in RunFolder(Path(folder)).read_history()
    ]


@pytest.mark.slow
def test_killed_runs_end_bit_for_bit_like_whole_ones(tmp_path):
    """The short version; ``python -m benchmarks.kills --kills 30`` is the long one."""
    assert kills.campaign(tmp_path, kills=2, seed=1, configs=("two stages",)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGTERM, 3, "stopped"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_saves_and_the_same_command_goes_on(photos, number, code, status):
    given = [*SMALL, f"data.dir={photos}", "trainer.epochs=40", "head.dropout=0.2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(train.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "framework.train", *given], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not list(Path("runs").glob("*/history.csv")):
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    (folder,) = Path("runs").iterdir()
    run = RunFolder(folder)
    assert run.read_run()["status"] == status
    done = len(run.read_history())
    assert 0 < done < 40

    again = bash(shlex.join(["python", "-m", "framework.train", *given]))
    assert again.returncode == 0, again.stderr
    assert f"going on with {folder}" in again.stderr
    assert f"resuming after epoch {done}" in again.stderr
    assert len(list(Path("runs").iterdir())) == 1
    assert len(run.read_history()) == 40


@pytest.mark.slow
@effect("resume.allow")
def test_a_finished_run_is_left_alone_and_can_be_given_more_epochs(photos, capsys):
    given = [*SMALL, f"data.dir={photos}", "head.dropout=0.3"]
    assert train.main([*given, "hydra.run.dir=run"]) == 0
    before = RunFolder(Path("run")).model.stat().st_mtime_ns
    capsys.readouterr()
    assert train.main([*given, "hydra.run.dir=run"]) == 0
    assert capsys.readouterr().err == "run is finished already: nothing to do\n"
    assert RunFolder(Path("run")).model.stat().st_mtime_ns == before

    assert train.main([*given, "hydra.run.dir=run", "trainer.epochs=4"]) == 2
    said = capsys.readouterr().err
    assert "holds a run with trainer.epochs=2, not 4" in said
    assert "resume.allow=[trainer.epochs] to go on with it" in said
    assert len(rows("run")) == 2

    assert train.main(["resume=run", "trainer.epochs=4", "resume.allow=[trainer.epochs]"]) == 0
    assert train.main([*given, "hydra.run.dir=whole", "trainer.epochs=4"]) == 0
    assert rows("run") == rows("whole")


@pytest.mark.slow
def test_a_changed_config_is_refused_key_by_key(photos, capsys):
    given = [*SMALL, f"data.dir={photos}", "hydra.run.dir=run"]
    assert train.main(given) == 0
    capsys.readouterr()
    assert train.main([*given, "optim.lr=0.5", "head.hidden=[4]"]) == 2
    said = capsys.readouterr().err
    assert "optim.lr=0.001, not 0.5" in said
    assert "head.hidden=[], not [4]" in said


@pytest.mark.slow
def test_the_second_run_in_a_folder_is_refused_by_name_of_the_first(photos, capsys):
    given = [*SMALL, f"data.dir={photos}", "hydra.run.dir=run"]
    assert train.main(given) == 0
    capsys.readouterr()
    with locked(RunFolder(Path("run")).lock):
        assert train.main(given) == 2
    assert f"run is in use by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_the_same_command_goes_on_when_there_is_room(photos, mounted, capsys):
    small_disk = mounted("size=4m")
    given = [*SMALL, f"data.dir={photos}", "trainer.epochs=4", "trainer.save_steps=2", "head.dropout=0.3"]
    given += ["callbacks.checkpoint.save=every"]
    assert train.main([*given, "hydra.run.dir=whole"]) == 0
    size = sum(path.stat().st_size for path in Path("whole").rglob("*") if path.is_file())
    for share in (0.15, 0.5, 0.9):
        folder, filler = small_disk / f"run-{share}", small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - int(share * size)))
        capsys.readouterr()
        code = train.main([*given, f"hydra.run.dir={folder}"])
        said = capsys.readouterr().err
        assert code == 3, said
        assert said.rstrip().splitlines()[-1].endswith("is full: make room, and the same command goes on")
        assert "Traceback" not in said
        assert not list(whole_files.faults(folder))
        filler.unlink()
        assert train.main([*given, f"hydra.run.dir={folder}"]) == 0
        assert rows(folder) == rows("whole")
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_damaged_state_is_told_and_nothing_is_lost(photos, capsys):
    given = [*SMALL, f"data.dir={photos}", "hydra.run.dir=run"]
    assert train.main(given) == 0
    run = RunFolder(Path("run").resolve())
    run.state.write_bytes(run.state.read_bytes()[:100])
    before = run.model.read_bytes()
    assert train.main([*given, "trainer.epochs=3", "resume.allow=[trainer.epochs]"]) == 2
    assert "state.npz is damaged" in capsys.readouterr().err
    assert run.model.read_bytes() == before

"""Where paths lead: seen from anywhere once a run has noted them, and a refused command leaves all as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from framework.cli.typed import in_full
from tests.conftest import bash, make_images

SMALL = "data=image_folder model.filters=[4] data.image_size=16 trainer.epochs=1 trainer.batch_size=8"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and time of change of every file in a folder; locks, which hold nothing, apart."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def ran(line: str, folder: Path, code: int = 0) -> str:
    done = bash(line, folder, HOME=str(folder))
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with photos and a run on them, whose data, cache and weights were given as relative paths."""
    folder = tmp_path_factory.mktemp("paths")
    make_images(folder / "my photos", count=5)
    paths = "data.dir='my photos' cache.dir=features"
    ran(f"python -m framework.train {SMALL} {paths} hydra.run.dir=run hydra.job.chdir=true", folder)
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of that run, and the photos where they were."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path


@pytest.mark.slow
def test_a_run_records_paths_in_full(trained):
    config = yaml.safe_load((trained / "run" / "config.yaml").read_text())
    assert config["data"]["dir"] == f"{trained}/my photos"
    assert config["cache"]["dir"] == f"{trained}/features"
    assert f"data.dir='{trained}/my photos'" in json.loads((trained / "run" / "run.json").read_text())["overrides"]


@pytest.mark.slow
def test_every_command_works_from_another_folder(trained, copy):
    ran("python -m framework.evaluate run=run output='~/elsewhere/$USER'", copy)
    assert (copy / "elsewhere").is_dir()
    assert not (copy / "~").exists()
    ran("python -m framework.check from=run trainer.epochs=2", copy)
    said = ran("python -m framework.train resume=run", copy)
    assert "is finished already" in said


@pytest.mark.slow
def test_data_that_have_moved_are_named_anew(trained, copy):
    config = (copy / "run" / "config.yaml").read_text()
    (copy / "run" / "config.yaml").write_text(config.replace(str(trained), "/old"))
    said = ran("python -m framework.evaluate run=run", copy, 2)
    assert "the run's data are no longer in /old/my photos" in said
    assert "try:    data.dir=FOLDER" in said
    ran(f"python -m framework.evaluate run=run data.dir='{trained}/my photos' split=validation", copy)
    ran(f"python -m framework.check from=run data.dir='{trained}/my photos' cache.dir=null", copy)


@pytest.mark.slow
def test_a_run_with_relative_paths_of_an_earlier_version_is_gone_on_with(trained):
    run = trained / "run"
    before = {name: (run / name).read_text() for name in ("config.yaml", "run.json")}
    for name, text in before.items():
        (run / name).write_text(text.replace(f"{trained}/", ""))
    try:
        assert "is finished already" in ran("python -m framework.train resume=run", trained)
    finally:
        for name, text in before.items():
            (run / name).write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "python -m framework.train resume=run optim.lr=0.5",
        f"python -m framework.train {SMALL} data.dir='PHOTOS' hydra.run.dir=run optim.lr=0.5",
        "python -m framework.train resume=run optim.lrr=0.5",
        "python -m framework.train resume=run trainer.epochs=2 resume.allow=[trainer.epochs]",
    ],
)
def test_a_refused_command_changes_nothing(trained, copy, line):
    # the last line is refused for its data: one photo can't be read any more
    photos = copy / "photos"
    shutil.copytree(trained / "my photos", photos)
    next(photos.rglob("*.jpg")).write_bytes(b"no image")
    for name in ("config.yaml", "run.json"):
        file = copy / "run" / name
        file.write_text(file.read_text().replace(f"{trained}/my photos", str(photos)))
    before = state(copy / "run")
    said = ran(line.replace("PHOTOS", str(photos)), copy, 2)
    assert "nothing was started" in said
    after = state(copy / "run")
    changed = {name for name in {**before, **after} if before.get(name, (b"",))[0] != after.get(name, (b"",))[0]}
    assert not changed
    touched = {name for name in before if before[name] != after[name]}
    assert touched <= {"run.json", "config.yaml"}


@pytest.mark.slow
def test_a_refused_sweep_changes_nothing(trained):
    sweep = f"python -m framework.train -m {SMALL} data.dir='my photos' optim.lr=0.1,0.2 sweep.name=rates sweep.jobs=1"
    ran(sweep, trained)
    before = state(trained / "sweeps")
    said = ran(f"{sweep} trainer.seed=7", trained, 2)
    assert "was another experiment" in said
    assert state(trained / "sweeps").keys() == before.keys()
    assert {name for name, (content, _) in state(trained / "sweeps").items() if content != before[name][0]} == set()


def test_an_override_in_full_is_absolute_and_nothing_else_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert in_full("data.dir=a b") == f"data.dir='{tmp_path}/a b'"
    for same in ("model.weights=imagenet", "data.dir=${oc.env:HOME}/x", "data.dir=a,b", "optim.lr=0.1", "model=cnn"):
        assert in_full(same) == same
    for same in ("callbacks.mlflow.tracking_uri=sqlite:///x.db", "callbacks.checkpoint.filename=a", "cache.dir=null"):
        assert in_full(same) == same


@pytest.mark.parametrize("name", ["/tmp/a_{epoch:02d}", "../a_{epoch:02d}", "b/../../a", "~/a"])
def test_a_checkpoint_that_would_lie_elsewhere_is_told_before_training(name, tmp_path):
    said = ran(f"python -m framework.train callbacks.checkpoint.filename='{name}' hydra.run.dir=run", tmp_path, 2)
    assert "leads out of the run's checkpoints/" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_keys_of_a_callback_that_is_not_chosen_are_told_as_such(tmp_path):
    recipe = tmp_path / "recipes" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        "defaults:\n  - override /callbacks: [early_stopping]\ncallbacks:\n  checkpoint:\n    filename: a_{epoch}\n"
    )
    typed = "'callbacks=[early_stopping]' callbacks.checkpoint.filename='a_{epoch}'"
    for line in ("recipe=mine", typed):
        said = ran(f"python -m framework.check {line}", tmp_path, 2)
        assert "callbacks.checkpoint.filename is set, and callback 'checkpoint' is not chosen" in said
        assert "try:    callbacks=[default,…] to choose it, or leave callbacks.checkpoint out" in said

"""An installed wheel works in an empty folder: configs and recipes are inside it, commands and completion are there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import framework

CLONE = Path(framework.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel's content in a folder of its own, as an installer lays it out, and nothing of the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(CLONE)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder / "site")
    return folder / "site"


def run(wheel: Path, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(wheel), "XDG_CACHE_HOME": str(folder / "cache"), **more}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    where = run(wheel, tmp_path, "-c", "import framework; print(framework.__file__)").stdout.strip()
    assert where.startswith(str(wheel))
    small = ["data.limit=20", "data.image_size=16", "model.filters=[4]", "trainer.epochs=1", "data.train=40"]
    done = run(wheel, tmp_path, "-m", "framework.train", *small, "data.validation=20", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.keras").is_file()
    listed = run(wheel, tmp_path, "-m", "framework.recipe", "list")
    assert "clothing_v1" in listed.stdout
    wrong = run(wheel, tmp_path, "-m", "framework.check", "recipe=clothing_v1", "data.dir=nowhere")
    assert wrong.returncode == 2
    assert "there is no folder" in wrong.stderr


@pytest.mark.slow
def test_the_wheel_has_every_config_and_recipe(wheel):
    for name in ("conf", "recipes"):
        there = {path.relative_to(CLONE / name) for path in (CLONE / name).rglob("*.yaml")}
        inside = {path.relative_to(wheel / "framework" / name) for path in (wheel / "framework" / name).rglob("*.yaml")}
        assert there == inside


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("framework-train model=xce", "model=xception"),
        ("framework-train optim=ada", "optim=adamw"),
        ("framework-train optim.l", "optim.lr="),
        ("framework-train recipe=clothing_v", "recipe=clothing_v1"),
    ],
)
def test_tab_completion_completes(line, wanted, tmp_path):
    """As bash calls it: the line so far in COMP_LINE, the query as an argument."""
    code = "import sys; from framework.train import main; sys.argv[0] = 'framework-train'; code = main(sys.argv[1:]); "
    code += "assert 'tensorflow' not in sys.modules"
    done = run(CLONE, tmp_path, "-c", code, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert done.returncode == 0, done.stderr
    assert wanted in done.stdout.split()

"""Runs of one sweep compute the frozen base's features once, whoever launches them."""

import shlex

import pytest

from framework.core.runs import RunFolder
from tests.conftest import bash


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_one_run_computes_what_the_others_read(tmp_path, photos, launcher):
    if launcher:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    given = ["-m", *launcher, "data=image_folder", f"data.dir={photos}", "data.image_size=32", "model.filters=[4,8]"]
    given += ["model.trainable=false", "trainer.epochs=1", "optim.lr=0.1,0.2,0.3", "hydra.sweep.dir=rates"]
    done = bash(shlex.join(["python", "-m", "framework.train", *given]), tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = [RunFolder(path.parent).read_run()["features"] for path in (tmp_path / "rates").glob("*/run.json")]
    assert sorted((one["computed"], one["from_cache"]) for one in told) == [(0, 36), (0, 36), (36, 0)]

"""``from=RUN_FOLDER``: what a run folder says is trained again, with single changes where they are given."""

import json
import shutil

import pytest

from framework import train
from framework.cli.compose import compose
from framework.cli.primary import take_primary_config
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.runs.repeat import differences

pytestmark = pytest.mark.usefixtures("here")

SMALL = ["data=image_folder", "data.image_size=16", "model.filters=[4]", "trainer.epochs=2", "trainer.batch_size=8"]
PARTS = '''
from framework.core.registry import head
from framework.parts.heads import dense


@head("mine")
def mine(vectors, task, *, dropout: float):
    """Dense under another name."""
    return dense(
        vectors, task, units=None, hidden=[], activation="relu", normalization="none", dropout=dropout
    )
'''


def made_up_run(folder, config, recipe=None):
    folder.mkdir(parents=True)
    RunFolder(folder).write_run({"status": "finished", "recipe": recipe})
    RunFolder(folder).config.write_text(config)
    return folder


def whole(tmp_path, *overrides, name="run"):
    """A run folder as one with these overrides leaves it."""
    from omegaconf import OmegaConf

    composed = compose(overrides)
    return made_up_run(tmp_path / name, OmegaConf.to_yaml(composed.node, resolve=True))


def again(folder, *overrides):
    return compose(take_primary_config([f"from={folder}", *overrides])).config


def test_where_a_run_was_and_where_its_copy_is_are_not_repeated(tmp_path):
    config = again(whole(tmp_path, "mirror=s3://bucket/run", "cache.compute=ray", "compute=ray"))
    assert (config["mirror"], config["cache"]["compute"], config["compute"]["engine"]) == (None, "local", "local")


def test_the_config_is_the_same(tmp_path):
    overrides = [
        "optim=sgd",
        "optim.schedule=cosine",
        "metrics=[accuracy,f1]",
        "~callbacks.checkpoint",
        "trainer.epochs=3",
    ]
    folder = whole(tmp_path, *overrides)
    assert again(folder) == compose_afresh(overrides)


def test_of_several_seeds_the_one_is_repeated(tmp_path):
    folder = whole(tmp_path, "sweep.seeds=3", "trainer.seed=2", "sweep.jobs=1")
    config = again(folder)
    assert (config["sweep"]["seeds"], config["sweep"]["jobs"], config["trainer"]["seed"]) == (None, 1, 2)


def compose_afresh(overrides):
    take_primary_config([])
    return compose(overrides).config


@pytest.mark.parametrize(
    "change",
    [
        ["trainer.epochs=7"],
        ["optim=adam"],
        ["optim.schedule=cosine"],
        ["optim=nadam", "optim.schedule=step"],
        ["model=mobilenet"],
        ["data=image_folder", "data.dir=photos"],
        ["metrics=[accuracy,f1]", "augment=light"],
        ["callbacks.checkpoint.keep=3", "head=mlp", "head.dropout=0.5"],
    ],
)
def test_a_change_means_what_it_meant_in_the_first_command_line(tmp_path, change):
    folder = whole(tmp_path, "data.seed=5", "trainer.batch_size=4", "augment.copies=2")
    afresh = compose_afresh(["data.seed=5", "trainer.batch_size=4", "augment.copies=2", *change])
    assert again(folder, *change) == afresh


def test_where_a_value_comes_from_is_the_run_s_config(tmp_path):
    folder = whole(tmp_path, "optim.lr=0.5")
    composed = compose(take_primary_config([f"from={folder}"]))
    assert composed.origins.of("optim.lr").startswith("run/config.yaml:")


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(BadInput, match=r"run\.json is missing"):
        take_primary_config([f"from={tmp_path}"])
    folder = whole(tmp_path)
    with pytest.raises(BadInput, match="a recipe can't be laid over it"):
        take_primary_config([f"from={folder}", "recipe=clothing_v1"])
    (folder / "config.yaml").unlink()
    with pytest.raises(BadInput, match=r"has no config\.yaml"):
        take_primary_config([f"from={folder}"])


def test_a_missing_recipe_is_named_with_where_it_was(tmp_path):
    folder = made_up_run(
        tmp_path / "run", "recipe: birds", {"name": "birds", "folder": str(tmp_path / "gone" / "birds")}
    )
    with pytest.raises(BadInput, match=f"needs recipe 'birds', which is missing: it was in {tmp_path}/gone/birds"):
        take_primary_config([f"from={folder}"])


def test_what_differs_is_named():
    earlier = {"versions": {"keras": "3.1", "numpy": "2.0"}, "machine": {"cores": 2}, "data": {"fingerprint": "a"}}
    now = {
        "versions": {"keras": "3.2", "numpy": "2.0"},
        "machine": {"cores": 4},
        "data": {"fingerprint": "b"},
        "git": "c",
    }
    assert differences(earlier, now) == [
        "keras: 3.1 then, 3.2 now",
        "machine cores: 2 then, 4 now",
        "git: unknown then, c now",
        "data: a then, b now",
    ]
    assert differences(now, now) == []


@pytest.mark.slow
def test_a_run_with_a_recipe_s_own_part_trained_again_has_the_same_history(tmp_path, photos, capfd):
    mine = tmp_path / "shelf" / "mine"
    (mine / "conf" / "head").mkdir(parents=True)
    (mine / "recipe.yaml").write_text("# Mine.\ndefaults:\n  - override /head: mine\n")
    (mine / "conf" / "head" / "mine.yaml").write_text("# Mine.\nname: mine\ndropout: 0.5\n")
    (mine / "parts.py").write_text(PARTS)
    first = [*SMALL, f"data.dir={photos}", "recipe=mine", "recipes=shelf", "hydra.run.dir=first"]
    assert train.main(first) == 0
    run = json.loads((tmp_path / "first" / "run.json").read_text())
    assert run["recipe"] == {"name": "mine", "folder": str(mine)}
    (tmp_path / "elsewhere").mkdir()
    assert train.main(["from=first", "hydra.run.dir=second"]) == 0
    rows = [RunFolder(tmp_path / name).read_history() for name in ("first", "second")]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
    assert (tmp_path / "first" / "config.yaml").read_text() == (tmp_path / "second" / "config.yaml").read_text()
    run["versions"]["keras"] = "2.0"
    RunFolder(tmp_path / "first").write_run(run)
    capfd.readouterr()
    assert train.main(["from=first", "hydra.run.dir=third", "trainer.epochs=1"]) == 0
    assert "keras: 2.0 then" in capfd.readouterr().err
    shutil.rmtree(mine)
    assert train.main(["from=first", "hydra.run.dir=fourth"]) == 2
    assert "needs recipe 'mine', which is missing" in capfd.readouterr().err

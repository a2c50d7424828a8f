"""Composing: what overrides mean, and what is said of those that mean nothing."""

import pytest
from omegaconf import OmegaConf

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli import command
from framework.cli.compose import IncompleteConfig, compose, for_hydra, groups, normalise, variants
from framework.config.folders import conf_folder
from framework.core.errors import BadInput


def problems(*arguments):
    with pytest.raises(IncompleteConfig) as error:
        compose(arguments)
    return [(problem.what, problem.where, problem.right) for problem in error.value.problems]


def test_a_nested_group_is_swapped_like_a_value():
    assert normalise(["optim.schedule=cosine", "optim.lr=0.1"]) == ["optim/schedule=cosine", "optim.lr=0.1"]
    assert compose(["optim=sgd", "optim.schedule=cosine"]).config["optim"]["schedule"]["name"] == "cosine"


def test_lists_of_options_merge():
    composed = compose(["callbacks=[default,early_stopping]", "metrics=[accuracy,f1]"]).config
    assert list(composed["callbacks"]) == ["checkpoint", "stop_on_nan", "early_stopping"]
    assert list(composed["metrics"]) == ["accuracy", "f1"]


def test_a_callback_is_removed_by_name():
    assert "checkpoint" not in compose(["~callbacks.checkpoint"]).config["callbacks"]


def test_the_size_follows_the_model_unless_it_is_given():
    assert compose(["model=xception"]).config["data"]["image_size"] == 150
    assert compose(["model=xception", "data.image_size=[120,160]"]).config["data"]["image_size"] == [120, 160]


def test_command_line_beats_recipe_beats_defaults(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    recipe = "defaults:\n  - override /model: mobilenet\noptim:\n  lr: 0.5\ntrainer:\n  epochs: 3\n"
    (tmp_path / "birds" / "recipe.yaml").write_text(recipe)
    monkeypatch.setenv("FRAMEWORK_RECIPES", str(tmp_path))
    composed = compose(["recipe=birds", "trainer.epochs=7"])
    assert composed.config["model"]["name"] == "mobilenet"
    assert (composed.config["optim"]["lr"], composed.config["trainer"]["epochs"]) == (0.5, 7)
    assert composed.config["trainer"]["batch_size"] == 32
    assert composed.origins.of("optim.lr") == f"{tmp_path}/birds/recipe.yaml:4"
    assert composed.origins.of("trainer.epochs") == "command line: trainer.epochs=7"
    assert composed.origins.of("trainer.batch_size").startswith("conf/train.yaml:")
    assert composed.origins.of("model.alpha").startswith("conf/model/mobilenet.yaml:")


@pytest.mark.parametrize(
    ("argument", "what", "right"),
    [
        ("model=xcepton", "there is no model 'xcepton'", "model=xception "),
        ("modl=xception", "there is no key or group 'modl'", "model "),
        ("optm.lr=1", "there is no key 'optm.lr'", "optim.lr"),
        ("trainer.epoch=1", "there is no key 'trainer.epoch'", "trainer.epochs"),
        ("trainer.epochs.x=1", "there is no key 'trainer.epochs.x'", "trainer.epochs"),
        ("+optim.lr=1", "optim.lr is set already: '+' would add a second one", "optim.lr=1"),
        ("+model=xception", "model is set already: '+' would add a second one", "model=xception"),
        ("~callbacks.chekpoint", "there is no key 'callbacks.chekpoint' to remove", "~callbacks.checkpoint"),
        ("callbacks=[default,early_stoping]", "there is no callbacks 'early_stoping'", "callbacks=early_stopping "),
        ("recipe=clothing_v11", "there is no recipe 'clothing_v11'", "recipe=clothing_v1 "),
        ("optim.lr", "'optim.lr' is not an override", "key=value"),
        ("foo=1", "there is no key 'foo'", "one of: data, "),
    ],
)
def test_each_wrong_override_is_named_with_what_is_near(argument, what, right):
    ((said, where, suggested),) = problems(argument)
    assert said == what
    assert where == f"command line: {argument}"
    assert suggested.startswith(right)


def test_all_wrong_overrides_are_named_at_once():
    found = problems("model=xcepton", "optm.lr=1", "head.units=[1", "foo=1")
    assert len(found) == 4


def test_what_a_wrong_choice_meant_is_composed_so_that_the_rest_can_be_checked():
    with pytest.raises(IncompleteConfig) as error:
        compose(["model=mobilnet", "model.alpha=0.25"])
    assert len(error.value.problems) == 1
    assert error.value.composed.config["model"]["alpha"] == 0.25


def test_a_sweep_has_its_variants():
    assert list(variants(["model=cnn", "optim.lr=0.1,0.2", "trainer.epochs=range(1,3)"])) == [
        ["model=cnn", "optim.lr=0.1", "trainer.epochs=1"],
        ["model=cnn", "optim.lr=0.1", "trainer.epochs=2"],
        ["model=cnn", "optim.lr=0.2", "trainer.epochs=1"],
        ["model=cnn", "optim.lr=0.2", "trainer.epochs=2"],
    ]
    assert ["model=vgg16"] in list(variants(["model=glob(vgg*)"]))


def test_of_a_large_sweep_every_value_is_tried_once():
    large = list(variants([f"optim.lr={','.join(map(str, range(1, 9)))}", "trainer.epochs=1,2,3"]))
    assert len(large) == 1 + 7 + 2
    assert {variant[0] for variant in large} == {f"optim.lr={rate}" for rate in range(1, 9)}


def test_groups_are_the_folders():
    files = {file.stem for file in (conf_folder() / "model").glob("*.yaml")}
    assert set(groups()["model"]) == {name for name in files if not name.startswith("_")} > {"cnn", "vit_base"}
    assert "cosine" in groups()["optim/schedule"]


def test_hydra_composes_a_run_once_and_starts_it_with_that(here, monkeypatch):
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    composed = []
    load = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_configuration", lambda *given, **named: composed.append(1) or load(*given, **named)
    )
    jobs = []
    overrides = ["optim.lr=0.5", "hydra.run.dir=where/${optim.lr}", "data.limit=4"]
    assert command.launch(overrides, jobs.append, lambda _: [], lambda _: None, lambda *_: 0) == 0
    assert jobs[0].folder == here / "where" / "0.5"
    assert len(composed) == 1


LINES = [
    ["optim.lr=0.5", "head=mlp", "head.hidden=[32,8]"],
    ["optim.lr=0.25", "head=mlp", "+head.extra=1", "~callbacks.checkpoint"],
    ["head=mlp", "trainer.seed=2", "hydra.sweep.subdir=x", "+hydra.job.env_set.ABC='a b'"],
    ["optim/schedule=cosine", "++stages.main.epochs=3", "data.classes=[a,'b c']"],
    ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=2"],
    ["optim/schedule=cosine", "++stages.main.epochs=4"],
]


@pytest.mark.parametrize("line", LINES)
def test_what_a_run_is_started_with_is_what_hydra_composes_of_its_line(here, line):
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    moved = [f"hydra.run.dir={here}/x", *line]
    config = for_hydra(compose(["hydra.run.dir=x", *line]), moved)
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder()), job_name="command"):
        loader = GlobalHydra.instance().config_loader()
        expected = loader.load_configuration("train", moved, RunMode.RUN)
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
    assert OmegaConf.is_struct(config)
    assert OmegaConf.is_struct(config.hydra) == OmegaConf.is_struct(expected.hydra)


def test_jobs_that_differ_in_values_alone_are_composed_once_and_as_hydra_composes_each():
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from framework.cli.multirun import composed

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        loader, known = GlobalHydra.instance().config_loader(), {}
        given = ["hydra.sweep.dir=sweeps/x", "hydra.job.config.override_dirname.exclude_keys=['head']"]
        master = loader.load_configuration("train", given, RunMode.MULTIRUN)
        for line in LINES:
            assert OmegaConf.to_yaml(composed(loader, master, line, known)) == OmegaConf.to_yaml(
                loader.load_sweep_config(master, line)
            )
    assert len(known) == 4


def test_variants_that_differ_in_values_alone_are_composed_once_each_with_its_own():
    known = {}
    first, second = (compose(["head=mlp", f"head.hidden={hidden}"], known).config for hidden in ("[3]", "[4,5]"))
    assert (first["head"]["hidden"], second["head"]["hidden"]) == ([3], [4, 5])
    assert compose(["head=mlp"], known).config["head"]["hidden"] == compose(["head=mlp"]).config["head"]["hidden"]
    assert list(known) == [("head=mlp",)]


def test_a_folder_that_can_t_be_written_is_told_where_its_name_is_made_of_what_was_typed(here):
    (here / "0.5").touch()
    overrides = ["optim.lr=0.5", "hydra.run.dir=${optim.lr}/run"]
    with pytest.raises(BadInput, match=r"0\.5/run can't be written"):
        command.launch(overrides, lambda _: None, lambda _: [], lambda _: None, lambda *_: 0)

"""Show: kinds, options, one part with its place in the source, where values come from, the resolved config."""

import subprocess
import sys

import pytest
import yaml

from framework import show
from framework.core import registry


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEWORK_RECIPES", "")
    with registry.isolated():
        yield


def shown(capsys, *arguments, code=0):
    assert show.main(list(arguments)) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_every_kind_and_every_part_is_listed(capsys):
    text = shown(capsys)
    for kind, purpose in registry.KINDS.items():
        assert f"- {kind}: {purpose}" in text
        for part in registry.parts(kind):
            assert f"  {part.name}" in [line[: len(part.name) + 2] for line in text.splitlines()]


def test_a_group_shows_options_and_parameters_with_type_default_and_sentence(capsys):
    for name in ("optim", "optimizer"):
        text = " ".join(shown(capsys, name).split())
        assert "sgd " in text
        assert "optim.beta_1=0.9 a number of at least 0 and below 1; momentum of the mean gradient" in text
        assert "optim.lr=0.001 a number above 0; learning rate at the start of a stage" in text
    assert "optim.schedule.alpha=0.0" in shown(capsys, "schedule")
    assert "stages" not in shown(capsys, "stages", "trainer.epochs=1").splitlines()[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "group", ["model", "pooling", "head", "optim", "optim.schedule", "loss", "metrics", "callbacks"]
)
def test_no_shipped_parameter_is_without_a_default(capsys, group):
    assert "(no option sets it)" not in shown(capsys, group)


def test_one_option_is_shown_with_the_file_and_line_of_its_part(capsys):
    text = shown(capsys, "head=mlp")
    assert "conf/head/mlp.yaml" in text
    assert "head 'dense'  {}:{}".format(*registry.get("head", "dense").location) in text
    assert "head.hidden=[100]" in text


def test_where_a_value_comes_from_and_what_it_overrode(capsys):
    text = shown(capsys, "optim.lr", "optim=sgd", "optim.lr=0.5")
    assert text.splitlines()[:2] == ["optim.lr = 0.5", "  set by  command line: optim.lr=0.5"]
    assert "over    0.01  conf/optim/sgd.yaml:" in text
    assert "(chosen by command line: optim=sgd)" in text
    text = shown(capsys, "data.image_size", "model=xception")
    assert "set by  ${model.image_size}  conf/train.yaml:" in text
    assert "from    model.image_size 150  conf/model/xception.yaml:" in text
    assert shown(capsys, "trainer").count("set by") > 5


def test_the_resolved_config_is_yaml_with_the_origin_behind_each_value(capsys):
    text = shown(capsys, "config", "trainer.epochs=3")
    config = yaml.safe_load(text)
    assert config["trainer"]["epochs"] == 3
    assert config["data"]["image_size"] == config["model"]["image_size"]
    values = [line for line in text.splitlines() if not line.endswith(":")]
    assert all("  # " in line for line in values)
    assert next(line for line in values if line.startswith("  epochs: 3")).endswith("# command line: trainer.epochs=3")


def test_what_a_recipe_brings_is_shown(capsys, tmp_path):
    folder = tmp_path / "recipes" / "mine"
    (folder / "conf" / "pooling").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        "# Mine.\ndefaults:\n  - override /pooling: mean\ntrainer:\n  epochs: 2 # few\n"
    )
    (folder / "conf" / "pooling" / "mean.yaml").write_text("# A mean.\nname: mean\npower: 2.0 # how much\n")
    code = "from framework.core.registry import pooling\n\n\n"
    code += "@pooling('mean')\ndef mean(maps, *, power: float):\n    'Mean.'\n"
    (folder / "parts.py").write_text(code)
    text = shown(capsys, "recipe=mine")
    assert "override /pooling: mean" in text
    assert "few" in text
    assert "brings pooling=mean  recipes/mine/conf/pooling/mean.yaml" in text
    text = shown(capsys, "pooling=mean", "recipe=mine")
    assert "pooling 'mean'  recipes/mine/parts.py:4" in text
    assert "a number; how much" in text


@pytest.mark.parametrize(
    ("arguments", "what", "right"),
    [
        (["hed"], "there is no key, group or kind 'hed'", "head"),
        (["optim.lrr"], "there is no key, group or kind 'optim.lrr'", "optim.lr"),
        (["head=mpl"], "there is no head 'mpl'", "show head=mlp"),
        (["optim.lr=1"], "'optim.lr=1' is not the name of a group", "show WHAT"),
        (["config", "optm=sgd"], "there is no key or group 'optm'", "optim"),
        (["recipe=none_such"], "there is no recipe 'none_such'", "recipe="),
    ],
)
def test_what_there_is_not_is_said_with_the_nearest(capsys, arguments, what, right):
    text = shown(capsys, *arguments, code=2)
    assert what in text
    assert f"try:    {right}" in text


def test_show_never_loads_tensorflow():
    code = "import sys; from framework.show import main; main(['config']); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_what_an_option_builds_on_is_followed(capsys):
    text = shown(capsys, "head=dense100")
    assert "head.hidden=[100] " in text
    assert "head.dropout=0.5 " in text
    assert "head.units=null " in text
    assert "share of the values dropped behind each hidden layer" in " ".join(text.split())
    assert "conf/head/_hidden.yaml" in shown(capsys, "head.activation", "head=dense100")


@pytest.mark.slow
def test_what_options_have_in_common_is_no_option(capsys):
    assert "_pretrained" not in shown(capsys, "model")
    assert "there is no model '_pretrained'" in shown(capsys, "model=_pretrained", code=2)


def test_a_recipe_s_option_builds_on_a_shipped_one(capsys, tmp_path):
    option = tmp_path / "wide" / "conf" / "head" / "wide.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("# Wide.\ndefaults: [dense, _self_]\nhidden: [500]\n")
    (tmp_path / "wide" / "recipe.yaml").write_text("# Wide heads\ndefaults:\n  - override /head: wide\n")
    where = f"recipes={tmp_path}"
    assert "head.hidden = [500]" in shown(capsys, "head.hidden", "recipe=wide", where)
    assert "head.activation = relu" in shown(capsys, "head.activation", "recipe=wide", where)
    text = shown(capsys, "head=wide", "recipe=wide", where)
    assert "head.hidden=[500] " in text
    assert "head.normalization=none " in text

"""What may change when a run is gone on with: each key takes effect, or is refused before anything is written."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import framework.parts  # noqa: F401
from framework import train
from framework.cli.compose import compose, opened
from framework.config.checks import read_settings
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.reports.entries import flat
from framework.runs import resume, resume_rules
from framework.runs.job import Job
from framework.training.callback_list import CallbackList
from framework.training.state import State
from tests.conftest import make_images
from tests.data.sharded import parquet

CONF = Path(__file__).parents[2] / "conf"
SMALL = "model.filters=[4,8] data.image_size=32 trainer.batch_size=8 data=image_folder"
# nothing of these gets better, so that what happens after how many epochs is known
CALLBACKS = (
    "callbacks=[default,early_stopping,reduce_on_plateau,csv,tensorboard,weight_averaging] "
    "callbacks.early_stopping.monitor=loss callbacks.early_stopping.min_delta=100 callbacks.early_stopping.patience=50 "
    "callbacks.reduce_on_plateau.monitor=loss callbacks.reduce_on_plateau.min_delta=100 "
    "callbacks.reduce_on_plateau.factor=0.5 "
    "callbacks.checkpoint.monitor=learning_rate callbacks.checkpoint.save=every 'callbacks.checkpoint.filename=\"{epoch}\"'"
)
STAGED = (
    "stages=head_then_all stages.head.epochs=3 stages.all.epochs=1 optim.schedule=exponential trainer.epochs=1 "
    "trainer.steps_per_execution=1"
)


def typed(line: str) -> int:
    """Train what is typed, split and unquoted by bash itself."""
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
    return train.main(words.split("\0")[:-1])


def rows(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in RunFolder(folder).read_history()]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if ".hydra" not in path.parts}


def stopped(line: str, folder: Path, step: int) -> Path:
    """A run that SIGTERM ends within an epoch, after so many steps of the whole run."""
    seen = []

    def begin(self, batch, logs=None):
        seen.append(batch)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, logs)

    original = CallbackList.on_train_batch_begin
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CallbackList, "on_train_batch_begin", begin)
        assert typed(f"{SMALL} {line} hydra.run.dir={folder}") == 3
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """Runs of three steps an epoch that were stopped after one step of an epoch, and what they end as undisturbed."""
    folder = tmp_path_factory.mktemp("made")
    photos = make_images(folder / "photos" / "train", count=8, seed=0).parent
    make_images(photos / "validation", count=4, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stopped(f"data.dir={photos} trainer.epochs=5 optim=adamw {CALLBACKS}", folder / "plain", step=7)
        stopped(f"data.dir={photos} {STAGED}", folder / "staged", step=4)
        for name in ("plain", "staged"):
            shutil.copytree(folder / name, folder / f"{name}-whole")
            assert typed(f"resume={folder}/{name}-whole") == 0
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def going_on(made, tmp_path, monkeypatch):
    """Goes on with a copy of one of these runs, with changes; gives its folder."""
    monkeypatch.chdir(tmp_path)

    def go_on(name: str, line: str, code: int = 0) -> Path:
        folder = tmp_path / name
        shutil.copytree(made[name], folder)
        before = contents(folder)
        assert typed(f"resume={folder} {line}") == code
        if code:
            assert contents(folder) == before
        return folder

    return go_on


def rates(folder: Path) -> list[float]:
    return [row["learning_rate"] for row in rows(folder)]


def files(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "checkpoints").iterdir())


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows(folder)]


PLAIN, HALF = 0.001, 0.0005
NEW = "'+callbacks.new={name: %s, monitor: loss, mode: min, patience: 1, min_delta: 100%s}'"
# pattern of resume_rules.RULES: run, what is typed, whether the result is right by the folder and that of the undisturbed run
EFFECTS = {
    "optim.lr": ("plain", "optim.lr=0.0001", lambda one, _: rates(one)[2:4] == [0.0001] * 2),
    "optim.clipnorm": ("plain", "optim.clipnorm=1e-6", lambda one, whole: losses(one)[3] != losses(whole)[3]),
    "optim.weight_decay": ("plain", "optim.weight_decay=0.9", lambda one, whole: losses(one)[3] != losses(whole)[3]),
    "optim.schedule.*": (
        "staged",
        "optim.schedule.decay_rate=0.5",
        lambda one, whole: rates(one)[:1] == rates(whole)[:1] and rates(one)[1] < 0.8 * rates(whole)[1],
    ),
    "trainer.epochs": (
        "plain",
        "trainer.epochs=6",
        lambda one, whole: rows(one)[:5] == rows(whole) and len(rows(one)) == 6,
    ),
    "trainer.batch_size": (
        "plain",
        "trainer.batch_size=24",
        lambda one, whole: len(rows(one)) == 5 and losses(one)[2] != losses(whole)[2],
    ),
    "callbacks.checkpoint.filename": (
        "plain",
        "callbacks.checkpoint.keep=3 'callbacks.checkpoint.filename=\"late_{epoch}\"'",
        lambda one, _: files(one) == ["1", "late_3", "late_4"],
    ),
    "callbacks.checkpoint.keep": ("plain", "callbacks.checkpoint.keep=3", lambda one, _: files(one) == ["1", "3", "4"]),
    "callbacks.checkpoint.save": (
        "plain",
        "callbacks.checkpoint.keep=3 callbacks.checkpoint.save=best",
        lambda one, _: files(one) == ["1"],
    ),
    "callbacks.early_stopping": ("plain", NEW % ("early_stopping", ""), lambda one, _: len(rows(one)) == 4),
    "callbacks.early_stopping.patience": (
        "plain",
        "callbacks.early_stopping.patience=2",
        lambda one, _: len(rows(one)) == 3,
    ),
    "callbacks.early_stopping.min_delta": (
        "plain",
        "callbacks.early_stopping.patience=2 callbacks.early_stopping.min_delta=0.0",
        lambda one, _: len(rows(one)) == 5,
    ),
    "callbacks.reduce_on_plateau": (
        "plain",
        NEW % ("reduce_on_plateau", ", factor: 0.1, cooldown: 0, min_lr: 0.0"),
        lambda one, _: rates(one)[3:] == pytest.approx([PLAIN, HALF / 10]),
    ),
    "callbacks.reduce_on_plateau.factor": (
        "plain",
        "callbacks.reduce_on_plateau.factor=0.1",
        lambda one, _: rates(one)[3:] == pytest.approx([PLAIN, PLAIN / 10]),
    ),
    "callbacks.reduce_on_plateau.patience": (
        "plain",
        "callbacks.reduce_on_plateau.patience=2",
        lambda one, _: rates(one)[3:] == pytest.approx([HALF, HALF]),
    ),
    "callbacks.reduce_on_plateau.min_delta": (
        "plain",
        "callbacks.reduce_on_plateau.min_delta=0.0",
        lambda one, _: rates(one)[3:] == pytest.approx([PLAIN, PLAIN]),
    ),
    "callbacks.reduce_on_plateau.cooldown": (
        "plain",
        "callbacks.reduce_on_plateau.patience=1 callbacks.reduce_on_plateau.cooldown=2",
        lambda one, _: rates(one)[3:] == pytest.approx([HALF, HALF]),
    ),
    "callbacks.reduce_on_plateau.min_lr": (
        "plain",
        "callbacks.reduce_on_plateau.min_lr=0.0008",
        lambda one, _: rates(one)[4] == pytest.approx(0.0008),
    ),
    "callbacks.stop_on_nan": (
        "plain",
        "~callbacks.stop_on_nan optim.lr=1e30",
        lambda one, _: RunFolder(one).read_run()["status"] == "finished",
    ),
    "callbacks.csv": (
        "plain",
        "'+callbacks.new={name: csv, filename: new.csv}'",
        lambda one, _: len((one / "new.csv").read_text().splitlines()) == 1 + 3,
    ),
    "callbacks.csv.filename": (
        "plain",
        "callbacks.csv.filename=other.csv",
        lambda one, _: len((one / "other.csv").read_text().splitlines()) == 1 + 5,
    ),
    "callbacks.tensorboard": (
        "plain",
        "'+callbacks.new={name: tensorboard, log_dir: new}'",
        lambda one, _: (one / "new" / "train").is_dir(),
    ),
    "callbacks.tensorboard.log_dir": (
        "plain",
        "callbacks.tensorboard.log_dir=other",
        lambda one, _: (one / "other" / "train").is_dir(),
    ),
    "callbacks.mlflow": (
        "plain",
        "'+callbacks.new={name: mlflow, tracking_uri: mlruns, experiment: new}'",
        lambda one, _: Path("mlruns").is_dir(),
    ),
    "callbacks.weight_averaging.momentum": (
        "plain",
        "callbacks.weight_averaging.momentum=0.0",
        lambda one, whole: losses(one)[3] == losses(whole)[3] and rows(one)[3] != rows(whole)[3],
    ),
    "augment.*": ("plain", "augment=light", lambda one, whole: losses(one)[3] != losses(whole)[3]),
    "stages.now.epochs": ("staged", "stages.head.epochs=4", lambda one, _: len(rows(one)) == 5),
    "stages.now.lr": ("staged", "stages.head.lr=0.5", lambda one, _: rates(one)[1] > 0.3),
    "stages.now.lr_factor": ("staged", "stages.head.lr_factor=100.0", lambda one, _: rates(one)[1] > 0.03),
    "stages.now.mixup": ("staged", "stages.head.mixup=1.0", lambda one, whole: losses(one)[1] != losses(whole)[1]),
    "stages.later.*": ("staged", "stages.all.lr=0.5", lambda one, _: rates(one)[3] > 0.3 > rates(one)[2]),
}
ELSEWHERE = {"data.dir", "data.file", "data.files", "data.export", "data.on_error", "trainer.workers"}


def allowing(line: str) -> str:
    """The ``resume.allow`` that names what a line changes."""
    words = [word.strip("'~+") for word in line.split(" ") if "=" in word or word.startswith("~")]
    return f"{line} 'resume.allow=[{','.join(word.partition('=')[0] for word in words)}]'"


def test_every_key_that_may_change_has_its_test():
    assert EFFECTS.keys() | ELSEWHERE == {
        pattern for pattern, said in resume_rules.RULES.items() if said == resume_rules.MAY
    }


@pytest.mark.slow
@pytest.mark.parametrize("pattern", EFFECTS)
def test_what_is_allowed_takes_effect(going_on, made, pattern, monkeypatch):
    if pattern == "callbacks.mlflow":
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    name, line, is_right = EFFECTS[pattern]
    folder = going_on(name, allowing(line))
    whole = made[f"{name}-whole"]
    done = 2 if name == "plain" else 1
    assert rows(folder)[:done] == rows(whole)[:done]
    assert is_right(folder, whole), rows(folder)


@pytest.mark.slow
def test_moved_data_are_the_same_data(going_on, made, tmp_path):
    shutil.copytree(made["photos"], tmp_path / "moved")
    folder = going_on("plain", f"data.dir={tmp_path}/moved resume.allow=[data.dir]")
    assert rows(folder) == rows(made["plain-whole"])


@pytest.mark.slow
@pytest.mark.parametrize("source", ["parquet", "label_studio"])
def test_moved_tables_are_the_same_data(made, tmp_path, monkeypatch, source):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    if source == "parquet":
        parquet(made["photos"], Path("here"))
        key, name = "data.files", ""
    else:
        shutil.copytree(made["photos"], "here/photos")
        images = sorted(Path("here/photos").rglob("*.jpg"))
        lines = [f"{image.relative_to('here')},{image.parent.name}" for image in images]
        Path("here/export.csv").write_text("\n".join(["image,choice", *lines]))
        key, name = "data.export", "/export.csv"
    given = f"{SMALL} data={source} hydra.run.dir=run"
    assert typed(f"{given} {key}=here{name} trainer.epochs=1") == 0
    Path("here").rename("there")
    assert typed(f"resume=run {key}=there{name} trainer.epochs=2 resume.allow=[trainer.epochs,{key}]") == 0
    assert len(rows(Path("run"))) == 2


@pytest.mark.slow
def test_other_data_are_refused_with_what_changed_and_can_be_allowed(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made["photos"], "photos")
    folder = stopped("data.dir=photos trainer.epochs=3 trainer.batch_size=4", tmp_path / "run", step=6 + 6)
    gone = sorted(Path("photos/train").glob("*/*"))[::2]
    for file in gone:
        file.unlink()
    before = contents(folder)
    capsys.readouterr()
    assert typed(f"resume={folder}") == 2
    said = capsys.readouterr().err
    assert "holds a run on other data: 24 train images then, 12 now; 12 validation images then, 12 now" in said
    assert "resume.allow=[data] to go on with these" in said
    assert contents(folder) == before
    # an epoch has three steps now, and five of six were done
    assert State.read(RunFolder(folder).state).step > 3
    assert typed(f"resume={folder} resume.allow=[data]") == 0
    assert "epoch 2 is begun again" in capsys.readouterr().err
    assert len(rows(folder)) == 3
    assert RunFolder(folder).read_run()["data"]["images"]["train"] == 12
    gone[0].write_bytes(b"no image")
    assert typed(f"resume={folder} trainer.epochs=4 data.on_error=skip 'resume.allow=[trainer.epochs]'") == 2
    both = "trainer.epochs=4 data.on_error=skip 'resume.allow=[trainer.epochs,data.on_error]'"
    assert typed(f"resume={folder} {both}") == 0
    assert len(RunFolder(folder).read_run()["data"]["skipped"]) == 1


@pytest.mark.slow
def test_a_manifest_may_be_moved(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{path},{path.parent.name}" for path in sorted(made["photos"].glob("train/*/*"))]
    Path("one.csv").write_text("path,label\n" + "\n".join(lines))
    source = "data=csv data.label_column=label"
    folder = stopped(f"{source} data.file=one.csv trainer.epochs=3", tmp_path / "run", step=4)
    Path("one.csv").rename("two.csv")
    assert typed(f"resume={folder} data.file=two.csv resume.allow=[data.file]") == 0
    assert len(rows(folder)) == 3


@pytest.mark.slow
def test_more_patience_after_an_early_stop_goes_on(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    early = (
        "callbacks=[default,early_stopping] callbacks.early_stopping.min_delta=100 callbacks.early_stopping.patience=2"
    )
    line = f"{SMALL} data.dir={made['photos']} trainer.epochs=6 {early} hydra.run.dir=run"
    assert typed(line) == 0
    assert "stage main ends here: val_loss has not improved since epoch 1" in capsys.readouterr().err
    assert len(rows(Path("run"))) == 3
    before = contents(Path("run"))
    assert typed(f"{line} trainer.epochs=9 resume.allow=[trainer.epochs]") == 2
    said = capsys.readouterr().err
    assert (
        "trainer.epochs would change nothing: a callback has ended the last stage after 3 epochs: val_loss has" in said
    )
    keep = "callbacks.checkpoint.keep=5 resume.allow=[callbacks.checkpoint.keep]"
    assert typed(f"{line} {keep}") == 2
    assert contents(Path("run")) == before
    more = "callbacks.early_stopping.patience=4 resume.allow=[callbacks.early_stopping.patience]"
    assert typed(f"{line} {more}") == 0
    assert len(rows(Path("run"))) == 5


@pytest.fixture
def begun(tmp_path):
    """Makes a run folder as one that stands somewhere leaves it, without training; gives the job of a command line."""
    folder = tmp_path / "run"

    def job(*overrides):
        composed = compose(opened(overrides))
        settings, problems = read_settings(composed.config)
        assert problems == []
        return Job(settings, OmegaConf.to_yaml(composed.node, resolve=True), folder, tuple(overrides))

    def begin(*overrides, stage="main", start=0, epoch=2, step=1, stopped=False):
        folder.mkdir()
        RunFolder(folder).write_run({"status": "stopped"})
        RunFolder(folder).config.write_text(job(*overrides).config)
        State(stage, start, epoch, step, stopped, [], {}, given={"data": "a"}).write(RunFolder(folder).state)
        return lambda *changed: resume.refuse_changes(job(*overrides, *changed))

    return begin


REFUSED = [
    ("cache.dtype", "cache.dtype=float16"),
    ("task.monitor", "task.monitor=val_loss"),
    ("task.*", "task=regression"),
    ("model.*", "model.filters=[8]"),
    ("pooling.*", "pooling=max"),
    ("head.*", "head.dropout=0.5"),
    ("optim.schedule.name", "optim.schedule=step"),
    ("optim.*", "optim.beta_1=0.8"),
    ("loss.*", "loss=focal"),
    ("distill.*", "distill.temperature=2"),
    ("metrics.*", "metrics=[accuracy,f1]"),
    ("callbacks.checkpoint", "~callbacks.checkpoint"),
    ("callbacks.mlflow.*", "callbacks.mlflow.experiment=b"),
    ("callbacks.weight_averaging", "~callbacks.weight_averaging"),
    ("callbacks.*.name", "~callbacks.mlflow", "+callbacks.mlflow={name: csv, filename: a.csv}"),
    ("callbacks.*.monitor", "callbacks.checkpoint.monitor=val_loss"),
    ("callbacks.*.mode", "callbacks.checkpoint.mode=max"),
    ("data.*", "data.limit=5"),
    ("stages.now.image_size", "stages.main.image_size=32"),
    ("stages.now.label_smoothing", "stages.main.label_smoothing=0.1"),
    ("stages.now.*", "stages.main.train=head"),
    ("stages.over.*", "stages.before.train=all"),
    ("trainer.*", "trainer.precision=mixed_bfloat16"),
]
OF_RECIPES = {"recipe"}


def test_every_key_that_can_t_change_has_its_test():
    reasons = {
        pattern for pattern, said in resume_rules.RULES.items() if said not in (resume_rules.MAY, resume_rules.FREE)
    }
    assert {pattern for pattern, *_ in REFUSED} | OF_RECIPES == reasons


@pytest.mark.parametrize(("pattern", "change"), [(pattern, change) for pattern, *change in REFUSED])
def test_what_can_t_change_is_refused_with_the_reason_though_it_is_allowed(begun, pattern, change):
    refuse = begun(
        "callbacks=[default,weight_averaging,mlflow]",
        "optim.schedule=cosine",
        "+stages.before={train: head}",
        "~stages.main",
        "+stages.main={}",
    )
    key = change[0].strip("~").partition("=")[0]
    with pytest.raises(BadInput) as error:
        refuse(*change, f"resume.allow=[{key}]")
    assert f"can't go on so: {resume_rules.RULES[pattern]}" in str(error.value)


@pytest.mark.parametrize(
    "change",
    ["cache=off", "cache.dir=elsewhere", "cache.size_limit=1", "data.memory_limit=1", "data.disk_limit=1",
     "trainer.save_steps=5", "trainer.steps_per_execution=2", "sweep.name=a"],
)  # fmt: skip
def test_what_changes_no_number_is_not_asked_about(begun, change):
    begun()(change)


def shipped_keys():
    """Every key that conf/ has, by the file it is in."""
    for file in sorted(CONF.rglob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for key in ("defaults", "hydra"):
            node.pop(key, None)
        group = "" if file.parent == CONF else ".".join(file.parent.relative_to(CONF).parts) + "."
        yield file.stem, flat(node, group)


def test_every_key_of_conf_has_a_rule():
    for stem, keys in shipped_keys():
        for key in keys:
            if key.split(".")[0] != "stage":
                assert resume_rules.rule(resume_rules.ruled_key(key, keys, keys, {})) is not None, (stem, key)


def test_a_key_without_a_rule_can_t_change():
    assert resume_rules.rule("new.key") is None
    keys = {"callbacks.mine.name": "of_a_recipe", "callbacks.mine.depth": 1}
    assert resume_rules.rule(resume_rules.ruled_key("callbacks.mine.depth", keys, keys, {})) is None


@pytest.mark.parametrize(
    ("where", "changed", "said"),
    [
        ({}, ["~stages.main", "+stages.other={}"], "stands in stage 'main' of main; now the stages are other"),
        ({}, ["trainer.epochs=2"], "stage 'main' is in its epoch 3, and can't end after 2"),
        ({"epoch": 10, "step": 0}, ["optim.lr=0.5"], "optim.lr would change nothing: all 10 epochs are done"),
        (
            {"epoch": 4, "step": 0, "stopped": True},
            ["trainer.epochs=20"],
            "a callback has ended the last stage after 4",
        ),
        ({}, ["cache=only"], "cache=only trains nothing"),
        ({}, ["optim.lr=0.5", "resume.allow=[optim.lrr]"], "resume.allow names 'optim.lrr', which is no key"),
    ],
)
def test_what_the_run_could_not_heed_where_it_stands_is_refused(begun, where, changed, said):
    refuse = begun(**where)
    allowed = [] if "resume" in changed[-1] else ["resume.allow=[optim,trainer,stages]"]
    with pytest.raises(BadInput) as error:
        refuse(*changed, *allowed)
    assert said in str(error.value)


def test_stages_that_are_over_keep_their_epochs_and_later_ones_are_free(begun):
    refuse = begun("stages=head_then_all", "stages.all.lr=0.1", stage="all", start=10, epoch=12)
    with pytest.raises(BadInput, match="stage 'head' is over after 10 epochs, and can't have 20"):
        refuse("trainer.epochs=20", "resume.allow=[trainer.epochs]")
    refuse("stages.all.epochs=20", "resume.allow=[stages.all.epochs]")
    refuse("+stages.more={train: all}", "resume.allow=[stages.more]")
    with pytest.raises(BadInput, match=r"optim\.lr would change nothing: the stages that are left say their own lr"):
        refuse("optim.lr=0.5", "resume.allow=[optim.lr]")


def test_a_key_of_stage_is_allowed_by_its_own_name(begun):
    begun()("stage.lr=0.5", "resume.allow=[stage.lr]")

"""Mutated command lines, recipes and run folders: each ends in success or one clean message, exit code 2, in time.

Two hundred and eighty of them, the same ones each time. ``FRAMEWORK_FUZZ=20 pytest tests/test_fuzz.py --hypothesis-seed=1`` feeds
twenty times as many, other ones for each seed.
"""

import os
import random
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import SECONDS, ask, unclean
from framework import cache, check, compare, evaluate, lr_find, plan, predict, recipe, show, train, visualize
from framework.cli.primary import take_primary_config
from tests.conftest import make_images
from tests.reports import made

MORE = int(os.environ.get("FRAMEWORK_FUZZ", "0"))
CONF = Path(train.__file__).parents[1] / "conf"
DATA = ["data=image_folder", "data.dir=photos", "data.image_size=32"]


def fuzzed(examples: int):
    """Settings of a test that is given so many examples, the same ones each time unless more are asked for."""
    return settings(
        max_examples=examples * max(MORE, 1),
        derandomize=not MORE,
        deadline=None,
        database=None,
        # not the one that explains: it traces every line, and makes what is fast slow
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with photos, a run, a sweep and recipes, as a user would have it."""
    here = tmp_path_factory.mktemp("fuzz")
    make_images(here / "photos" / "train", count=2)
    make_images(here / "photos" / "validation", count=1, seed=1)
    made.make_answered(here / "runs" / "one", [place % 5 for place in range(20)], ["optim.lr=0.01"])
    made.make_sweep(here / "sweeps" / "rates", rates=(0.1, 0.01), heads=("dense10",))
    (here / "recipes" / "mine" / "conf" / "head").mkdir(parents=True)
    (here / "recipes" / "mine" / "recipe.yaml").write_text("# Mine.\n")
    (here / "recipes" / "mine" / "conf" / "head" / "mine.yaml").write_text((CONF / "head" / "mlp.yaml").read_text())
    made.make_answered(here / "runs" / "two", [place % 4 for place in range(20)], ["optim.lr=0.01"])
    made.make_confusion(here / "runs" / "two")
    (here / "a.keras").write_bytes(b"no model")
    return here


@pytest.fixture(scope="module", autouse=True)
def stand_ins(folder, tmp_path_factory):
    """Where TensorFlow would be loaded or a run begun, the command has accepted what it was given."""
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, accepting():
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        os.chdir(folder)
        # what is imported once is not counted: the speed of a whole process is tested elsewhere
        ask(train, [*DATA, "hydra.run.dir=run"])
        compare.main(["runs=[runs/one,runs/two]", "output=warm"])
        shutil.rmtree("warm")
        yield
        os.chdir(before)


def outcome(command, arguments, folder: Path) -> int:
    """What a command makes of its arguments; fails if it is anything but an acceptance or a clean refusal."""
    before = _files(folder)
    told = ask(command, arguments)
    left = _files(folder) - before
    for path in sorted(left, reverse=True):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    assert not unclean(told, (0, 2))
    assert told.seconds < SECONDS, f"{told.seconds:.1f} s"
    if told.code == 2:
        assert not told.err.startswith("0 problems")
        assert not left, f"left behind: {left}"
    return told.code


def _files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


NASTY = [
    "", "null", "~", "nan", ".nan", "inf", "-inf", "1e400", "1e-400", "9" * 30, "9" * 5000, "-1", "0", "0x10", "1_0",
    "1.5", "true", "yes", "[]", "{}", "[1,[2,[3", "[1,2]", "[null]", "[a,1,true]", "{a:1}", "{a:{b:{c:1}}}", "{1:2}",
    "${optim.lr}", "${nowhere}", "${optim.lr", "$", "${}", "${.}", "${..a}", "${data}", "${oc.env:HOME}", "${oc.env:NOWHERE}",
    "${oc.decode:'['}", "${oc.create:1}", "${now:%Y}", "${hydra:job.name}", "${run_name:a}", "${${a}}", "???", "'", '"',
    "''", "'a b'", "a b", "\\", "\\'", "\n", "\r\n", "\t", "a\nb", "ü", "😀", "\u202e", "\udcff",
    "a" * 300, "a" * 5000, "[" * 30, "{" * 30, "[" * 200 + "]" * 200, "(" * 30, "a,b", "1,2,3", "1,,2", ",", "range(1,3)",
    "range(1,1)", "range(1,1000000)", "range(3,1,0)", "choice(1,2)", "choice()", "interval(0,1)", "interval(1,0)", "glob(*)",
    "glob([a*,b*])", "shuffle(1,2,3)", "sort(3,1)", "sort(1,x)", "extend_list(1)", "str(1)", "int(x)", "float(1e9)",
    "bool(5)", "json_str([1])", "tag(a,1)", "..", "../..", "/", "/etc/passwd", "/dev/null", "photos", "photos/train/red",
    "runs/one", "a.keras", ".", "~/x", "%s", "{0}", "{", "}", "{epoch}", "{epoch!r}", "{epoch.a}", "{val_accuracy:.3f}",
    "{loss:>9999999999}", "[red,green]", "[red,red]", "red", "all", "from:x", "last:0", "last:99", "last:-1", "auto",
    "dense10", "mobilenet", "@", "a@b", "a@b:c", ":", "=", "==", "#", "!!python/object:os.system", "&a", "*a", "- a", "a: b",
    "a: b: c", "|", ">", "%", "`", "<<", "1:2:3", "2020-01-01", "0o7", "1e3", "+1", ".5", "5.", "--", "-", "+", "++",
]  # fmt: skip
FLAGS = [
    "-m", "--multirun", "--cfg", "--cfg=job", "--cfg=hydra", "--cfg=all", "--cfg=x", "-c", "-cjob", "--resolve", "--package",
    "--package=optim", "-p", "--info", "--info=all", "--info=x", "-i", "--run", "-r", "--help", "-h", "--version",
    "--hydra-help", "--shell-completion", "-sc", "install=bash", "-sc=x", "--config-dir=/tmp", "-cd", "--config-name=x",
    "-cn", "--config-path=..", "-cp", "--experimental-rerun=x", "--nonsense", "-x", "--", "-", "---", "--cfg job", "--m",
]  # fmt: skip
WHOLE = [
    "hydra.run.dir=run", "hydra.run.dir=", "hydra.run.dir=null", "hydra.run.dir=photos/train/red/red-0-000.jpg/x",
    "hydra.run.dir=/dev/null/x", "hydra.job.chdir=true", "hydra.job.name=x", "hydra.nonsense=1", "hydra=null", "hydra.job=1",
    "+hydra.x=1", "~hydra", "~hydra.run", "hydra/launcher=x", "hydra/launcher=basic", "hydra/sweeper=optuna", "hydra/x=y",
    "hydra.verbose=true", "hydra.verbose=[a,b]", "hydra.verbose=1", "hydra/job_logging=default", "hydra/job_logging=x",
    "hydra.mode=MULTIRUN", "hydra.mode=x", "hydra.sweep.dir=s", "hydra.sweep.subdir=1", "hydra.sweeper.params=1",
    "+hydra.sweeper.params.x=1", "hydra.searchpath=[file:///tmp]", "hydra.searchpath=x", "hydra.output_subdir=null",
    "hydra.output_subdir=1", "hydra.job_logging=null", "hydra.job.env_set={A:1}", "hydra.job.env_set.B=2",
    "hydra.job.env_copy=[X]", "hydra.callbacks={a:{_target_:os.system}}", "hydra.job.override_dirname=x",
    "hydra.launcher._target_=os.system", "hydra.run=1", "hydra.help.header=x", "hydra.job.num=1", "hydra.runtime.cwd=x",
    "from=runs/one", "from=nowhere", "from=", "from=.", "from=sweeps/rates", "resume=runs/one", "resume=nowhere", "resume=",
    "resume=.", "recipes=recipes", "recipes=nowhere", "recipes=", "recipe=mine", "recipe=clothing_v1", "recipe=attention",
    "recipe=clothing_v1,clothing_v2", "recipe=[mine,clothing_v1]", "recipe=nothing", "recipe=null", "+recipe=mine", "~recipe",
    "run=one", "run=latest", "defaults=[]", "_target_=x", "+a=1", "++a.b=1", "~a", "~model", "~optim.schedule", "~callbacks",
    "~callbacks.checkpoint", "~stages", "~stages.head", "~data", "~trainer.epochs", "model@a=cnn", "optim/schedule@x=cosine",
    "stages.x.train=all", "stages.head.epochs=2", "+stages.new.train=head", "++stages.new.lr=1", "stages={}", "stages=[]",
    "stages=[head,all]", "callbacks=[default,early_stopping]", "callbacks=[]", "callbacks=[default,default]", "metrics=[]",
    "metrics=[accuracy,accuracy]", "metrics=[accuracy,f1]", "augment=[light,mixup]", "augment=[light,strong]", "augment=[]",
    "model=cnn,mobilenet", "model=[cnn]", "head=dense,mlp,binary", "head=glob(*)", "sweep.seeds=3", "sweep.seeds=999999999",
    "sweep.name=a/b", "sweep.name=..", "sweep.jobs=0", "data.dir=nowhere", "data.dir=photos/train/red", "data=csv", "data.limit=1",
    "data.file=nowhere.csv", "data=csv data.file=a.keras", "data.classes=[]", "data.classes=[red]", "data.positive=red",
    "data.positive=nothing", "data.class_weights={red:1}", "data.class_weights={x:-1}", "data.image_size=[32,32]",
    "data.image_size=[32]", "data.image_size=99999999", "model.weights=a.keras", "model.weights=photos", "model.filters=[]",
    "model.filters=[0]", "model.filters=[99999999999]", "cache.dir=a.keras", "cache.dir=/dev/null", "cache=only", "optim.lr=1e-3",
    "callbacks.checkpoint.filename='../{epoch}'", "callbacks.checkpoint.filename='/x'", "callbacks.checkpoint.filename=''",
    "callbacks.checkpoint.filename='{}'", "resume.allow=[trainer.epochs]", "resume.allow=[1]", "resume.allow=x",
]  # fmt: skip


def _leaves(node, prefix=""):
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}.")
        elif not isinstance(value, list):
            yield f"{path}={'null' if value is None else value}"


def _right() -> list[str]:
    """Every option of every group, and every key of every file with its value, as one would type them."""
    found = []
    for file in sorted(CONF.rglob("*.yaml")):
        content = yaml.safe_load(file.read_text()) or {}
        content.pop("defaults", None)
        content.pop("hydra", None)
        group = file.parent.relative_to(CONF).as_posix().replace("/", ".")
        if file.parent != CONF and not file.name.startswith("_"):
            found.append(f"{group}={file.stem}")
        prefix = "" if file.parent == CONF else f"{group}."
        found += _leaves(content, prefix)
    return list(dict.fromkeys(found))


RIGHT = _right()
KEYS = sorted({line.partition("=")[0] for line in RIGHT})


def misspelt(text: str, draw: random.Random) -> str:
    """The text with a character left out, doubled, swapped with the next, or another one."""
    if not text:
        return draw.choice(NASTY)
    place = draw.randrange(len(text))
    one = text[place]
    swapped = text[place + 1 : place + 2] + one + text[place + 2 :]
    other = draw.choice("aeiou_.=,:-+~/\\'\"[]{}()$#@!* \né😀0123456789")
    return text[:place] + draw.choice(
        ["", one + one + text[place + 1 :], swapped, other + text[place + 1 :], other + text[place:]]
    )


def mutated(line: str, draw: random.Random) -> str:
    """One argument, made worse in one of many ways."""
    key, _, value = line.partition("=")
    way = draw.randrange(12)
    if way == 0:
        return misspelt(line, draw)
    if way == 1:
        return f"{misspelt(key, draw)}={value}"
    if way in (2, 3, 4):
        return f"{key}={draw.choice(NASTY)}"
    if way == 5:
        return draw.choice(["+", "++", "~", "-", "--", "+++", "~+", " ", "@"]) + line
    if way == 6:
        return draw.choice(
            [key, f"{key}=", f"{key}=={value}", f"={value}", f"{key}:{value}", f"{key} = {value}", f"~{key}"]
        )
    if way == 7:
        return f"{key}={misspelt(value, draw)}"
    if way == 8:
        return f"{key}.{draw.choice(['x', '0', 'name', '', 'a.b'])}={value}"
    if way == 9:
        return f"{draw.choice(KEYS)}={value}"
    if way == 10:
        return f"{key}={value},{draw.choice(NASTY)}"
    return f"{draw.choice(NASTY)}={draw.choice(NASTY)}"


@st.composite
def command_lines(draw, right=RIGHT, whole=WHOLE, flags=FLAGS):
    """A few arguments, most of them wrong; what is chosen by hypothesis is a seed and how many, so that it shrinks."""
    source = draw(st.randoms(use_true_random=False))
    arguments = []
    for _ in range(draw(st.integers(1, 3))):
        way = source.randrange(10)
        if way < 6:
            arguments.append(mutated(source.choice(right), source))
        elif way < 7:
            arguments.append(source.choice(whole))
        elif way < 8:
            arguments.append(mutated(source.choice(whole), source))
        elif way < 9:
            arguments.append(source.choice(flags))
        else:
            arguments.append(source.choice(right))
    return arguments


@fuzzed(25)
@given(command=st.sampled_from([train, train, check, plan, show, lr_find]), arguments=command_lines())
def test_command_lines_of_a_training(folder, command, arguments):
    outcome(command, [*arguments] if command is show else [*DATA, *arguments], folder)


OPTIONS = {
    evaluate: [
        "run=runs/one", "run=latest", "run=sweeps/rates", "model=a.keras", "classes=[red,green]", "image_size=32",
        "preprocess=tf", "split=validation", "data.dir=photos", "data.file=x.csv", "top=[1,3]", "min_accuracy=0.5",
        "batch_size=8", "output=there",
    ],
    predict: ["photos", "photos/train/red", "-x", "run=runs/one", "model=a.keras", "top=3", "format=csv", "output=x.csv", "batch_size=2"],
    visualize: ["run=runs/one", "image=photos/train/red/red-0-000.jpg", "target=hat", "top=3", "layers=[a,b]", "output=x"],
    compare: ["sweep=sweeps/rates", "runs=[runs/one,sweeps/rates/0]", "runs=[runs/one]", "output=there"],
    cache: ["list", "verify", "clear", "keys=x", "dir=photos", "cache.dir=photos", "days=3", "all"],
    recipe: ["list", "new", "check", "copy", "name=birds", "data.dir=photos", "into=recipes", "recipes=recipes", "mine", "clothing_v1", "all"],
}  # fmt: skip


@st.composite
def option_lines(draw):
    """A command with options of its own, and a line of them."""
    command = draw(st.sampled_from(list(OPTIONS)))
    own = OPTIONS[command]
    return command, draw(command_lines(own, own, FLAGS))


@fuzzed(150)
@given(line=option_lines())
def test_options_of_the_other_commands(folder, line):
    command, arguments = line
    outcome(command, arguments, folder)


RECIPE = """# Mine.
# Expected: 0.9
defaults:
  - override /model: mobilenet
  - override /head: mine
  - override /callbacks: [default, early_stopping]
  - _self_

model:
  weights: null
  alpha: 0.25
head:
  hidden: [100]
optim:
  lr: 1e-3
stages:
  head:
    epochs: 2
data:
  image_size: [32, 32]
trainer:
  epochs: 3
"""
VALUES = [
    *(value for value in NASTY if "\n" not in value), "\"\\0\"", "\"\\ud800\"", "\"\\x07\"", "!!binary aGVsbG8=", "!!set {a}", "!!timestamp 2020-01-01",
    "&x [*x]", "!!python/name:os.system", "!!int x", "{? [a] : b}", "{1.5: 2}", "{null: 1}", "[[[]]]", "0b1", "1:30", "12e03", "~",
]  # fmt: skip


def damaged(text: str, draw: random.Random) -> bytes:
    """A file's bytes after one or two mishaps."""
    content = text.encode()
    for _ in range(draw.choice((1, 1, 2))):
        way = draw.randrange(8)
        lines = content.split(b"\n")
        place = draw.randrange(len(lines))
        if way == 0:
            content = content[: draw.randrange(len(content) + 1)]
        elif way == 1 and content:
            position = draw.randrange(len(content))
            content = content[:position] + bytes([content[position] ^ 1 << draw.randrange(8)]) + content[position + 1 :]
        elif way in (2, 3, 4):
            before, colon, _ = lines[place].partition(b":")
            lines[place] = before + colon + b" " + draw.choice(VALUES).encode("utf-8", "surrogateescape")
            content = b"\n".join(lines)
        elif way == 5:
            content = b"\n".join([*lines[:place], *lines[place + 1 :]])
        elif way == 6:
            lines.insert(draw.randrange(len(lines) + 1), draw.choice((b"", b"  ", b"    ", b"\t")) + lines[place])
            content = b"\n".join(lines)
        else:
            key = draw.choice([*KEYS, *NASTY]).split(".")[-1]
            content += f"\n{key}: {draw.choice(VALUES)}\n".encode("utf-8", "surrogateescape")
    return content


def whole_config() -> str:
    """The config that a run folder of this folder's photos holds."""
    from omegaconf import OmegaConf

    from framework.cli.compose import compose

    take_primary_config([])
    return OmegaConf.to_yaml(compose(DATA).node, resolve=True)


ONE = "runs/two"
FILES = {
    "recipes/mine/recipe.yaml": [(check, [*DATA, "recipe=mine"]), (show, ["recipe=mine"]), (recipe, ["list"])],
    "recipes/mine/conf/head/mine.yaml": [(check, [*DATA, "recipe=mine"]), (show, ["head=mine", "recipe=mine"])],
    f"{ONE}/config.yaml": [
        (check, [f"from={ONE}"]), (train, [f"from={ONE}", "optim=sgd"]), (compare, [f"runs=[{ONE},runs/one]"]),
        (evaluate, [f"run={ONE}"]), (visualize, [f"run={ONE}"]), (train, [f"resume={ONE}"]),
    ],
    f"{ONE}/run.json": [
        (check, [f"from={ONE}"]), (compare, [f"runs=[{ONE},runs/one]"]), (evaluate, [f"run={ONE}"]),
        (predict, ["photos", f"run={ONE}"]), (train, [f"resume={ONE}"]), (predict, ["photos", "run=latest"]),
    ],
    f"{ONE}/history.csv": [(compare, [f"runs=[{ONE},runs/one]"])],
    f"{ONE}/confusion.csv": [(compare, [f"runs=[{ONE},runs/one]"])],
    f"{ONE}/answers.csv": [(compare, [f"runs=[{ONE},runs/one]"])],
    "sweeps/rates/sweep.json": [(compare, ["sweep=sweeps/rates"]), (predict, ["photos", "run=sweeps/rates"])],
}  # fmt: skip
SWEEP = """{"format": 1, "name": "rates", "command": "x -m a=1,2", "varied": ["optim.lr", "head"], "runs": [
 {"folder": "0", "overrides": ["optim.lr=0.1"], "status": "finished", "reason": null},
 {"folder": "1", "overrides": ["optim.lr=0.01"], "status": "failed", "reason": "gone"}]}
"""


def original(name: str, folder: Path) -> str:
    """What a file says before the mishap."""
    made_up = {"recipes/mine/recipe.yaml": RECIPE, "sweeps/rates/sweep.json": SWEEP, f"{ONE}/config.yaml": CONFIG[0]}
    return made_up[name] if name in made_up else (folder / name).read_text()


CONFIG: list[str] = []


def spoilt(name: str, command, arguments, draw: random.Random, folder: Path) -> None:
    """Damage a file, have a command read it, put it right again."""
    CONFIG[:] = CONFIG or [whole_config()]
    file = folder / name
    before = file.read_bytes() if file.exists() else None
    (folder / ONE / "config.yaml").write_text(CONFIG[0])
    (folder / "recipes" / "mine" / "recipe.yaml").write_text(RECIPE)
    content = damaged(original(name, folder), draw)
    file.write_bytes(content)
    try:
        outcome(command, arguments, folder)
    except AssertionError as error:
        raise AssertionError(f"{command.__name__} {arguments}, {name}: {content!r}: {error}") from error
    finally:
        file.write_bytes(before) if before is not None else file.unlink()


READ = [(name, command, arguments) for name, uses in FILES.items() for command, arguments in uses]


@fuzzed(60)
@given(read=st.sampled_from(READ), draw=st.randoms(use_true_random=False))
def test_files_that_are_damaged(folder, read, draw):
    spoilt(*read, draw, folder)

"""What every recipe must do: compose, check, build, train two steps, and be the same once saved, loaded, exported."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from framework.config.folders import groups, shown
from framework.config.recipe_parts import fault, load_classes, load_parts
from framework.config.recipes import PARTS_FILE, Recipe, bring
from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.errors import BadInput, FrameworkError, Problem
from framework.core.runs import RunFolder
from framework.core.task import Task
from framework.runs.preflight import experiment, preflight

NOT_INSTALLED = "which is not installed"
BATCH = 4
STEPS = 2
CLASSES = ("apple", "pear", "plum")
MADE_SIDE = 48

Compose = Callable[[list[str]], Mapping[str, Any]]
Preflight = Callable[[Settings], list[Problem]]
Check = Callable[[list[str], Preflight], tuple[Settings | None, list[Problem]]]


def faults(name: str, compose: Compose, check: Check) -> list[Problem]:
    """Everything wrong with a recipe; its parts are forgotten afterwards, and its files are left as they are.

    Args:
        name: of the recipe.
        compose: from overrides to the plain config.
        check: from overrides and checks of settings to the settings, None where there are none, and the problems.
    """
    with registry.isolated(), tempfile.TemporaryDirectory() as folder:
        try:
            return _try_out(name, Path(folder), compose, check)
        except BadInput as error:
            return list(error.problems)


def _try_out(name: str, folder: Path, compose: Compose, check: Check) -> list[Problem]:
    recipes = bring([name], groups()).recipes
    recipe = recipes[-1]
    known = "tensorflow" in sys.modules
    with _watched([one.folder / PARTS_FILE for one in recipes]) as seen:
        load_parts(recipes)
    if not known and "tensorflow" in sys.modules:
        return [_early(name, *(seen or [(recipe.folder / PARTS_FILE, 0)])[0])]
    _, problems = check([f"recipe={name}"], lambda settings: [])
    # what only a user can give, as data.dir, is made for it below
    problems = [problem for problem in problems if not problem.what.endswith(" must be given")]
    if problems:
        return problems
    overrides = [f"recipe={name}", *_small(compose([f"recipe={name}"]), folder)]
    settings, problems = check(overrides, preflight)
    if settings is None or problems:
        return problems
    try:
        with _quiet():
            return _train(recipe, recipes, settings, folder)
    except BadInput as error:
        return list(error.problems)
    except FrameworkError as error:
        cause = error.__cause__ or error
        return [fault(recipe, cause, "two training steps failed")]
    except Exception as error:
        return [fault(recipe, error, "two training steps failed")]


@contextlib.contextmanager
def _watched(files: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    """Yields a list that gets the file and the line that are at work when TensorFlow or Keras is about to be loaded."""
    seen: list[tuple[Path, int]] = []

    class Watch:
        """Finds nothing, and notes who seeks."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name in ("tensorflow", "keras"):
                stack = reversed(traceback.extract_stack())
                seen.extend((Path(one.filename), one.lineno or 0) for one in stack if Path(one.filename) in files)

    watch = Watch()
    sys.meta_path.insert(0, watch)  # type: ignore[arg-type]
    try:
        yield seen
    finally:
        sys.meta_path.remove(watch)  # type: ignore[arg-type]


def _early(name: str, file: Path, line: int) -> Problem:
    """TensorFlow is loaded when ``parts.py`` is read: by which line, why, and what would be right."""
    why, right = "", "read it where a part is built, inside the function"
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.stmt):
            continue
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        if not first <= line <= (node.end_lineno or 0):
            continue
        if isinstance(node, ast.FunctionDef):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            kinds = [kind for kind in (node.returns, *(one.annotation for one in arguments)) if kind is not None]
            if any(kind.lineno <= line <= (kind.end_lineno or 0) for kind in kinds):
                why = ": the types of a function are looked up"
                right = "from __future__ import annotations, in the first line below the file's docstring"
        elif isinstance(node, ast.ClassDef):
            why, right = f": class {node.name} is made", "the class in layers.py, imported where a part is built"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            why, right = f" by {ast.unparse(node)}", f"{ast.unparse(node)} where a part is built, inside the function"
            if (getattr(node, "module", None) or node.names[0].name).split(".")[0] in ("keras", "tensorflow"):
                right = "from framework.core.backend import keras, tf: they load when first used"
    what = f"recipe '{name}': {file.name} loads TensorFlow when it is read{why}; every check takes seconds"
    return Problem(what, f"{shown(file)}:{line}" if line else shown(file), right)


def _small(config: Mapping[str, Any], folder: Path) -> list[str]:
    """Overrides that make the recipe two steps on images made for it, with random weights, leaving nothing behind."""
    source, data = str(config["data"].get("name")), config["data"]
    overrides = [
        f"trainer.batch_size={BATCH}",
        "trainer.epochs=1",
        "model.weights=null",
        f"cache.dir='{folder / 'cache'}'",
    ]
    # one block of a transformer is as good as twelve
    overrides += ["model.num_layers=1"] if "num_layers" in config["model"] else []
    overrides += [f"stages.{stage}.epochs=1" for stage, node in config["stages"].items() if "epochs" in (node or {})]
    takes = registry.get("source", source).parameters if source in registry.names("source") else {}
    if "dir" in takes:
        make_images(folder / "images", _classes(config))
        return [*overrides, f"data.dir='{folder / 'images'}'", "data.limit=null"]
    if "file" in takes:
        numbers = registry.get("task", config["task"]["name"]).details["labels"] == "numbers"
        file = _make_manifest(folder / "images", CLASSES if numbers else _classes(config), data, numbers)
        return [*overrides, f"data.file='{file}'", "data.folder=null", "data.limit=null"]
    if takes.keys() >= {"train", "validation"}:
        return [*overrides, f"data.train={BATCH * STEPS}", f"data.validation={BATCH}", "data.limit=null"]
    return [*overrides, f"data.limit={BATCH * STEPS}"]


def _classes(config: Mapping[str, Any]) -> list[str]:
    """Class names that the recipe itself asks for, and as many others as it needs."""
    data = config["data"]
    named = [*(data.get("classes") or []), *([data["positive"]] if data.get("positive") else [])]
    weights = data.get("class_weights")
    named += list(weights) if isinstance(weights, Mapping) else []
    units = config["head"].get("units")
    binary = config["head"].get("name") in _only("binary") and not data.get("positive")
    count = units if isinstance(units, int) and units > 1 else 2 if binary else len(CLASSES)
    named = list(dict.fromkeys(map(str, named)))
    more = [*CLASSES, *(f"class{number}" for number in range(count))]
    return (
        named
        if data.get("classes")
        else [*named, *(name for name in more if name not in named)][: max(count, len(named))]
    )


def _only(task: str) -> list[str]:
    return [part.name for part in registry.parts("head") if part.details["tasks"] == (task,)]


def make_images(folder: Path, classes: Sequence[str], seed: int = 0) -> list[tuple[str, str, str]]:
    """Write noisy images, a colour a class, as an image folder: ``STEPS`` batches to train on, one to validate.

    Returns:
        split, class and file, relative to the folder, of each.
    """
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 215, (len(classes), 3))
    made = []
    for split, count in (("train", max(BATCH * STEPS, len(classes))), ("validation", max(BATCH, len(classes)))):
        for number in range(count):
            place = number % len(classes)
            pixels = colours[place] + rng.normal(0, 20, (MADE_SIDE, MADE_SIDE, 3))
            file = Path(split, classes[place], f"{number:03d}.png")
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / file)
            made.append((split, classes[place], str(file)))
    return made


def _make_manifest(folder: Path, classes: Sequence[str], data: Mapping[str, Any], numbers: bool) -> Path:
    """Images and a CSV file that names them in the columns that the recipe reads."""
    of_labels = data["label_column"] if isinstance(data["label_column"], list) else [data["label_column"]]
    one_hot = len(of_labels) > 1 and not numbers
    classes = of_labels if one_hot else classes
    rows = [[data["path_column"], *of_labels, *([data["split_column"]] if data["split_column"] else [])]]
    for number, (split, name, file) in enumerate(make_images(folder, classes)):
        both = data["separator"] and number % 2
        label = f"{name}{data['separator']}{classes[(number + 1) % len(classes)]}" if both else name
        cells = [number + place for place in range(len(of_labels))] if numbers else [label]
        cells = [int(column == name) for column in of_labels] if one_hot else cells
        rows.append([file, *cells, split][: len(rows[0])])
    with open(folder / "images.csv", "w", newline="", encoding="utf-8") as manifest:
        csv.writer(manifest).writerows(rows)
    return folder / "images.csv"


def _train(recipe: Recipe, recipes: Sequence[Recipe], settings: Settings, folder: Path) -> list[Problem]:
    """Two steps a stage as a training makes them, then the model saved and loaded; one with parts of its own exported."""
    from framework.core.backend import load_tensorflow
    from framework.model.saving import load_model
    from framework.runs.keeping import make_callbacks
    from framework.runs.prepare import network
    from framework.training.trainer import Trainer

    load_tensorflow()
    start = experiment(settings)
    if start.images.prepare:
        start.images.prepare()
    built = network(start)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    Trainer(start, built, make_callbacks(settings, run)).train()
    images = np.random.default_rng(0).uniform(0, 255, (2, *settings.data.geometry.shape)).astype(np.float32)
    before = np.asarray(built.model(images, training=False))
    if not np.isfinite(before).all():
        return [Problem(f"recipe '{recipe.name}': its predictions are not finite numbers", shown(recipe.file))]
    built.model.save(run.model)
    load_classes(recipes)
    loaded = load_model(run.model)
    after = np.asarray(loaded(images, training=False))
    if not np.allclose(before, after, rtol=1e-4, atol=1e-4):
        what = f"recipe '{recipe.name}': the saved model, loaded again, predicts something else"
        right = "a get_config that says what __init__ takes, and weights made by add_weight"
        return [Problem(what, shown(recipe.file), right)]
    # the parts that come with the framework are exported in tests of their own
    own = any((one.folder / PARTS_FILE).is_file() for one in recipes)
    return _export(recipe, loaded, start.task, folder, images, after) if own else []


def _export(
    recipe: Recipe, model: keras.Model, task: Task, folder: Path, images: np.ndarray, logits: np.ndarray
) -> list[Problem]:
    """The loaded model as a SavedModel, which holds nothing but TensorFlow's operations, and what that answers."""
    from framework.exports import formats
    from framework.exports.answering import answering

    request = formats.Request(answering(model, task, "logits"), "logits", task.classes)
    (folder / "export").mkdir()
    try:
        file = formats.write("saved_model", request, folder / "export")
    except BadInput as error:
        what = error.problems[0].what
        return [
            Problem(f"recipe '{recipe.name}': {what}", shown(recipe.file), "keras.ops in call, no Python on values")
        ]
    loaded = tf.saved_model.load(file)
    found = loaded.signatures["serving_default"](image=tf.constant(images, tf.float32))["logits"]
    keras.backend.clear_session(free_memory=False)
    if not np.allclose(found, logits, rtol=1e-3, atol=1e-3):
        what = f"recipe '{recipe.name}': the exported model predicts something else"
        return [Problem(what, shown(recipe.file), "keras.ops in call, no Python on values")]
    return []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what a training says is shown."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield

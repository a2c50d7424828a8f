"""A trained classifier to work with: a run's own model, or a foreign file, checked before TensorFlow loads.

A run folder may come from someone else, so nothing in it is code: models load in Keras's safe mode, pickles and Lambda
layers are refused, and no file of it may lie outside, behind a link.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.config.checks import read_part
from framework.config.data_only import config_of_run
from framework.config.earlier import as_now
from framework.config.recipe_parts import load_classes, load_parts
from framework.config.recipes import recorded_recipes
from framework.config.settings import CacheSettings, DataSettings, PartSettings
from framework.core.backend import keras
from framework.core.console import say
from framework.core.digits import is_number
from framework.core.errors import BadInput, Problem, listing
from framework.core.geometry import Geometry, Level, Resize, named
from framework.core.runs import RunFolder
from framework.core.schema import Count, PathOrName, PathText
from framework.core.task import Task, task_of_model, task_of_run
from framework.model.chosen import find_run
from framework.model.description import Description, describe
from framework.model.saving import load_model

Preprocess = Literal["none", "tf", "torch", "caffe"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of every command that takes a trained classifier; ``open_trained`` opens what they name."""

    run: Annotated[
        PathOrName | None, "a run folder, a sweep folder (its best run), or latest (that run, or its sweep's best)"
    ] = None
    calibrate: Annotated[
        bool, "with run: divide its logits by the temperature that its validation images fit: calibrated probabilities"
    ] = False
    model: Annotated[PathText | None, "in place of run: a .keras or .h5 file from elsewhere"] = None
    classes: Annotated[list[str] | None, "with model: class names in the order of its outputs, [hat,shoes]"] = None
    image_size: Annotated[Count | list[Count] | None, "with model: image side, or [height,width]; null asks it"] = None
    resize: Annotated[Resize | None, "with model: what becomes of an image's aspect; null: as the file says"] = None
    fill: Annotated[Level, "with model and resize=pad: level of what is added, 0 to 255"] = 0
    preprocess: Annotated[Preprocess, "with model: what it wants done to pixels of 0-255 that it does not itself"] = (
        "none"
    )


@dataclass(frozen=True)
class Trained:
    """A trained classifier.

    Attributes:
        file: the model's file.
        task: what it answers; its ``labels`` mean nothing here, for they depend on the loss.
        geometry: of the images it takes.
        folder: where results go: the run folder, or one beside a foreign file, named like it.
        run: the run; None for a foreign file.
        preprocess: what ``load`` puts in front of a foreign model.
        missing: what is wrong with the run's recipe, told if the model can't be loaded without it.
        chosen: of a run, why it is the one and how good it is.
        temperature: what ``load`` divides logits by; None leaves them as they are.
    """

    file: Path
    task: Task
    geometry: Geometry
    folder: Path
    run: RunFolder | None = None
    preprocess: Preprocess = "none"
    missing: tuple[Problem, ...] = ()
    chosen: str = ""
    temperature: float | None = None

    @property
    def name(self) -> str:
        """What messages call it: the run folder, or the file."""
        path = self.run.path if self.run else self.file
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

    @property
    def words(self) -> list[str]:
        """What names the same classifier on a command line."""
        if self.run is not None:
            return [f"run={self.name}", *["calibrate=true"] * (self.temperature is not None)]
        names = io.StringIO()
        csv.writer(names, lineterminator="").writerow(self.task.classes)
        (height, width), how = self.geometry.size, self.geometry.resize
        more = [f"resize={how}"] * (how != "stretch") + [f"fill={self.geometry.fill}"] * (how == "pad")
        size = f"image_size=[{height},{width}]"
        return [f"model={self.name}", f"classes=[{names.getvalue()}]", size, *more, f"preprocess={self.preprocess}"]

    def data(self) -> DataSettings:
        """The data that the run was trained on.

        Raises:
            BadInput: a foreign file has none, or ``config.yaml`` can't be read.
        """
        return self._part("data")

    def loss(self) -> PartSettings:
        """The loss that the run made small.

        Raises:
            BadInput: a foreign file has none, or ``config.yaml`` can't be read.
        """
        return self._part("loss")

    def cache(self) -> tuple[CacheSettings, str]:
        """The feature cache that the run used, and the precision of what is in it.

        Raises:
            BadInput: a foreign file has none, or ``config.yaml`` does not say.
        """
        return self._part("cache"), self._part("trainer").feature_precision

    def _part(self, key: str) -> Any:
        """One node of the run's config. Others are not looked at: a run outlives changes of what it does not need."""
        if self.run is None:
            raise BadInput(Problem(f"{self.name} is no run: it has no config", "command line", "run=PATH"))
        file = inside(self.run.path, self.run.config.name)
        try:
            config = self.run.read_config()
        except (OSError, ValueError) as error:
            raise BadInput(Problem(f"{file} can't be read: {error}", str(file))) from None
        config = as_now(config_of_run(config, file))
        settings, problems = read_part(config, key)
        if problems:
            raise BadInput(replace(problem, where=f"{file}: {problem.where}") for problem in problems)
        return settings

    def output(self, *names: str) -> Path:
        """Where a result of these names goes, inside ``folder``.

        Raises:
            BadInput: a link leads out of the folder.
        """
        return inside(self.folder, *names)

    def load(self) -> keras.Model:
        """The model, from raw images, float32 0-255 (batch, height, width, channels), to logits (batch, task.units).

        A softmax or sigmoid at a foreign model's end is taken off. Layers keep their names and stay flat.

        Raises:
            BadInput: it is damaged, not safe to load, or does not fit the class names.
        """
        if self.run is not None and not self.missing:
            load_classes(recorded_recipes(self.run))
        try:
            model = load_model(self.file)
        except BadInput as error:
            raise BadInput([*self.missing, *error.problems]) from error
        if self.run is None:
            model = _with_preprocessing(_to_logits(model), self.geometry, self.preprocess)
            if named(model.name) != (self.geometry.resize, self.geometry.fill):
                model = keras.Model(model.input, model.output, name=self.geometry.model_name)
        units = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
        if units != self.task.units:
            what = f"the model gives {units} numbers an image; its classes need {self.task.units}"
            raise BadInput(Problem(what, str(self.file)))
        return model if self.temperature is None else _cooled(model, self.temperature)


def open_trained(options: ModelOptions) -> Trained:
    """The classifier that the options name, without loading TensorFlow; a line says which it is.

    Raises:
        BadInput: none or two are named, it can't be found, or it is not fit to be opened.
    """
    trained = _named(options)
    say(f"model  {trained.name}{trained.chosen}")
    return trained


def _named(options: ModelOptions) -> Trained:
    if options.model is not None:
        if options.run is not None:
            raise BadInput(Problem("run and model are both given", "command line", "one of them"))
        if options.calibrate:
            what = "calibrate belongs to a run: a model from elsewhere brings no temperature"
            raise BadInput(Problem(what, "command line: calibrate=true", "leave it out"))
        size = options.image_size
        pair = None if size is None else (size, size) if isinstance(size, int) else tuple(size)
        return open_file(options.model, options.classes, pair, options.preprocess, options.resize, options.fill)  # type: ignore[arg-type]
    foreign = {"classes": options.classes, "image_size": options.image_size, "resize": options.resize}
    problems = [
        Problem(f"{key} belongs to a model from elsewhere: a run knows it itself", "command line", "leave it out")
        for key, value in foreign.items()
        if value is not None
    ]
    if options.run is None:
        problems.append(
            Problem("run must be given", "command line", "run=latest, run=PATH, or model=FILE classes=[a,b]")
        )
    if problems:
        raise BadInput(problems)
    assert options.run is not None
    return open_run(options.run, options.calibrate)


def open_run(run: str, calibrate: bool = False) -> Trained:
    """A run's classifier, without loading TensorFlow.

    Args:
        run: a run folder, a sweep folder (its best run), or ``latest`` (see ``chosen.find_run``).
        calibrate: whether its logits are divided by its temperature.

    Raises:
        BadInput: there is no such run, it has no model or no temperature, or its files are not what they should be.
    """
    found = find_run(run)
    folder = found.folder
    said = folder.read_run()
    if not folder.model.exists():
        raise BadInput(_without_model(folder, said))
    task = task_of_run(said)
    if task is None:
        raise BadInput(Problem(f"{folder.run_json} names no classes or no known task", str(folder.run_json)))
    file = inside(folder.path, folder.model.name)
    looked = describe(file)
    if looked.size is None:
        raise BadInput(Problem("the model does not say how large its images are", str(file)))
    _check_units(file, looked, task)
    geometry = Geometry(looked.size, *named(looked.name), looked.channels)
    temperature = _temperature(folder, said) if calibrate else None
    missing = _register_parts(folder)
    return Trained(
        file, task, geometry, folder.path, folder, missing=missing, chosen=found.told(), temperature=temperature
    )


def _temperature(folder: RunFolder, said: Mapping[str, Any]) -> float:
    """What ``run.json`` says of it.

    Raises:
        BadInput: nothing.
    """
    calibration = said.get("calibration")
    found = calibration.get("temperature") if isinstance(calibration, Mapping) else None
    if not isinstance(found, int | float) or not is_number(found) or found <= 0:
        what = f"{folder.path} has no temperature: it was not fitted on validation images"
        right = "calibrate=false, or a run of classes with validation images, trained by this version"
        raise BadInput(Problem(what, "command line: calibrate=true", right))
    return float(found)


def _cooled(model: keras.Model, temperature: float) -> keras.Model:
    """The model with its logits divided by a temperature: the same answers, other probabilities."""
    divided = keras.layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(model.outputs[0])
    return keras.Model(model.input, divided, name=model.name)


def _register_parts(run: RunFolder) -> tuple[Problem, ...]:
    """Register the parts of the run's recipe; what is wrong with it, since a model often does without them."""
    try:
        load_parts(recorded_recipes(run))
    except BadInput as error:
        return error.problems
    return ()


def open_file(
    model: str,
    classes: Sequence[str] | None,
    size: tuple[int, int] | None = None,
    preprocess: Preprocess = "none",
    resize: Resize | None = None,
    fill: int = 0,
) -> Trained:
    """A classifier from a ``.keras`` or ``.h5`` file of any origin, without loading TensorFlow.

    What it answers: ``core.task.task_of_model``.

    Args:
        model: the file.
        classes: names in the order of its outputs.
        size: height and width of its images; None reads them from the file.
        preprocess: what it wants done to pixels of 0-255 before it sees them.
        resize: what becomes of an image's aspect; None is what the file says, ``stretch`` where it says nothing.
        fill: level of what ``pad`` adds.

    Raises:
        BadInput: it can't be opened, or names or size are missing or don't fit.
    """
    file = Path(model).expanduser().resolve()
    looked = describe(file)
    problems = []
    size = size or looked.size
    if not classes:
        count = f"{looked.units} names" if looked.units else "a name for each output"
        problems.append(Problem("classes must be given with model", "command line", f"classes=[a,b], {count}"))
    if size is None:
        what = "the model takes images of any size: image_size must be given"
        problems.append(Problem(what, "command line", "image_size=224"))
    elif looked.size not in (None, size):
        what = f"image_size is {size[0]}×{size[1]}, but the model takes {looked.size[0]}×{looked.size[1]}"  # type: ignore[index]
        problems.append(Problem(what, "command line: image_size", "leave it out"))
    if preprocess in ("torch", "caffe") and looked.channels == 1:
        what = f"preprocess={preprocess} is for three channels, and the model takes grey images"
        problems.append(Problem(what, "command line: preprocess", "preprocess=none or tf"))
    if problems:
        raise BadInput(problems)
    assert classes
    assert size is not None
    task = task_of_model(classes, looked.units, looked.activation)
    _check_units(file, looked, task)
    how = named(looked.name) if resize is None else (resize, fill if resize == "pad" else 0)
    geometry = Geometry(size, *how, looked.channels)
    return Trained(file, task, geometry, file.with_suffix(""), preprocess=preprocess)


def inside(folder: Path, *names: str) -> Path:
    """The path of these names in a folder, absolute.

    Raises:
        BadInput: it lies outside, by a link or by its names.
    """
    root = folder.resolve()
    path = root.joinpath(*names)
    if not Path(leads := os.path.realpath(path)).is_relative_to(root):
        what = f"{path} leads out of the folder, to {leads}"
        raise BadInput(Problem(what, str(folder), "a run folder whose files lie in it"))
    return path


def _without_model(folder: RunFolder, said: Mapping[str, Any]) -> Problem:
    state = str(said.get("status"))
    reason = f": {said['reason']}" if said.get("reason") else ""
    kept = sorted(folder.checkpoints.glob("*.keras")) if folder.checkpoints.is_dir() else []
    right = f"model={kept[-1]} classes=[{','.join(map(str, said.get('classes') or []))}]" if kept else "a finished run"
    return Problem(f"the run has no model.keras; it is {state}{reason}", str(folder.path), right)


def _check_units(file: Path, looked: Description, task: Task) -> None:
    if not task.gives(looked.units):
        what = f"the model gives {looked.units} numbers an image; {len(task.classes)} classes are named"
        raise BadInput(Problem(f"{what}: {listing(task.classes)}", str(file), "a name for each number, in its order"))


def _to_logits(model: keras.Model) -> keras.Model:
    """The model without the softmax or sigmoid at its end."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, last.input, name=model.name)
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    if getattr(last, "activation", None) in (keras.activations.softmax, keras.activations.sigmoid):
        last.activation = keras.activations.linear
    return model


def _with_preprocessing(model: keras.Model, geometry: Geometry, preprocess: Preprocess) -> keras.Model:
    """The model for raw images of 0-255."""
    from framework.parts import bases

    if preprocess == "none":
        return model
    images = keras.Input(geometry.shape, dtype="float32", name="image")
    # call, not __call__: the layers are applied one by one and stay layers of the new model
    return keras.Model(images, model.call(bases.preprocess(images, preprocess)), name=model.name)

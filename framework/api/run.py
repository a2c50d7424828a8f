"""``load`` and ``Run``: a trained classifier with all that can be done with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from framework.api import html
from framework.api.errors import speaking
from framework.core.backend import load_tensorflow
from framework.core.console import warn
from framework.core.errors import BadInput, Problem, many, suggestion
from framework.core.task import Classification
from framework.data.arrays import lay_down, lay_down_images
from framework.data.manifest import read_manifest
from framework.data.selection import left_out
from framework.evaluation import inputs
from framework.evaluation.labelled import OWN_SPLIT, DataOptions, Labelled, SplitName, in_order, labelled
from framework.model.chosen import is_of_run
from framework.model.saved import Preprocess, Trained, open_file, open_run

if TYPE_CHECKING:
    import keras
    import pandas
    import tensorflow as tf
    from PIL.Image import Image

T = TypeVar("T")
SPLITS = ("train", "validation", "test", "all")
MODELS = (".keras", ".h5")


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        path: the file; None for an image in memory.
        label: the likeliest class; None of numbers.
        probability: its probability, 0 to 1; None of numbers.
        labels: the answer: the likeliest class, or of several labels those that are likelier than not.
        probabilities: by class, in the order of ``Run.classes``; of numbers the numbers by their names.

    Examples:
        >>> import framework
        >>> run = framework.load("latest")
        >>> answer = run.predict(run.files("validation")[0])
        >>> answer.probability == max(answer.probabilities.values())
        True
    """

    path: str | None
    label: str | None
    probability: float | None
    labels: tuple[str, ...]
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Where in an image the evidence for a class lies, by Grad-CAM.

    Attributes:
        label: the class.
        heat: float32 (rows, columns) in [0, 1], of the last feature maps' size.
        image: the image as the network sees it, with the heat over it.

    Source: Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391.

    Examples:
        >>> import framework
        >>> run = framework.load("latest")
        >>> found = run.explain(run.files("validation")[0], run.classes[1])
        >>> found.label == run.classes[1], found.image.size
        (True, (32, 32))
    """

    label: str
    heat: np.ndarray
    image: Image

    def _repr_png_(self) -> bytes:
        return html.png(self.image)


@speaking
def load(
    run: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocess: Preprocess = "none",
    calibrate: bool = False,
) -> Run:
    """A trained classifier, without loading TensorFlow yet; what every command takes as ``run=`` or ``model=``.

    Args:
        run: a run folder or its ``model.keras``; a sweep folder, which means its best run; ``"latest"``, the run that was
            begun last in runs/ and sweeps/ here, or if that is one of a sweep, the sweep's best; or a ``.keras`` or
            ``.h5`` file from elsewhere.
        classes: of a file from elsewhere the class names in the order of its outputs.
        image_size: of such a file the image side in pixels, or (height, width); None asks the file.
        preprocess: what such a file wants done to pixels of 0-255 that it does not itself.
        calibrate: of a run whether its logits are divided by the temperature that its validation images fit, so that
            probabilities mean what they say; answers stay the same.

    Raises:
        framework.Error: there is no such run, it has no model, or its files are not what they should be.

    Examples:
        >>> import framework
        >>> run = framework.load("latest")
        >>> framework.load(run.folder).classes == run.classes
        True
    """
    path = Path(run).expanduser()
    if path.suffix in MODELS and path.is_file() and not is_of_run(path.resolve()):
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if calibrate:
            what = "calibrate belongs to a run: a model from elsewhere brings no temperature"
            raise BadInput(Problem(what, "framework.load", "leave it out"))
        return Run(open_file(str(path), classes, size, preprocess))
    foreign = {"classes": classes, "image_size": image_size}
    problems = [
        Problem(f"{key} belongs to a model from elsewhere: a run knows it itself", "framework.load", "leave it out")
        for key, value in foreign.items()
        if value is not None
    ]
    if problems:
        raise BadInput(problems)
    return Run(open_run(os.fspath(run), calibrate))


class Run:
    """A trained classifier: ``framework.load`` opens one, ``framework.fit`` makes one.

    Attributes:
        folder: where results go: the run folder, or beside a model from elsewhere one named like it.

    Examples:
        >>> import framework
        >>> run = framework.load("latest")
        >>> sorted(run.metrics)
        ['accuracy', 'loss', 'val_accuracy', 'val_loss']
    """

    def __init__(self, trained: Trained):
        self._trained = trained
        self.folder = trained.folder

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs; of numbers the columns' names."""
        return self._trained.task.classes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the model takes."""
        return self._trained.geometry.size

    @property
    @speaking
    def model(self) -> keras.Model:
        """The model, loaded when first asked for: raw RGB images, float32 0-255 (batch, height, width, 3), to logits.

        Logits are float32 (batch, classes), of a yes-or-no question (batch, 1); of numbers they are the numbers.

        Raises:
            framework.Error: it is damaged, or needs a recipe or a class that is not here.
        """
        return self._model

    @cached_property
    def _model(self) -> keras.Model:
        load_tensorflow()
        return self._trained.load()

    @cached_property
    @speaking
    def config(self) -> Mapping[str, Any]:
        """The resolved config, read-only: ``config["optim"]["lr"]``; empty for a model from elsewhere.

        Raises:
            framework.Error: ``config.yaml`` can't be read.
        """
        run = self._trained.run
        try:
            return _frozen(run.read_config() if run else {})
        except ValueError as error:
            raise BadInput(Problem(f"{run and run.config} can't be read: {error}")) from None

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """What was measured in the epoch that was kept, by column of the history; empty for a model from elsewhere."""
        best = self._said.get("best")
        return MappingProxyType(dict(best.get("metrics", {})) if isinstance(best, dict) else {})

    @cached_property
    def _said(self) -> Mapping[str, Any]:
        return self._trained.run.read_run() if self._trained.run else {}

    @property
    @speaking
    def history(self) -> pandas.DataFrame | list[dict[str, Any]]:
        """A row an epoch: stage, epoch from 1, learning rate, loss, metrics, seconds.

        A ``pandas.DataFrame`` where pandas is installed, else a list of dicts; empty for a model from elsewhere.

        Raises:
            framework.Error: ``history.csv`` can't be read.
        """
        rows = self._trained.run.read_history() if self._trained.run else []
        return _table(rows)

    @speaking
    def files(self, split: SplitName = OWN_SPLIT) -> list[str]:
        """The image files of a split of the run's own data, in their order.

        Raises:
            framework.Error: the data are no longer there, or have no such split.
        """
        return list(self._labelled(split).split.paths)

    @speaking
    def predict(
        self, images: Any, *, batch_size: int = 32, on_error: Literal["stop", "skip"] = "stop"
    ) -> Prediction | list[Prediction]:
        """What images show: decoded, resized and computed just as ``python -m framework.predict`` does.

        Args:
            images: a path; a folder, with all folders in it, or a glob; a PIL image; an array, uint8 or numbers of 0 to
                255, of any size: (height, width, 3), (height, width) of grey, or a batch (images, height, width, 3); or
                any number of these, one after the other. An image in memory is what a PNG file of it is; one that
                Pillow has opened and not read yet is its file.
            batch_size: images at once; memory is bounded by it.
            on_error: ``stop`` at the end if files can't be read, naming all; ``skip`` leaves them out with a warning.

        Returns:
            Of one image its prediction, of several a list in their order.

        Raises:
            framework.Error: there is no image, or some can't be read.

        Examples:
            >>> import framework, numpy as np
            >>> run = framework.load("latest")
            >>> file = run.files("validation")[0]
            >>> run.predict([file, file])[1] == run.predict(file)
            True
            >>> grey = np.full((50, 40, 3), 128, np.uint8)
            >>> run.predict(grey).label in run.classes
            True
        """
        load_tensorflow()
        from framework.evaluation.forward import forward

        with tempfile.TemporaryDirectory(prefix="framework-") as folder:
            paths, alone = _paths(images, Path(folder))
            bad: list[tuple[str, str]] = []
            found: list[Prediction] = []
            for names, logits in forward(self._model, paths, self._trained.geometry, batch_size, bad):
                kept = [None if name.startswith(folder) else name for name in names]
                found += self._predictions(kept, logits)
        if bad and (on_error == "stop" or not found):
            lines = "".join(f"\n    {path}: {reason}" for path, reason in bad)
            raise BadInput(Problem(f"{many(len(bad), 'image')} can't be read:{lines}", "images"))
        if bad:
            warn(left_out(len(bad)))
        return found[0] if alone else found

    def _predictions(self, paths: Sequence[str | None], logits: np.ndarray) -> Iterable[Prediction]:
        task = self._trained.task
        if not isinstance(task, Classification):
            for path, row in zip(paths, logits.tolist(), strict=True):
                yield Prediction(path, None, None, (), dict(zip(task.classes, row, strict=True)))
            return
        shares = task.probabilities(logits)
        for path, row, answer in zip(paths, shares, task.answers(logits), strict=True):
            place = int(np.argsort(-row, kind="stable")[0])
            by_name = dict(zip(task.classes, row.tolist(), strict=True))
            yield Prediction(path, task.classes[place], float(row[place]), task.named(answer), by_name)

    @speaking
    def evaluate(
        self,
        data: Any = OWN_SPLIT,
        *,
        split: SplitName | None = None,
        top: Sequence[int] = (3, 5),
        batch_size: int = 32,
        output: str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """How good the model is on labelled images, as ``python -m framework.evaluate`` measures it.

        Args:
            data: a split of the run's own data: ``validation``, ``train``, ``test`` or ``all``; a folder of class
                folders, or of splits with such; a CSV file; or ``(images, labels)`` or a ``tf.data.Dataset`` as for
                ``framework.fit``, numbers of labels in the order of ``classes``.
            split: of a folder or CSV file the split that is meant.
            top: top-k accuracies to measure.
            batch_size: images at once.
            output: a folder for the tables and figures that the command writes; None writes nothing.

        Returns:
            Plain values, as ``metrics.json`` has them: ``loss``, ``accuracy`` with its 95 % ``accuracy_interval``,
            ``per_class`` with precision, recall, F1 and ROC area of each, ``most_confused``, ``calibration``; of numbers
            ``mae``, ``rmse``, ``r2`` and ``per_column``.

        Raises:
            framework.Error: the images can't be used, or an answer is no finite number.

        Examples:
            >>> import framework
            >>> run = framework.load("latest")
            >>> found = run.evaluate("validation")
            >>> abs(found["accuracy"] - run.metrics["val_accuracy"]) < 1e-6
            True
        """
        from framework.evaluation.asking import answer, measured
        from framework.evaluation.kinds import EVALUATIONS

        images = self._asked(data, split)
        load_tensorflow()
        answers, unreadable = answer(self._trained, self._model, images, batch_size)
        found = measured(self._trained, images, answers, unreadable, list(top))
        if output is not None:
            write = EVALUATIONS[self._trained.task.asks].write
            write(Path(output).expanduser(), answers, found, f"{self._trained.name}, {images.name} images")
        return found

    @speaking
    def explain(self, image: Any, label: str | None = None) -> Explanation:
        """Where in an image the evidence for a class lies.

        Args:
            image: one image, as for ``predict``.
            label: the class; None is the likeliest.

        Raises:
            framework.Error: the image can't be read, there is no such class, or the model has no feature maps.

        Examples:
            >>> import framework
            >>> run = framework.load("latest")
            >>> heat = run.explain(run.files("validation")[0]).heat
            >>> heat.ndim, str(heat.dtype), float(heat.max()) <= 1
            (2, 'float32', True)
        """
        if label is not None and label not in self.classes:
            raise BadInput(Problem(f"there is no class '{label}'", "label", suggestion(label, self.classes)))
        load_tensorflow()
        from PIL import Image

        from framework.evaluation.views import image_of
        from framework.reports.attention import overlay

        with tempfile.TemporaryDirectory(prefix="framework-") as folder:
            paths, alone = _paths(image, Path(folder))
            if not alone:
                raise BadInput(Problem("one image is explained at a time", "image", "a path, or one image"))
            pixels = image_of(paths[0], self._trained.geometry)
        cam, task = self._cam, self._trained.task
        number = self.classes.index(label) if label else task.likeliest(cam(pixels, [0])[1], 1)[0]
        heat = cam(pixels, [number])[0][0]
        return Explanation(self.classes[number], heat, Image.fromarray(overlay(pixels, heat)))

    @cached_property
    def _cam(self) -> Any:
        from framework.evaluation.attention import GradCam

        return GradCam(self._model, self._trained.task)

    @speaking
    def dataset(self, split: SplitName = OWN_SPLIT, batch_size: int = 32) -> tf.data.Dataset:
        """The images that the run was trained or validated on, once through, in their own order, unvaried.

        Args:
            split: ``train``, ``validation``, ``test`` or ``all``.
            batch_size: images a batch; the last has what is left.

        Returns:
            Batches ``(x, y)``: float32 0-255 (batch, height, width, 3), and int32 (batch,), the place in ``classes``;
            of several labels float32 (batch, classes) of 0 and 1, of numbers float32 (batch, columns).

        Raises:
            framework.Error: the data are no longer there, or have no such split.

        Examples:
            >>> import framework
            >>> run = framework.load("latest")
            >>> x, y = next(iter(run.dataset("validation", batch_size=4)))
            >>> tuple(x.shape), tuple(y.shape), run.model(x).shape[0]
            ((4, 32, 32, 3), (4,), 4)
        """
        images = self._labelled(split).split
        tensorflow = load_tensorflow()
        from framework.data import pipeline

        rows = pipeline.image_rows(images.paths, self._trained.geometry, memory_limit=0)
        labels = images.labels if images.labels.ndim == 2 else images.labels.astype("int32", copy=False)
        batches = pipeline.evaluation_dataset(rows, labels, batch_size)
        return batches.apply(tensorflow.data.experimental.assert_cardinality(pipeline.steps(len(images), batch_size)))

    @speaking
    def export(self, format: str = "keras", **options: Any) -> Path:
        """The model as a file for elsewhere, replayed against the original first, as ``python -m framework.export``.

        Args:
            format: ``keras``, ``saved_model``, ``litert`` or ``onnx``.
            options: as the command takes them: ``quantize``, ``answer``, ``calibration``, ``split``, ``images``,
                ``max_drop``, ``output``; ``data_dir`` or ``data_file`` for what is replayed.

        Returns:
            The folder of the file, ``labels.txt``, ``export.json`` and ``call.py``.

        Raises:
            framework.Error: an option or a package is missing or wrong; or accuracy falls by more than ``max_drop``, and
                nothing is published.

        Examples:
            >>> import framework
            >>> run = framework.load("latest")
            >>> sorted(file.name for file in run.export("keras").iterdir())
            ['call.py', 'export.json', 'labels.txt', 'model.keras']
        """
        from framework.cli.options import read_options
        from framework.core.schema import show
        from framework.exports.publishing import ExportOptions, publish

        given = {key.replace("data_", "data.", 1): value for key, value in {"format": format, **options}.items()}
        read = read_options(ExportOptions, [f"{key}={_text(value, show)}" for key, value in given.items()])
        return publish(self._trained, read, lambda table: None)[0]

    def __repr__(self) -> str:
        return f"Run({self._trained.name!r}{self._trained.chosen})"

    def _repr_html_(self) -> str:
        return html.of_run(self._trained, self._said, self.metrics)

    def _labelled(self, split: SplitName) -> Labelled:
        if split not in SPLITS:
            raise BadInput(Problem(f"there is no split '{split}'", "split", suggestion(split, SPLITS)))
        return labelled(self._trained, DataOptions(), split)

    def _asked(self, data: Any, split: SplitName | None) -> Labelled:
        """The labelled images that are named."""
        if isinstance(data, str) and data in SPLITS:
            return self._labelled(data)  # type: ignore[arg-type]
        if isinstance(data, str | os.PathLike):
            path = os.fspath(data)
            if Path(path).expanduser().is_file():
                return labelled(self._trained, DataOptions(file=path), split)
            return labelled(self._trained, DataOptions(dir=path), split)
        task = self._trained.task
        found = lay_down({"all": data}, task.asks, self.classes)
        read = {"separator": None, **found.columns}
        listed = read_manifest(str(found.file), "path", **read, labels=task.asks)
        images = in_order(task, listed.splits["train"], listed.classes)
        return Labelled(images, "given", str(found.file), skip=False)


def _paths(images: Any, folder: Path) -> tuple[list[str], bool]:
    """Files of these images, those in memory written to a folder; and whether it is one image alone.

    Raises:
        BadInput: there is none, or something is no image.
    """
    if isinstance(images, str | os.PathLike):
        (path,) = inputs.here([os.path.expanduser(os.fspath(images))])
        inputs.check([path])
        return list(inputs.files([path])), os.path.isfile(path)
    if _is_pillow(images):
        return [_file_of(images, folder)], True
    if hasattr(images, "__array__") or not isinstance(images, Iterable):
        array = np.asarray(images)
        one = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3))
        if not one and array.ndim != 4:
            right = "(height, width, 3), (height, width), or a batch (images, height, width, 3)"
            raise BadInput(Problem(f"an array of shape {array.shape} is no image", "images", right))
        return lay_down_images([array] if one else array, folder), one
    found: list[str] = []
    for image in images:
        # a file that is missing among others is told with those that can't be read
        named = isinstance(image, str | os.PathLike)
        found += inputs.files([os.fspath(image)]) if named else _paths(image, folder)[0]
    if not found:
        raise BadInput(Problem("no image is given", "images", "a path, an image, or several"))
    return found, False


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "getexif") and hasattr(image, "save")


def _file_of(image: Any, folder: Path) -> str:
    """The file of an image of Pillow's: its own where nothing of it was read yet, else one that holds its pixels."""
    own = getattr(image, "filename", "")
    if own and getattr(image, "fp", None) is not None and os.path.isfile(own) and not getattr(image, "is_animated", 0):
        return os.fspath(own)
    format = "PNG" if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF"
    file = folder / f"{len(list(folder.iterdir()))}.{format.lower()}"
    image.save(file, format, exif=image.getexif())
    return str(file)


def _table(rows: list[dict[str, Any]]) -> Any:
    """Rows as a table of pandas, where that is installed."""
    if find_spec("pandas") is None:
        return rows
    import pandas

    return pandas.DataFrame(rows)


def _frozen(value: Any) -> Any:
    """Containers that can't be changed, with the same contents."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(inner) for key, inner in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _text(value: Any, show: Any) -> str:
    return str(value) if isinstance(value, str | os.PathLike) else show(value)

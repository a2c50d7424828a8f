"""``call.py``: a script beside an exported model that shows how it is called, and calls it. It needs no framework."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framework.core.backend import hushed
from framework.core.errors import RunFailed
from framework.core.geometry import Geometry
from framework.data.upright import bilinear, fitted, opened, orientation, rgb, upright, whole
from framework.exports.answering import Answer
from framework.exports.decoding import LIMITS
from framework.exports.formats import Format, Quantize

OWN = "framework"
RULE = (upright, opened, whole, orientation, rgb, fitted, bilinear)

_HEAD = '''"""Says what images show: python call.py IMAGE ...

Needs: pip install {needs}
{note}"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
{imports}
HERE = Path(__file__).parent
SIZE, RESIZE, FILL, CHANNELS = {size}, "{resize}", {fill}, {channels}
CLASSES = [
{classes}]


def pixels(path):
    """0-255, uint8 (height, width, channels): what the classifier was trained on, for the model does all the rest."""
    return fitted(upright(path, SIZE, RESIZE), SIZE, RESIZE, FILL, CHANNELS)


{rule}
'''

_TAIL = """

if __name__ == "__main__":
    for path in sys.argv[1:]:
        row = answer(pixels(path))
        best = {order}
        print(path, *(f"{{{label}}} {{row[place]:.4f}}" for place in best), sep="  ")
"""

_BODIES: dict[Format, tuple[str, str, str]] = {
    "keras": (
        "tensorflow keras pillow",
        "import keras\n",
        '''
MODEL = keras.saving.load_model(HERE / "model.keras", compile=False)


def answer(image):
    """{answer} of an image, float32 ({columns},)."""
    return MODEL.predict_on_batch(image[None].astype("float32"))[0]
''',
    ),
    "saved_model": (
        "tensorflow pillow",
        "import tensorflow as tf\n",
        '''
MODEL = tf.saved_model.load(str(HERE / "saved_model"))


def answer(image):
    """{answer} of an image, float32 ({columns},)."""
    image = tf.constant(image[None], tf.float32)
    return MODEL.signatures["serving_default"](image=image)["{answer}"].numpy()[0]


def answer_to_bytes(data):
    """The same for the bytes of a file, decoded by TensorFlow.

    {limits}.
    """
    return MODEL.signatures["from_bytes"](image_bytes=tf.constant([data]))["{answer}"].numpy()[0]
''',
    ),
    "litert": (
        "ai-edge-litert pillow",
        "from ai_edge_litert.interpreter import Interpreter\n",
        '''
MODEL = Interpreter(model_path=str(HERE / "model.tflite"))
MODEL.allocate_tensors()
INTO, OUT = MODEL.get_input_details()[0], MODEL.get_output_details()[0]


def answer(image):
    """{answer} of an image, float32 ({columns},)."""
    MODEL.set_tensor(INTO["index"], image[None].astype(INTO["dtype"]))
    MODEL.invoke()
    scale, zero = OUT["quantization"]
    row = MODEL.get_tensor(OUT["index"])[0].astype(np.float32)
    return (row - zero) * scale if scale else row
''',
    ),
    "onnx": (
        "onnxruntime pillow",
        "import onnxruntime\n",
        '''
MODEL = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])


def answer(image):
    """{answer} of an image, float32 ({columns},)."""
    return MODEL.run(None, {{MODEL.get_inputs()[0].name: image[None].astype(np.float32)}})[0][0]
''',
    ),
}

_OWN_LAYERS = "import framework.parts.layers  # noqa: F401 - the model holds layers of this project\n"
_RECIPE = """from framework.config.folders import groups
from framework.config.recipe_parts import load_classes
from framework.config.recipes import bring

# the model holds layers of this recipe: run where it is found, or name its folder's parent in FRAMEWORK_RECIPES
load_classes(bring(["{recipe}"], groups()).recipes)
"""


def script(
    format: Format,
    model: Path,
    geometry: Geometry,
    classes: Sequence[str],
    columns: int,
    answer: Answer,
    quantize: Quantize,
    recipe: str | None,
) -> str:
    """The text of ``call.py``.

    Args:
        format: of the model.
        model: the written file.
        geometry: of its images.
        classes: their names.
        columns: how many numbers it answers.
        answer: what they are.
        quantize: how it was made smaller.
        recipe: the recipe that the run was trained with, named if the file holds a layer of its own.
    """
    needs, imports, body = _BODIES[format]
    note = "" if quantize == "none" else f"\nThe model is quantised ({quantize}).\n"
    packages = packages_in(model) if format == "keras" else set()
    if packages:
        needs += " and this project, framework"
        imports += _OWN_LAYERS
    if packages - {OWN} and recipe:
        imports += _RECIPE.format(recipe=recipe)
    label = "CLASSES[place]" if columns == len(classes) else "CLASSES[-1]"
    filled = body.format(answer=answer, columns=columns, limits=textwrap.fill(LIMITS, 112, subsequent_indent="    "))
    rule = "\n\n".join(inspect.getsource(each) for each in RULE)
    order = "range(len(row))" if answer == "numbers" else "np.argsort(-row)[:3]"
    names = "".join(f"    {name!r},\n" for name in classes)
    how = {**vars(geometry), "size": tuple(geometry.size)}
    head = _HEAD.format(needs=needs, note=note, imports=imports, **how, classes=names, rule=rule)
    return head + filled + _TAIL.format(label=label, order=order)


def load(path: Path) -> dict[str, Any]:
    """Run a written ``call.py`` as who imports it does; the names that it defines, such as ``pixels`` and ``answer``.

    Raises:
        RunFailed: it can't be run: the runtime does not take the file beside it.
    """
    try:
        with hushed():
            return runpy.run_path(str(path))
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise RunFailed(f"the file that was written can't be run: {reason[0][:200]}") from error


def packages_in(model: Path) -> set[str]:
    """The packages, Keras's apart, whose classes a ``.keras`` file needs to be loaded."""
    with zipfile.ZipFile(model) as file:
        config = json.dumps(json.loads(file.read("config.json")))
    return set(re.findall(r'"registered_name": "([^">]+)>', config)) - {"keras"}

"""A small trained-looking run on images of three colours: it answers by the mean colour, so it is always right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from framework.core.backend import keras
from framework.core.runs import RunFolder
from framework.evaluation import temperature
from framework.evaluation.asking import answer
from framework.evaluation.labelled import DataOptions, labelled
from framework.model.saved import open_run
from framework.runs.answers import write as write_answers

CLASSES = ("blue", "green", "red")
CONF = Path(__file__).parents[2] / "conf"
SIZE = 24


def colour_network(units: int = 3, wrong: bool = False) -> keras.Model:
    """Logits blue, green and red from the mean of each channel; ``wrong`` takes red for green."""
    images = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 16, name="preprocess_rescale")(images)
    x = keras.layers.Conv2D(3, 3, padding="same", use_bias=False, name="conv", trainable=False)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    model = keras.Model(images, keras.layers.Dense(units, name="logits")(x))
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.eye(3)
    model.get_layer("conv").set_weights([kernel])
    order = np.eye(3, dtype=np.float32)[:, ::-1].copy()
    if wrong:
        order[0] = order[1]
    if units == 1:
        order = np.array([[1], [-0.5], [-0.5]], np.float32)
    model.get_layer("logits").set_weights([order[:, :units], np.zeros(units, np.float32)])
    return model


def weighed(weights) -> keras.Model:
    """The same with this matrix from the means of red, green and blue to logits, tenfold less sure."""
    model = colour_network()
    model.get_layer("logits").set_weights([np.asarray(weights, np.float32) / 10, np.zeros(3, np.float32)])
    return model


def answered(path: Path) -> Path:
    """A run with what the end of a training leaves: how good it is, its answers, its logits, its temperature."""
    trained, run = open_run(str(path)), RunFolder(path)
    images = labelled(trained, DataOptions(), None)
    found, _ = answer(trained, trained.load(), images, 32)
    write_answers(run, found, images.origin)
    score = {"val_accuracy": float(found.right.mean()), "val_loss": trained.task.surprise(found.logits, found.labels)}
    best = {"epoch": 1, "stage": "main", "monitor": "val_accuracy", "metrics": score}
    calibration = temperature.record(trained.task, found.logits, found.labels)
    data = {"origin": images.origin, "fingerprint": "abc", "images": {"validation": len(images.split)}}
    run.write_run({**run.read_run(), "best": best, "calibration": calibration, "data": data})
    return path


def make_run(path: Path, photos: Path, model: keras.Model | None = None, task: str = "multiclass", **data) -> Path:
    """A finished run with this model on a folder of photos."""
    run = RunFolder(path)
    positive = data.get("positive")
    classes = [f"not {positive}", positive] if positive else list(CLASSES)
    run.write_run({"status": "finished", "started": "2026-01-01", "classes": classes, "task": task})
    common = {key: None for key in ("classes", "positive", "limit", "class_weights")}
    source = {"name": "image_folder", "dir": str(photos), "validation": 0.25, "test": 0.0}
    fixed = {"image_size": SIZE, "seed": 1, "memory_limit": 10, "on_error": "stop"}
    config = {
        "data": {**common, **fixed, **source, **data},
        "loss": yaml.safe_load((CONF / "loss/auto.yaml").read_text()),
    }
    run.config.write_text(yaml.safe_dump(config))
    (model or colour_network()).save(run.model)
    return path

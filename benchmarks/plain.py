"""The plain side of every comparison: what a course participant writes with Keras alone, as a process of its own.

    python -m benchmarks.plain --data PHOTOS --base mobilenet --weights FILE --reader dataset --rates 0.01,0.001

Prints one line of JSON: seconds of each epoch and the best validation accuracy, for each rate.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras.src.legacy.preprocessing.image import ImageDataGenerator

BATCH = 32


def read(folder: str, side: int, reader: str, vary: bool):
    """Training and validation images, by ``image_dataset_from_directory`` or by ``ImageDataGenerator``."""
    if reader == "generator":
        varied = {"shear_range": 10, "zoom_range": 0.1, "horizontal_flip": True} if vary else {}
        return tuple(
            ImageDataGenerator(**(varied if split == "train" else {})).flow_from_directory(
                f"{folder}/{split}", target_size=(side, side), batch_size=BATCH, shuffle=split == "train", seed=1
            )
            for split in ("train", "validation")
        )
    return tuple(
        keras.utils.image_dataset_from_directory(
            f"{folder}/{split}",
            label_mode="categorical",
            image_size=(side, side),
            batch_size=BATCH,
            shuffle=split == "train",
            seed=1,
            verbose=False,
        )
        for split in ("train", "validation")
    )


def build(base: str, weights: str | None, side: int, classes: int, train: str, vary: bool) -> keras.Model:
    """Base, average pooling and ten logits; ``train`` is head, all, or the name of the first layer that trains.

    With ``vary`` layers of Keras's flip, zoom and shear the images first.
    """
    shape = (side, side, 3)
    if base == "mobilenet":
        network = keras.applications.MobileNet(input_shape=shape, alpha=0.25, include_top=False, weights=weights)
    else:
        network = keras.applications.Xception(input_shape=shape, include_top=False, weights=weights)
    network.trainable = train != "head"
    if train not in ("head", "all"):
        names = [layer.name for layer in network.layers]
        for layer in network.layers[: names.index(train)]:
            layer.trainable = False
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    inputs = x = keras.Input(shape)
    if vary:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomZoom(0.1)(x)
        x = keras.layers.RandomShear(0.18, 0.0)(x)  # up to 10 degrees
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = network(x, training=train == "all")
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


class Epochs(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_train_begin(self, logs=None):
        """Begin."""
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start the watch."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    """Train once for each rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--base", choices=["mobilenet", "xception"], required=True)
    parser.add_argument("--weights")
    parser.add_argument("--side", type=int)
    parser.add_argument("--reader", choices=["dataset", "generator"], default="dataset")
    parser.add_argument("--rates", default="0.01,0.001,0.0001")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train", default="head")
    parser.add_argument("--vary", action="store_true", help="flip, zoom and shear training images, as the course does")
    options = parser.parse_args()
    side = options.side or {"mobilenet": 224, "xception": 150}[options.base]
    runs = []
    for rate in options.rates.split(","):
        keras.utils.set_random_seed(1)
        train, validation = read(options.data, side, options.reader, options.vary)
        vary = options.vary and options.reader == "dataset"
        model = build(options.base, options.weights, side, 10, options.train, vary)
        model.compile(
            optimizer=keras.optimizers.Adam(float(rate)),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        epochs = Epochs()
        history = model.fit(train, epochs=options.epochs, validation_data=validation, verbose=0, callbacks=[epochs])
        best = max(history.history["val_accuracy"])
        runs.append({"rate": rate, "seconds": epochs.seconds, "best": best, "history": history.history["val_accuracy"]})
    print(json.dumps(runs))


if __name__ == "__main__":
    main()

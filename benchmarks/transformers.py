"""Vision transformers of random weights on the real photos against plain Keras and Keras Hub, in one run.

    python -m benchmarks.transformers                                   ViT-Tiny/16, 224 px
    python -m benchmarks.transformers --base dinov2_small
    python -m benchmarks.transformers --images 200 --epochs 4 --repeat 1    a first look

Two epochs of plain Keras are timed and multiplied. Whole processes with imports count, but for the feature pass, which
is held against the bare forward pass on decoded images.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Timed, data_folder, needs, report, run

SIDE, BATCH, RATES = 224, 32, "0.01,0.001,0.0001"
BASES = {
    "vit_tiny": ["model=vit_tiny", "model.trainable=false"],
    "dinov2_small": ["model=dinov2_small", "model.weights=null"],
}


def main() -> None:
    """Time both sides and print the ratios."""
    needs("keras_hub")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--base", choices=sorted(BASES), default="vit_tiny")
    parser.add_argument("--images", type=int, help="so many to train on; all without")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plain", choices=["head", "last"], help=argparse.SUPPRESS)
    parser.add_argument("--passes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        return _plain(options)
    if options.passes:
        return _passes(options)
    with tempfile.TemporaryDirectory() as folder:
        data = _some(data_folder(options.data), options.images, Path(folder, "photos"))
        photos = len(list(data.glob("train/*/*")))
        given = ["--data", str(data), "--base", options.base, "--repeat", str(options.repeat)]
        rows = [
            _against(
                f"three rates, {options.epochs} epochs each, empty cache", given, "head", 3, options, data, folder
            ),
            _against(f"last two blocks, {options.epochs} epochs, empty cache", given, "last", 1, options, data, folder),
        ]
        passes = json.loads(run("benchmarks.transformers", "--passes", *given).output.splitlines()[-1])
    rows.append(["feature pass, images a second", f"{passes['bare']:.1f}", f"{passes['float32']:.1f}", ""])
    rows[-1][3] = f"{passes['float32'] / passes['bare']:.2f} of bare"
    rows.append(["the same in bfloat16", f"{passes['float32']:.1f}", f"{passes['bfloat16']:.1f}", ""])
    rows[-1][3] = f"{passes['bfloat16'] / passes['float32']:.2f} × float32"
    what = f"{options.base} of random weights, {SIDE} px, {photos} photos"
    report(what, ["", "plain Keras, bare or float32", "ours", ""], rows)


def _some(data: Path, images: int | None, folder: Path) -> Path:
    """The photos, or a folder of links to some of them, as many of each class, a tenth as many for validation."""
    if images is None:
        return data
    for split, count in (("train", images), ("validation", max(10, images // 10))):
        classes = sorted(data.glob(f"{split}/*/"))
        for of_class in classes:
            (folder / split / of_class.name).mkdir(parents=True)
            for file in sorted(of_class.iterdir())[: max(1, count // len(classes))]:
                (folder / split / of_class.name / file.name).symlink_to(file.resolve())
    return folder


def _against(
    what: str, given: list[str], train: str, rates: int, options: argparse.Namespace, data: Path, folder: str
) -> list[str]:
    """A row: seconds of both sides, and how many times faster ours is."""
    timed = run("benchmarks.transformers", "--plain", train, *given)
    first, later = json.loads(timed.output.splitlines()[-1])
    plain = timed.seconds - first - later + rates * (first + (options.epochs - 1) * later)
    ours = _ours(options, data, train, Path(folder, f"cache_{train}"), Path(folder, f"runs_{train}")).seconds
    return [what, f"{plain:.1f} s", f"{ours:.1f} s", f"{plain / ours:.1f} × faster"]


def _ours(options: argparse.Namespace, data: Path, train: str, cache: Path, folder: Path) -> Timed:
    words = [*BASES[options.base], f"model.image_size={SIDE}", "data=image_folder", f"data.dir={data}"]
    words += [f"trainer.epochs={options.epochs}", "callbacks=[stop_on_nan]"]
    if train == "head":
        return run("framework.train", "-m", *words, f"optim.lr={RATES}", f"hydra.sweep.dir={folder}", cache=cache)
    return run("framework.train", *words, "stages.main.train=last:2", f"hydra.run.dir={folder}", cache=cache)


def _plain(options: argparse.Namespace) -> None:
    """What one writes with Keras and Keras Hub: prints the seconds of two epochs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import keras_hub

    kinds = {
        "vit_tiny": lambda: keras_hub.models.ViTBackbone(
            (SIDE, SIDE, 3), patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
        ),
        "dinov2_small": lambda: keras_hub.models.DINOV2Backbone(
            14, 12, 384, 6, 1536, image_shape=(SIDE, SIDE, 3), position_embedding_shape=(SIDE, SIDE, 3)
        ),
    }
    base = kinds[options.base]()
    base.trainable = options.plain == "last"
    if options.plain == "last":
        for layer in base.layers:
            layer.trainable = "encoder" in layer.name
        encoder = next(layer for layer in base.layers if "encoder" in layer.name)
        for block in (encoder.encoder_layers if options.base == "vit_tiny" else encoder.layers)[:-2]:
            block.trainable = False
    images = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    tokens = base(x if options.base == "vit_tiny" else {"images": x})
    train, validation = (
        keras.utils.image_dataset_from_directory(
            f"{options.data}/{split}",
            label_mode="categorical",
            image_size=(SIDE, SIDE),
            batch_size=BATCH,
            verbose=False,
        )
        for split in ("train", "validation")
    )
    model = keras.Model(images, keras.layers.Dense(len(train.class_names))(tokens[:, 0]))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        model.fit(train, validation_data=validation, verbose=0)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


def _passes(options: argparse.Namespace) -> None:
    """Prints images a second of the bare forward pass, and of the feature pass in both precisions; the best of each."""
    from framework.core.backend import load_tensorflow, tf

    load_tensorflow()
    from framework.cli.command import check
    from framework.config.settings import CacheSettings
    from framework.core.task import Multiclass
    from framework.data import fingerprint
    from framework.data.rows import FileImages, decode_all
    from framework.features.compute import features
    from framework.features.graph import frozen_prefix, split
    from framework.model.build import build
    from framework.training.stages import stage_of

    words = [*BASES[options.base], f"model.image_size={SIDE}", "data=image_folder", f"data.dir={options.data}"]
    (settings,) = check(words, lambda _: [])
    network = build(settings, Multiclass(("a", "b")))
    stage = stage_of("main", settings.stages["main"], settings, network)
    prefix, _ = split(network.flat, frozen_prefix(network.flat, stage.trained, stage.inference), stage.inference)
    assert prefix is not None
    paths = [str(path) for path in sorted(Path(options.data).glob("train/*/*"))]
    keys, geometry = fingerprint.contents(paths), settings.data.geometry
    images = decode_all(FileImages(paths, geometry))
    forward = tf.function(lambda batch: prefix(tf.cast(batch, tf.float32), training=False))

    def bare() -> None:
        for start in range(0, len(images), 64):
            forward(tf.constant(images[start : start + 64]))

    def kept(precision: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = CacheSettings(use="auto", dir=folder, dtype="float32", size_limit=20, compute="local")
            features(prefix, paths, keys, geometry=geometry, cache=cache, precision=precision, about={})

    bare()
    sides = {"bare": bare, "float32": lambda: kept("float32"), "bfloat16": lambda: kept("bfloat16")}
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(options.repeat):
        for name, work in sides.items():
            started = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - started)
    print(json.dumps({name: len(paths) / seconds for name, seconds in best.items()}))


if __name__ == "__main__":
    main()

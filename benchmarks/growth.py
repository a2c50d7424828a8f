"""How cost grows with images, with rows of shards and with runs: seconds and memory of each step, and the power of growth.

    python -m benchmarks.growth
    python -m benchmarks.growth --images 1000,10000,100000,1000000 --runs 10,100,1000
    python -m benchmarks.growth --images "" --runs "" --shards 100000,1000000,10000000

Each step runs in a process of its own, on what is made for it: images of 16 px in ten class folders, links to one file
for each thousand; features of 64 numbers; copies of one run's folder. Above ``--read`` images no file is read: what a
look at it would have found is noted beforehand. Power is that of the last two sizes, where n log n has 1.06 to 1.09;
what takes less than a tenth of a second says nothing of it. Bytes are those that each more takes, between the last two sizes.

Rows of shards are made rows of Parquet files of 100,000, without pixels: a few bytes that no step decodes, ten classes; of
features four numbers and a path each; of TFRecord files 300 bytes, a label and a name of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.measure import report, run

CLASSES, SIDE, LINKS, NUMBERS = 10, 16, 1000, 64
ROWS, FEW = 100_000, 4  # rows of a shard, and numbers of a row of features
IMAGE, LABEL = "image/encoded", "image/class/label"
LEAST = 0.1  # seconds that say something
NOISE = 0.15  # of the power

Prepared = Callable[[], object]


def listing(size: int, folder: Path) -> Prepared:
    """List class folders and draw the split."""
    return lambda: _images(folder)


def first_look(size: int, folder: Path) -> Prepared:
    """Read each file and see whether it is a sound image."""
    from framework.data.decode import look

    paths = _paths(folder)
    return lambda: look(paths)


def checking(size: int, folder: Path) -> Prepared:
    """List, and see that no file has changed since it was looked at: what each command does first."""
    from framework.data.selection import readable

    return lambda: readable(_images(folder), "stop")


def fingerprint(size: int, folder: Path) -> Prepared:
    """The digest of data that were looked at before."""
    from framework.data.fingerprint import dataset

    images = _images(folder)
    return lambda: dataset(images)


def cache_look_up(size: int, folder: Path) -> Prepared:
    """Find the features of all images."""
    store, keys = _features(size, folder)

    def find() -> None:
        store.open({})
        store.refresh()
        assert not store.missing(keys)
        store.finder(keys)

    return find


def epoch(size: int, folder: Path) -> Prepared:
    """Train a head for an epoch on kept features."""
    from framework.core.backend import keras, load_tensorflow
    from framework.data.pipeline import steps, training_dataset
    from framework.features.rows import FeatureRows
    from framework.training.loop import StepLoop

    load_tensorflow()
    store, keys = _features(size, folder)
    store.open({})
    store.refresh()
    model = keras.Sequential([keras.Input((NUMBERS,)), keras.layers.Dense(CLASSES)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), steps_per_execution=128)
    count = steps(size, 32)
    model.train_function = StepLoop(model, model.train_step, count, 128)
    batches = training_dataset(FeatureRows(store, keys, 0, 0.0), np.arange(size) % CLASSES, batch_size=32, seed=1)
    iterator = iter(batches)

    def train() -> None:
        for _ in range(0, count, 128):
            model.train_function(iterator)

    train()  # what is traced once is no part of it
    return train


def comparing(size: int, folder: Path) -> Prepared:
    """Compare the runs of a sweep."""
    from framework.reports.comparison import compare

    return lambda: compare(folder).ties


def reporting(size: int, folder: Path) -> Prepared:
    """Write table, figure and page of a sweep."""
    from framework.reports.comparison import compare
    from framework.reports.files import write

    comparison = compare(folder)
    return lambda: write(comparison, folder)


def listing_shards(size: int, folder: Path) -> Prepared:
    """List shards and draw the split."""
    return lambda: _shards(folder)


def checking_shards(size: int, folder: Path) -> Prepared:
    """List, and see that no shard has changed since its images were looked at."""
    from framework.data.selection import readable

    return lambda: readable(_shards(folder), "stop")


def fingerprint_of_shards(size: int, folder: Path) -> Prepared:
    """Hash the shards, and make the digest of the data."""
    from framework.data.fingerprint import dataset

    images = _shards(folder)
    return lambda: dataset(images)


def look_up_of_shards(size: int, folder: Path) -> Prepared:
    """Find the features of all images in the order of their splits, a batch at a time as a training does."""
    from framework.data.fingerprint import keys

    store, found = _kept_of_shards(folder), keys(_paths_of(_shards(folder)))

    def find() -> None:
        store.open({})
        store.refresh()
        assert not len(store.absent(found))
        places, step = store.finder(found), 1024
        for start in range(0, size, step):
            places(np.arange(start, min(start + step, size)))

    return find


def listing_records(size: int, folder: Path) -> Prepared:
    """List TFRecord files and draw the split."""
    return lambda: _read_all("tfrecord", folder / "records", image_key=IMAGE, label_key=LABEL, text_key="none")


def decoding_anew(size: int, folder: Path) -> Prepared:
    """See how each image of shards is to be read where all are decoded anew in each epoch."""
    from framework.core.backend import load_tensorflow
    from framework.core.geometry import Geometry
    from framework.data.rows import FileImages

    load_tensorflow()
    paths = _paths_of(_shards(folder))
    return lambda: FileImages(paths, Geometry((SIDE, SIDE)))


def listing_features(size: int, folder: Path) -> Prepared:
    """List rows of features, and make their keys."""
    from framework.data.embedded import list_embedded

    def work() -> None:
        images = list_embedded(str(folder / "features"), "classes", 0.0, 0.0)
        assert images.features is not None
        assert len(images.features.keys(_paths_of(images))) == size

    return work


OF_IMAGES: Mapping[str, Callable[[int, Path], Prepared]] = {
    "listing": listing,
    "first look": first_look,
    "listing and checking": checking,
    "fingerprint": fingerprint,
    "cache look-up": cache_look_up,
    "epoch on features": epoch,
}
OF_SHARDS: Mapping[str, Callable[[int, Path], Prepared]] = {
    "listing": listing_shards,
    "listing and checking": checking_shards,
    "hashing, fingerprint": fingerprint_of_shards,
    "cache look-up": look_up_of_shards,
    "decoding anew": decoding_anew,
    "listing TFRecord": listing_records,
    "listing features": listing_features,
}
OF_RUNS = {"compare": comparing, "report": reporting}


def main(arguments: Sequence[str] | None = None) -> None:
    """Do all steps at all sizes and print a row for each step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=_sizes, default=[1000, 10_000, 100_000])
    parser.add_argument("--shards", type=_sizes, default=[100_000, 1_000_000])
    parser.add_argument("--runs", type=_sizes, default=[10, 100, 1000])
    parser.add_argument("--read", type=int, default=100_000, help="most images of which each is read")
    parser.add_argument("--step", help="do one step at one size, in this process")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    if options.step:
        print(json.dumps(measured(options.step, (options.images or options.shards)[0], options.folder)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if options.images:
            found = _of_images(options.images, options.read, Path(folder))
            rows += [_row(name, "images", found[name]) for name in OF_IMAGES]
        if options.shards:
            found = _of_shards(options.shards, Path(folder))
            rows += [_row(name, "rows", found[name]) for name in OF_SHARDS]
        if options.runs:
            found = _of_runs(options.runs, Path(folder))
            rows += [_row(name, "runs", found[name]) for name in OF_RUNS]
    report("how cost grows", ["step", "of", "seconds", "MiB", "power", "bytes"], rows)


def measured(step: str, size: int, folder: Path) -> dict[str, float]:
    """Seconds of one step, and MiB that its process held at most, imports and preparation among them."""
    work = {**OF_IMAGES, **{f"shards {name}": one for name, one in OF_SHARDS.items()}, **OF_RUNS}[step](size, folder)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"size": size, "seconds": seconds, "memory": _most_memory()}


def _most_memory() -> float:
    """MiB that this process held at most; what Linux counts as such begins with those of the process that started it."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def power(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The power of n that seconds grow with between the last two sizes; None where they say nothing."""
    if len(sizes) < 2 or seconds[-1] < LEAST:
        return None
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def most(sizes: Sequence[float]) -> float:
    """The power of n log n between the last two sizes, and what noise may add to it."""
    first, last = sizes[-2:]
    return 1 + math.log(math.log(last) / math.log(first)) / math.log(last / first) + NOISE


def make_images(folder: Path, size: int) -> None:
    """So many JPEGs in class folders, a file and links to it for each thousand, older than any memory of them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class_{label}").mkdir(parents=True)
    for start in range(0, size, LINKS):
        first = folder / f"class_{start // LINKS % CLASSES}" / f"{start:07d}.jpg"
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(first)
        os.utime(first, (10**9, 10**9))
        for number in range(start + 1, min(start + LINKS, size)):
            os.link(first, folder / f"class_{number % CLASSES}" / f"{number:07d}.jpg")


def make_features(folder: Path, size: int) -> None:
    """What is kept of so many images, beside their folder."""
    store, keys = _features(size, folder)
    rng, step = np.random.default_rng(0), 4096
    store.open({})
    with store.writing():
        some = (keys[start : start + step] for start in range(0, size, step))
        store.add((names, rng.random((len(names), NUMBERS), np.float32).view(np.uint8)) for names in some)
    store.close()


def make_shards(folder: Path, size: int) -> None:
    """So many rows of images and of features, a file for each 100,000, looked at and kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from framework.data import decode
    from framework.data.embedded import MADE
    from framework.data.fingerprint import keys

    made = {
        "model": {"name": "made"},
        "pooling": {"name": "made"},
        "geometry": {},
        "cut": [],
        "weights": "",
        "words": [],
    }
    names = [f"class_{label}" for label in range(CLASSES)]
    for start in range(0, size, ROWS):
        numbers = np.arange(start, min(start + ROWS, size))
        columns = {"image": [b"made"] * len(numbers), "label": numbers % CLASSES, "number": numbers}
        _write_table(pq, pa.table(columns), folder / "images" / f"{start:09d}.parquet")
        values = np.random.default_rng(start).random((len(numbers), FEW), np.float32)
        columns = {
            "path": [f"/made/{start:09d}.tar/{number:09d}.jpg" for number in numbers],
            "split": ["validation" if number % 10 == 9 else "train" for number in numbers],
            "label": [names[number % CLASSES] for number in numbers],
            "features": pa.FixedSizeListArray.from_arrays(values.reshape(-1), FEW),
        }
        table = pa.table(columns).replace_schema_metadata({MADE: json.dumps({**made, "classes": names})})
        _write_table(pq, table, folder / "features" / f"{start:09d}.parquet")
        _write_records(folder / "records" / f"{start:09d}.tfrecord", numbers)
    paths = _paths_of(_shards(folder))
    with mock.patch.object(decode, "_first_look", new=_sound):
        decode.look(paths)
    store, found, step = _kept_of_shards(folder), keys(paths), 4096
    store.open({})
    store.refresh()
    with store.writing():
        absent = store.absent(found)
        some = (found[absent[start : start + step]] for start in range(0, len(absent), step))
        store.add((rows, np.zeros((len(rows), 4 * FEW), np.uint8)) for rows in some)
    store.close()


def _sound(path: str, hashes: object) -> str:
    return ""


def _write_records(file: Path, numbers: np.ndarray) -> None:
    from framework.core.backend import tf

    def of(**values: Any) -> Any:
        return tf.train.Feature(**values)

    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for number in numbers.tolist():
            made = {
                IMAGE: of(bytes_list=tf.train.BytesList(value=[b"made" * 75])),
                LABEL: of(int64_list=tf.train.Int64List(value=[number % CLASSES])),
                "image/filename": of(bytes_list=tf.train.BytesList(value=[b"%09d.jpg" % number])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString())
    os.utime(file, (10**9, 10**9))


def _write_table(pq: Any, table: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=4096)
    os.utime(file, (10**9, 10**9))  # older than any memory of it


def make_runs(folder: Path, size: int, one: Path) -> None:
    """A sweep's folder of so many copies of a run, each with a learning rate and a score of its own."""
    import yaml

    from framework.core.runs import RunFolder
    from framework.sweeps.folder import IndexedRun, write_index

    run, config = RunFolder(one).read_run(), RunFolder(one).read_config()
    names = ("history.csv", "answers.csv", "confusion.csv")
    index = []
    for number in range(size):
        copy, rate = RunFolder(folder / f"lr_{number:05d}"), 1e-5 * (1 + number)
        copy.path.mkdir(parents=True)
        for name in names:
            if (one / name).is_file():
                shutil.copyfile(one / name, copy.path / name)
        config["optim"]["lr"], run["overrides"] = rate, [f"optim.lr={rate}"]
        copy.config.write_text(yaml.dump(config, Dumper=getattr(yaml, "CDumper", yaml.Dumper)))
        copy.write_run(run)
        index.append(IndexedRun(copy.path.name, run["overrides"], "finished"))
    write_index(folder, {"name": "growth", "varied": ["optim.lr"]}, index)


def _of_images(sizes: Sequence[int], read: int, folder: Path) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in OF_IMAGES}
    for size in sizes:
        photos = folder / "photos"
        make_images(photos, size)
        make_features(photos, size)
        for name in OF_IMAGES:
            if name == "first look" and size > read:
                note_looks(photos, folder)
            else:
                found[name].append(_in_process(name, size, photos, folder))
        for done in (photos, folder / "framework", folder / "features"):
            shutil.rmtree(done, ignore_errors=True)
    return found


def _of_shards(sizes: Sequence[int], folder: Path) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in OF_SHARDS}
    for size in sizes:
        made = folder / "shards"
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder)):
            make_shards(made, size)
        for name in OF_SHARDS:
            if "hashing" in name:  # as if nobody had hashed them
                for memory in (folder / "framework" / "files").glob("shards-*.json"):
                    memory.unlink()
            words = ("--images", "", "--shards", str(size), "--folder", str(made))
            done = run("benchmarks.growth", "--step", f"shards {name}", *words, cache=folder)
            found[name].append(json.loads(done.output.splitlines()[-1]))
        for done_with in (made, folder / "framework"):
            shutil.rmtree(done_with)
    return found


def _of_runs(sizes: Sequence[int], folder: Path) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in OF_RUNS}
    one = folder / "one"
    run("framework.train", "trainer.epochs=3", "data.limit=200", f"hydra.run.dir={one}", cache=folder)
    for size in sizes:
        sweep = folder / "sweep"
        make_runs(sweep, size, one)
        for name in OF_RUNS:
            found[name].append(_in_process(name, size, sweep, folder))
        shutil.rmtree(sweep)
    return found


def _in_process(step: str, size: int, made: Path, cache: Path) -> dict[str, float]:
    done = run("benchmarks.growth", "--step", step, "--images", str(size), "--folder", str(made), cache=cache)
    return json.loads(done.output.splitlines()[-1])


def note_looks(photos: Path, cache: Path) -> None:
    """Have it remembered of each file that it is sound, and of which contents, as if it had been read."""
    from framework.data import decode

    def sound(path: str, hashes: dict[str, str]) -> str:
        hashes[path] = f"{os.stat(path).st_ino:032x}"
        return ""

    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(cache)), mock.patch.object(decode, "_first_look", sound):
        decode.look(_paths(photos))


def _row(name: str, of: str, found: Sequence[Mapping[str, float]]) -> list[str]:
    """A step's seconds and memory by size, and its power, marked where it is more than that of n log n."""
    sizes, seconds = ([one[key] for one in found] for key in ("size", "seconds"))
    grows = power(sizes, seconds)
    said = "-" if grows is None else f"{grows:.2f}" + " !" * (grows > most(sizes))
    by_size = (f"{int(one['size']):,}: {one['seconds']:.2f}" for one in found)
    more = "-"
    if len(found) > 1:
        more = f"{(found[-1]['memory'] - found[-2]['memory']) * 2**20 / (sizes[-1] - sizes[-2]):.0f}"
    return [name, of, "  ".join(by_size), "  ".join(f"{one['memory']:.0f}" for one in found), said, more]


def _images(folder: Path) -> Any:
    import framework.parts  # noqa: F401 - registers the sources
    from framework.data.sources import read_all

    return read_all("image_folder", 1, dir=str(folder), validation=0.2, test=0.0)


def _shards(folder: Path) -> Any:
    return _read_all("parquet", folder / "images", image_column=None, label_column=None)


def _read_all(source: str, files: Path, **keys: Any) -> Any:
    import framework.parts  # noqa: F401 - registers the sources
    from framework.data.sources import read_all

    return read_all(source, 1, files=str(files), names=None, validation=0.1, test=0.0, **keys)


def _paths_of(images: Any) -> Any:
    from framework.data.columns import joined

    return joined([split.paths for split in images.splits.values()])


def _kept_of_shards(folder: Path) -> Any:
    from framework.features.shards import Layout
    from framework.features.store import Store

    return Store(folder / "kept", {"made": "of shards"}, Layout(((FEW,),), "float32"), by_shard=True)


def _paths(folder: Path) -> list[str]:
    return [path for split in _images(folder).splits.values() for path in split.paths]


def _features(size: int, folder: Path) -> tuple[Any, list[str]]:
    """The store of so many images' features, and their keys."""
    from framework.features.shards import Layout
    from framework.features.store import Store

    keys = [f"{number:032x}" for number in range(size)]
    return Store(folder.parent / "features", {"made for": size}, Layout(((NUMBERS,),), "float32")), keys


def _sizes(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


if __name__ == "__main__":
    main()

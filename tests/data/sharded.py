"""Data sets in shards and tables, made for tests of the images of a folder with train and validation folders."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from framework.data.tfrecord import _masked
from tests.data.archived import write_archive

CLASSES = ("blue", "green", "red")


def samples(photos: Path, split: str) -> list[tuple[str, bytes, str]]:
    """Name, bytes and class of each image of a split."""
    files = sorted((photos / split).rglob("*.jpg"))
    return [(file.stem, file.read_bytes(), file.parent.name) for file in files]


def parquet(photos: Path, folder: Path, numbers: bool = True, split: str = "train", **columns: list) -> Path:
    """A file of a split as the hub's library writes it, three row groups of images; labels are numbers with names."""
    rows = samples(photos, split)
    image = [{"bytes": data, "path": f"{name}.jpg"} for name, data, _ in rows]
    label = [CLASSES.index(one) if numbers else one for _, _, one in rows]
    kind = {"names": list(CLASSES), "_type": "ClassLabel"} if numbers else {"dtype": "string", "_type": "Value"}
    said = {"info": {"features": {"image": {"_type": "Image"}, "label": kind}}}
    table = pa.table({"image": image, "label": label, **columns})
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{split}-00000-of-00001.parquet"
    table = table.replace_schema_metadata({"huggingface": json.dumps(said)})
    pq.write_table(table, file, row_group_size=max(1, len(rows) // 3))
    return file


def webdataset(photos: Path, folder: Path, shards: int = 2, split: str = "train", numbers: bool = False) -> list[Path]:
    """Shards of a split, labels in ``.cls``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, files = samples(photos, split), []
    for shard in range(shards):
        entries: dict[str, bytes] = {}
        for name, data, label in rows[shard::shards]:
            entries[f"{name}.jpg"] = data
            entries[f"{name}.cls"] = str(CLASSES.index(label) if numbers else label).encode()
        files.append(write_archive(folder / f"{split}-{shard:03d}.tar", entries))
    return files


def example(features: dict[str, bytes | int | float | list]) -> bytes:
    """A ``tf.train.Example``, in Protocol Buffers' wire format."""

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def varint(value: int) -> bytes:
        value &= 2**64 - 1
        found = b""
        while value > 127:
            found += bytes([value & 127 | 128])
            value >>= 7
        return found + bytes([value])

    entries = b""
    for key, value in features.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], bytes):
            feature = field(1, b"".join(field(1, one) for one in values))
        elif isinstance(values[0], float):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = field(3, field(1, b"".join(map(varint, values))))
        entries += field(1, field(1, key.encode()) + field(2, feature))
    return field(1, entries)


def records(file: Path, examples: list[bytes]) -> Path:
    """A TFRecord file of these."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as made:
        for data in examples:
            length = struct.pack("<Q", len(data))
            made.write(length + struct.pack("<I", _masked(length)) + data + b"\0\0\0\0")
    return file


def tfrecord(photos: Path, folder: Path, split: str = "train", text: bool = True) -> Path:
    """A file of a split with the usual keys."""
    rows = samples(photos, split)
    made = []
    for _, data, label in rows:
        features: dict[str, bytes | int | float | list] = {
            "image/encoded": data,
            "image/class/label": CLASSES.index(label) + 1,
            "image/height": 40,
        }
        made.append(example({**features, "image/class/text": label.encode()} if text else features))
    return records(folder / f"{split}.tfrecord-00000-of-00001", made)


def tfds(photos: Path, root: Path, name: str = "colours", version: str = "1.0.0", **more: list[str]) -> Path:
    """A data set as TensorFlow Datasets 4.9 prepares it; ``more`` names further features that are class labels."""
    folder = root / name / version
    for split in ("train", "validation"):
        made = []
        for _, data, label in samples(photos, split):
            number: dict[str, bytes | int | float | list] = {key: 0 for key in more}
            made.append(example({"image": data, "label": CLASSES.index(label), **number}))
        records(folder / f"{name}-{split}.tfrecord-00000-of-00001", made)
    core = "tensorflow_datasets.core.features"
    image = {"shape": {"dimensions": ["-1", "-1", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"}
    kinds = {"image": {"pythonClassName": f"{core}.image_feature.Image", "image": image}}
    for key, names in {"label": list(CLASSES), **more}.items():
        label = {"numClasses": str(len(names))}
        kinds[key] = {"pythonClassName": f"{core}.class_label_feature.ClassLabel", "classLabel": label}
        (folder / f"{key}.labels.txt").write_text("\n".join(names) + "\n")
    told = {"pythonClassName": f"{core}.features_dict.FeaturesDict", "featuresDict": {"features": kinds}}
    (folder / "features.json").write_text(json.dumps(told))
    info = {"name": name, "version": version, "fileFormat": "tfrecord", "splits": [{"name": "train"}]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder

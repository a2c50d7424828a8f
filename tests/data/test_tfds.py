"""Data sets of TensorFlow Datasets by name: read as they were prepared, downloaded only where that is asked for."""

from __future__ import annotations

import json

import pytest

from framework.core.errors import BadInput
from framework.data.sources import read_all
from tests.conftest import bash, write
from tests.data.sharded import CLASSES, tfds

GIVEN = {"folder": None, "download": False, "image": None, "label": None, "validation": 0.25, "test": 0.0}


def listed(dataset, **given):
    return read_all("tfds", 1, dataset=dataset, **{**GIVEN, **given})


def complaint(dataset, **given):
    with pytest.raises(BadInput) as caught:
        listed(dataset, **given)
    (problem,) = caught.value.problems
    return problem


def test_the_latest_version_is_read_with_its_splits_and_names(photos, tmp_path, monkeypatch):
    for version in ("1.0.0", "2.0.0", "10.0.0"):
        place = tfds(photos, tmp_path, version=version)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    found = listed("colours")
    assert (found.classes, found.origin) == (CLASSES, str(place))
    assert {split: len(images) for split, images in found.splits.items()} == {"train": 24, "validation": 12}
    assert listed("colours:2.0.0").origin.endswith("colours/2.0.0")


def test_a_configuration_is_named_where_there_are_several(photos, tmp_path):
    for name in ("large", "small"):
        tfds(photos, tmp_path / "colours", name=name)
    problem = complaint("colours", folder=str(tmp_path))
    assert problem.what == f"{tmp_path / 'colours'} has several configurations: large, small"
    assert listed("colours/small", folder=str(tmp_path)).origin == str(tmp_path / "colours" / "small" / "1.0.0")


def test_nothing_is_downloaded_unasked(photos, tmp_path, monkeypatch):
    root = tmp_path / "sets"
    tfds(photos, root)
    problem = complaint("colour", folder=str(root))
    assert problem.what == f"tfds has prepared no colour in {root}, and nothing is downloaded unasked"
    assert problem.right == "colours (one of: colours); or data.download=true, which lets tfds download it"
    assert complaint("beans", folder=str(tmp_path / "none")).right == "data.download=true, which lets tfds download it"
    monkeypatch.setattr("framework.data.tfds.find_spec", lambda name: None)
    problem = complaint("beans", folder=str(tmp_path), download=True)
    assert (problem.where, problem.right) == ("data.download", "pip install 'framework[tfds]'")
    assert complaint("a name").what == "'a name' is no name of a data set"


def test_what_is_asked_for_is_prepared_by_the_package(photos, tmp_path, monkeypatch):
    tfds(photos, tmp_path / "elsewhere")
    code = f"""
        import shutil

        class builder:
            def __init__(self, name, data_dir):
                self.name, self.data_dir = name, data_dir

            def download_and_prepare(self, file_format):
                if self.name == "offline":
                    raise OSError("Failed to resolve 'storage.googleapis.com'")
                assert file_format == "tfrecord"
                shutil.copytree({str(tmp_path / "elsewhere" / "colours")!r}, self.data_dir + "/" + self.name)
    """
    write(tmp_path / "packages", {"tensorflow_datasets/__init__.py": code})
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    assert listed("colours", folder=str(tmp_path / "here"), download=True).classes == CLASSES
    problem = complaint("offline", folder=str(tmp_path / "here"), download=True)
    assert problem.what == "tfds can't prepare offline: OSError: Failed to resolve 'storage.googleapis.com'"


def test_which_features_are_meant(photos, tmp_path):
    place = tfds(photos, tmp_path, side=["left", "right"])
    problem = complaint("colours", folder=str(tmp_path))
    assert problem.what == f"{place} has several features of kind ClassLabel: label, side"
    assert problem.right == "data.label=label"
    assert listed("colours", folder=str(tmp_path), label="label").classes == CLASSES
    assert complaint("colours", folder=str(tmp_path), label="lable").right.startswith("label")
    # as versions before 4.4 wrote it
    kinds = {
        "image": {"type": "tensorflow_datasets.core.features.image_feature.Image"},
        "label": {"type": "a.ClassLabel"},
    }
    (place / "features.json").write_text(json.dumps({"type": "a.FeaturesDict", "content": kinds}))
    assert listed("colours", folder=str(tmp_path)).classes == CLASSES
    (place / "features.json").write_text("[]")
    assert complaint("colours", folder=str(tmp_path)).what == f"{place} has no feature of kind Image"
    (place / "features.json").write_text("none")
    assert "can't be read" in complaint("colours", folder=str(tmp_path)).what
    info = {"fileFormat": "array_record"}
    (place / "dataset_info.json").write_text(json.dumps(info))
    assert complaint("colours", folder=str(tmp_path)).right == "tfds build colours --file_format=tfrecord"


def test_it_is_checked_by_name_without_tensorflow(photos, tmp_path):
    tfds(photos, tmp_path)
    code = "import sys; from framework import check; assert not check.main(sys.argv[1:])"
    code += "; assert 'tensorflow' not in sys.modules"
    done = bash(f'python -c "{code}" data=tfds data.dataset=colours data.folder={tmp_path}', tmp_path)
    assert done.stderr.endswith("all right\n"), done.stderr

"""Files of models that somebody has changed are refused for what they say, before Keras or TensorFlow is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from benchmarks.hostile import networks
from benchmarks.hostile.canary import listening
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.model.description import describe
from framework.model.saving import load_model
from framework.model.weights import _hdf5


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    with listening(tmp_path_factory.mktemp("canary")) as canary:
        yield canary


def why(file) -> str:
    with pytest.raises(BadInput) as caught:
        describe(file)
    return str(caught.value)


def test_a_sound_file_is_described(tmp_path):
    for file in (networks.keras_file(tmp_path / "a.keras"), networks.h5_file(tmp_path / "a.h5")):
        told = describe(file)
        assert (told.size, told.units, told.name) == ((4, 4), 2, "small")


def test_what_would_do_more_than_compute_is_refused(canary, tmp_path):
    """In both formats; each says what it is that the file has, where it is not for Keras to look for."""
    said = {}
    for name, config in networks.evil_configs(canary):
        file = networks.keras_file(tmp_path / "a.keras", config)
        if networks.left_to_keras(name):
            with pytest.raises(BadInput) as caught:
                load_model(file)
            said[name] = str(caught.value)
            continue
        said[name] = why(file)
        assert "it is not opened" in said[name], name
        assert "it is not opened" in why(networks.h5_file(tmp_path / "a.h5", config)), name
    assert canary.fault(*said.values()) == ""


@pytest.mark.parametrize("number", range(4))
def test_no_link_of_an_hdf5_file_is_followed(canary, tmp_path, number):
    name, write = list(networks.evil_arrays(canary, tmp_path))[2 * number]
    file = tmp_path / "a.weights.h5"
    file.write_bytes(networks.hdf5(write))
    with pytest.raises(ValueError, match="a link to elsewhere"), _hdf5(file):
        pass
    assert "a link to elsewhere" in why(networks.keras_file(tmp_path / "a.keras", weights=file.read_bytes())), name


def test_weights_are_a_plain_file(tmp_path):
    os.mkfifo(tmp_path / "a.weights.h5")
    for path in (tmp_path / "a.weights.h5", tmp_path):
        with pytest.raises(ValueError, match="it is no plain file"), _hdf5(path):
            pass


def test_no_array_lies_elsewhere_or_is_larger_than_it_is(canary, tmp_path):
    cases = dict(networks.evil_arrays(canary, tmp_path))
    for name, message in {
        "an array in another file": "lies in another file",
        "an array made of another file's": "lies in another file",
        "an array of 10^12 numbers that were never written": "would take 3,725.3 GiB, and 0 bytes of it are there",
        "an array of zeros, packed": "would take 64 MiB",
    }.items():
        assert message in why(networks.keras_file(tmp_path / "a.keras", weights=networks.hdf5(cases[name]))), name
        assert message in why(networks.h5_file(tmp_path / "a.h5", write=cases[name])), name


def test_no_member_leads_out_stands_twice_or_unpacks_without_end(canary, tmp_path):
    cases = dict(networks.evil_archives(canary, tmp_path))
    del cases["a member behind a link"], cases["a layer that is a text"]  # harmless, and told when it is built
    said = {name: why(file) for name, file in cases.items()}
    assert sum("leads out of it" in text for text in said.values()) == 5
    assert sum("would unpack to" in text for text in said.values()) == 3
    assert "a member twice" in said["a description twice"]


def test_what_would_be_built_without_end_is_refused(tmp_path):
    cases = dict(networks.absurd_configs())
    for name, message in {
        "5,000 layers": "describes more than 4,000 layers",
        "10^9 layers by reference": "calls its layers more than 16,000 times",
        "10^9 blocks": "describes 1,000,000,000 blocks (ViTBackbone: num_layers)",
        "images of 100000 pixels a side": "which no photo has",
        "nested 100,000 times": "nested too deeply",
        "a number of 5,000 digits": "can't be read as a whole model",
    }.items():
        assert message in why(networks.keras_file(tmp_path / "a.keras", cases[name])), name


@pytest.mark.parametrize("content", [b"null", b"[]", b"3", b"{}", b'{"config": null}', b'{"config": {"layers": [3]}}'])
def test_json_of_another_shape_says_nothing(tmp_path, content):
    assert describe(networks.keras_file(tmp_path / "a.keras", content)).units is None


def test_a_file_whose_weights_are_no_numbers_is_refused_and_a_sound_one_is_not(tmp_path):
    weights = networks.hdf5(lambda file: networks.write_arrays(file, float("nan")))
    with pytest.raises(BadInput, match=r"are no numbers \(NaN or infinite\), first in 'logits/kernel'"):
        load_model(networks.keras_file(tmp_path / "nan.keras", weights=weights))
    assert load_model(networks.keras_file(tmp_path / "a.keras")).output_shape == (None, 2)
    assert load_model(networks.h5_file(tmp_path / "a.h5")).output_shape == (None, 2)


@pytest.mark.parametrize(
    "name", ["layers that call each other in a circle", "a call of no layer", "two layers of 100,000"]
)
def test_what_keras_or_the_memory_can_t_do_is_one_message(tmp_path, name):
    config = dict(networks.absurd_configs())[name]
    with pytest.raises(BadInput) as caught:
        load_model(networks.keras_file(tmp_path / "a.keras", config))
    assert len(str(caught.value)) < 1500


FILES = ("run_json", "config", "history", "answers", "logits")


@pytest.mark.parametrize("name", FILES)
def test_a_run_s_files_are_plain_and_its_own(tmp_path, name):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    file, read = getattr(run, name), getattr(run, f"read_{name.removesuffix('_json')}")
    (tmp_path / "secret.txt").write_text("s3cret")
    file.symlink_to(tmp_path / "secret.txt")
    with pytest.raises((BadInput, OSError, ValueError)) as caught:
        read()
    assert "a link leads out of the folder" in str(caught.value)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises((BadInput, OSError, ValueError), match="no plain file"):
        read()


def test_a_run_s_texts_have_a_size(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    run.run_json.write_text('{"format": 1, "x": "' + "x" * (65 << 20) + '"}')
    with pytest.raises(BadInput, match="larger than 64 MiB"):
        run.read_run()
    run.config.write_text("a: " + "x" * (3 << 20))
    with pytest.raises(ValueError, match="larger than"):
        run.read_config()


def test_kept_arrays_do_not_unpack_without_end(tmp_path):
    run = RunFolder(tmp_path)
    np.savez_compressed(run.logits, logits=np.zeros((1 << 26, 1), np.float32), labels=np.zeros(1), images="x")
    with pytest.raises(BadInput, match="would unpack to"):
        run.read_logits()


def test_looking_at_a_file_loads_no_tensorflow(tmp_path):
    file = networks.keras_file(tmp_path / "a.keras")
    code = "import sys; from pathlib import Path; from framework.model.description import describe\n"
    code += f"describe(Path({str(file)!r})); sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_weights_are_read_where_they_lie(tmp_path):
    """Stored as Keras stores them, and packed."""
    from framework.model.foreign import open_archive, weights_in

    for deflated in (False, True):
        file = networks.keras_file(tmp_path / "a.keras", deflated=deflated)
        with open_archive(file) as archive, weights_in(archive, file) as weights:
            assert isinstance(weights, h5py.File)
            np.testing.assert_array_equal(weights["layers/dense/vars/0"][()], networks.arrays()["0"])
    assert json.loads(open_archive(file).read("config.json")) == networks.network()

"""Where weights come from, and what is said of a file that does not fit."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest

from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.model import weights
from framework.model.build import build
from tests.model.common import TASK, settings

WIDTH = {"alpha": 0.25, "depth_multiplier": 1}
SIZE = (32, 32)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
FILE = "mobilenet_2_5_224_tf_no_top.h5"


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    """An empty Keras cache, and a network that does not answer."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(weights, "_reachable", lambda: False)
    return tmp_path / "keras"


def mobilenet(alpha=0.25, top=False, **options):
    """Keras's own."""
    return keras.applications.MobileNet((32, 32, 3), alpha, include_top=top, weights=None, **options)


def find(name="mobilenet", file="imagenet", size=SIZE, parameters=WIDTH):
    return weights.find(registry.get("base", name), file, size, parameters)


@functools.cache
def ours(alpha):
    """Our MobileNet's base, built once for all tests."""
    images = keras.Input((32, 32, 3), name="image")
    return keras.Model(images, registry.get("base", "mobilenet")(images, **{**WIDTH, "alpha": alpha}))


def load(file, alpha=0.25):
    """Features of our MobileNet with the weights of a file."""
    base = ours(alpha)
    for variable in base.weights:
        variable.assign(np.zeros(variable.shape))
    weights.load(base, registry.get("base", "mobilenet"), str(file), SIZE, {**WIDTH, "alpha": alpha})
    return np.asarray(base(IMAGES))


def features(model):
    return np.asarray(model(keras.applications.mobilenet.preprocess_input(IMAGES.copy())))


def published(path: Path, model) -> Path:
    """A file of weights in order, the format in which Keras publishes."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, model)
    return path


def test_nothing_is_needed_for_random_weights():
    assert find(file=None) is None


def test_a_file_is_found_or_missed(tmp_path, monkeypatch):
    (tmp_path / "some.h5").touch()
    assert find(file=str(tmp_path / "some.h5")) == tmp_path / "some.h5"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find(file="~/some.h5") == tmp_path / "some.h5"
    assert find(file=str(tmp_path)) == Problem(
        f"weights file {tmp_path} does not exist", "model.weights", "a file, imagenet, or null for random weights"
    )


def test_imagenet_weights_are_found_in_the_cache_of_keras(keras_home, monkeypatch):
    (keras_home / "models").mkdir(parents=True)
    (keras_home / "models" / FILE).touch()
    assert find() == keras_home / "models" / FILE
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(keras_home))
    assert weights.keras_models() == keras_home / ".keras" / "models"


def test_imagenet_weights_that_are_missing(keras_home):
    folder = keras_home / "models"
    assert find() == Problem(
        "the ImageNet weights of 'mobilenet' are not on this machine and can't be downloaded: "
        "https://storage.googleapis.com does not answer",
        "model.weights",
        f"put {FILE} into {folder}, or model.weights=<file>, or model.weights=null to train from scratch",
    )


def test_imagenet_weights_that_can_be_downloaded(keras_home, monkeypatch):
    monkeypatch.setattr(weights, "_reachable", lambda: True)
    assert find() == keras_home / "models" / FILE


def test_imagenet_weights_that_do_not_exist():
    assert find("cnn", parameters={}).what == "base 'cnn' has no ImageNet weights"
    assert find(parameters={**WIDTH, "alpha": 0.3}).what == "'mobilenet' has no ImageNet weights for alpha=0.3"


class TestReachable:
    @pytest.fixture(autouse=True)
    def asked(self, monkeypatch):
        monkeypatch.undo()
        weights._reachable.cache_clear()
        yield
        weights._reachable.cache_clear()

    def test_a_refusing_answer_is_an_answer(self, monkeypatch):
        def refuse(request, timeout):
            raise urllib.error.HTTPError(request.full_url, 403, "no", {}, None)

        monkeypatch.setattr(urllib.request, "urlopen", refuse)
        assert weights._reachable()

    def test_no_network(self, monkeypatch):
        calls = []

        def fail(request, timeout):
            calls.append(request.full_url)
            raise urllib.error.URLError("no route")

        monkeypatch.setattr(urllib.request, "urlopen", fail)
        assert not weights._reachable()
        assert not weights._reachable()
        assert calls == [weights.HOST]

    def test_silence_takes_three_seconds(self, monkeypatch):
        monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: time.sleep(6) or io.BytesIO())
        start = time.perf_counter()
        assert not weights._reachable()
        assert time.perf_counter() - start < 3.5


def test_finding_loads_no_tensorflow():
    code = (
        "import sys; from framework.core import registry; from framework.model.weights import find;"
        "print(find(registry.get('base', 'xception'), 'imagenet', (150, 150), {}));"
        "assert 'tensorflow' not in sys.modules and 'h5py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], capture_output=True)


@pytest.mark.parametrize("form", ["published", "weights", "old_weights", "keras", "project"])
def test_weights_of_every_format_are_read(form, tmp_path):
    model = mobilenet()
    for variable in model.weights:
        variable.assign(variable + 0.01)
    expected = features(model)
    if form == "published":
        path = published(tmp_path / FILE, model)
    elif form == "weights":
        model.save_weights(path := tmp_path / "some.weights.h5")
    elif form == "old_weights":
        path = published(tmp_path / "some.weights.h5", model)
    elif form == "keras":
        model.save(path := tmp_path / "some.keras")
    else:
        file = published(tmp_path / FILE, model)
        run = build(settings(alpha=0.25, weights=str(file), head="mlp", trainable=False), TASK)
        run.model.save(path := tmp_path / "model.keras")
    np.testing.assert_allclose(load(path), expected, rtol=1e-4, atol=1e-6)


def test_a_file_is_read_where_the_system_allows_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    model = mobilenet()
    np.testing.assert_allclose(load(published(tmp_path / FILE, model)), features(model), rtol=1e-4, atol=1e-6)


def test_weights_of_a_base_with_layers_in_layers(tmp_path):
    """EfficientNet keeps statistics and random generators, ConvNeXt nests its first layers."""
    for name in ("efficientnetb0", "convnexttiny"):
        network = build(settings(name), TASK)
        base = keras.Model(network.model.input, network.model.get_layer(network.base_layers[-1]).output)
        for variable in base.weights:
            variable.assign(variable * 0.9)
        base.save_weights(path := tmp_path / f"{name}.weights.h5")
        again = build(settings(name, weights=str(path)), TASK).model
        for layer in network.base_layers:
            for one, other in zip(network.model.get_layer(layer).weights, again.get_layer(layer).weights, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", ["published", "newer"])
class TestFilesThatDoNotFit:
    def refused(self, form, tmp_path, model, alpha=0.25):
        path = tmp_path / "wrong.weights.h5"
        if form == "published":
            published(path, model)
        else:
            model.save_weights(path)
        with pytest.raises(BadInput) as error:
            load(path, alpha)
        (problem,) = error.value.problems
        assert problem.where == "model.weights"
        assert problem.what.startswith(
            f"weights file {path} does not fit 'mobilenet' with alpha={alpha}, depth_multiplier=1: "
        )
        return problem.what.split("=1: ")[1], problem.right

    def test_of_another_width(self, form, tmp_path):
        what, right = self.refused(form, tmp_path, mobilenet(0.25), alpha=0.5)
        assert right == "model.alpha=0.25"
        name = "conv1" if form == "published" else "conv2d"
        assert what == f"expected conv1 (3, 3, 3, 16), found {name} (3, 3, 3, 8)"

    def test_with_top(self, form, tmp_path):
        what, right = self.refused(form, tmp_path, mobilenet(top=True))
        assert what.startswith("expected 54 layers with weights, found more, first conv")
        assert what.endswith("(1, 1, 256, 1000), (1000,)")
        assert "notop" in right

    def test_of_another_network(self, form, tmp_path):
        what, _ = self.refused(form, tmp_path, keras.applications.VGG16(include_top=False, weights=None))
        name = "block1_conv1" if form == "published" else "conv2d"
        assert what == f"expected conv1 (3, 3, 3, 8), found {name} (3, 3, 3, 64), (64,)" or what == (
            f"expected conv1 (3, 3, 3, 8), found {name} (64,), (3, 3, 3, 64)"
        )

    def test_with_fewer_layers(self, form, tmp_path):
        whole = mobilenet()
        what, _ = self.refused(form, tmp_path, keras.Model(whole.input, whole.get_layer("conv_pw_13_bn").input))
        found = "nothing more" if form == "published" else "batch_normalization_26 without weights"
        assert what == f"expected conv_pw_13_bn (256,), (256,), (256,), (256,), found {found}"


def look(file, base="mobilenet", **changes):
    """What is said of a file without TensorFlow."""
    part = registry.get("base", base)
    return weights.unfit(part, Path(file), {**WIDTH, **changes} if base == "mobilenet" else changes)


@pytest.mark.parametrize("form", ["published", "some.weights.h5", "some.keras"])
def test_a_look_at_a_file_tells_another_width_and_another_network(form, tmp_path):
    model = mobilenet(0.25)
    if form == "published":
        path = published(tmp_path / FILE, model)
    else:
        path = tmp_path / form
        (model.save if form.endswith(".keras") else model.save_weights)(path)
    assert look(path, alpha=0.25) is None
    problem = look(path, alpha=1.0)
    assert problem == Problem(
        f"weights file {path} does not fit 'mobilenet' with alpha=1.0, depth_multiplier=1: "
        "it has no weights of shape (3, 3, 3, 32)",
        "model.weights",
        "model.alpha=0.25",
    )
    problem = look(path, "xception")
    assert problem.what.endswith("does not fit 'xception': expected 20,861,480 numbers, found 218,544")
    assert problem.right == "the file of this base, or null for random weights"


def test_a_look_at_a_file_tells_a_top(tmp_path):
    top = keras.applications.ResNet50(weights=None)
    problem = look(published(tmp_path / "top.h5", top), "resnet50")
    assert problem.what.endswith(f"expected 23,587,712 numbers, found {top.count_params():,}")
    top.save(tmp_path / "whole.keras")
    assert look(tmp_path / "whole.keras", "resnet50") is None


def test_a_look_at_a_base_of_a_recipe_tells_only_files_that_can_t_be_read(tmp_path):
    with registry.isolated():
        registry.base("own", minimum_size=8)(lambda images: images)
        assert look(published(tmp_path / FILE, mobilenet()), "own") is None
        (tmp_path / "text.h5").write_text("no weights")
        assert "can't be read" in look(tmp_path / "text.h5", "own").what


def test_a_look_at_a_file_loads_no_tensorflow(tmp_path):
    path = published(tmp_path / FILE, mobilenet())
    code = (
        "import sys; from pathlib import Path; from framework.core import registry; from framework.model.weights import unfit;"
        f"assert unfit(registry.get('base', 'xception'), Path({str(path)!r}), {{}});"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_files_that_are_damaged(tmp_path):
    whole = published(tmp_path / FILE, mobilenet()).read_bytes()
    mobilenet().save(tmp_path / "whole.keras")
    archive = (tmp_path / "whole.keras").read_bytes()
    contents = {
        "half.h5": whole[: len(whole) // 2],
        "short.h5": whole[:-100],
        "text.h5": b"not a weights file",
        "empty.h5": b"",
        "half.keras": archive[: len(archive) // 2],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput) as error:
            load(tmp_path / name)
        (problem,) = error.value.problems
        assert problem.what.startswith(f"weights file {tmp_path / name} can't be read"), name
        assert problem.where == "model.weights"
        assert look(tmp_path / name) == problem, name
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    with pytest.raises(BadInput, match=r"other.h5 can't be read"):
        load(tmp_path / "other.h5")


class TestDownload:
    """With a stand-in for Keras's download, which puts a file into its cache."""

    @pytest.fixture(autouse=True)
    def network(self, monkeypatch):
        monkeypatch.setattr(weights, "_reachable", lambda: True)

    @pytest.fixture
    def downloads(self, keras_home, tmp_path, monkeypatch):
        from keras.src.utils import file_utils

        asked = []
        model = mobilenet()
        source = published(tmp_path / "there.h5", model)

        def get_file(fname, origin, cache_subdir, **_):
            asked.append(origin)
            print("Downloading data from", origin)
            path = keras_home / cache_subdir / fname
            path.write_bytes(source.read_bytes())
            return str(path)

        monkeypatch.setattr(file_utils, "get_file", get_file)
        return asked, features(model)

    @pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
    def test_keras_downloads_once(self, downloads, capfd):
        asked, expected = downloads
        np.testing.assert_allclose(load("imagenet"), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(load("imagenet"), expected, rtol=1e-4, atol=1e-6)
        assert asked == [f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/{FILE}"]
        out, err = capfd.readouterr()
        assert out == ""
        assert "Downloading data from" in err

    @pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
    def test_a_failing_download_is_one_message(self, keras_home, monkeypatch):
        from keras.src.utils import file_utils

        def get_file(*_, **__):
            raise Exception("URL fetch failure on https://…: None -- [Errno -2] Name or service not known")

        monkeypatch.setattr(file_utils, "get_file", get_file)
        with pytest.raises(BadInput) as error:
            load("imagenet")
        assert "can't be downloaded: URL fetch failure" in error.value.problems[0].what
        assert f"put {FILE} into {keras_home / 'models'}" in error.value.problems[0].right


def test_missing_imagenet_weights_stop_the_build():
    with pytest.raises(BadInput, match="are not on this machine"):
        load("imagenet")


@pytest.mark.real
def test_the_real_file_gives_the_features_of_keras(shared):
    path = shared / "weights" / FILE
    images = sorted((shared / "data" / "clothing").rglob("*.jpg"))[:4]
    x = np.stack([keras.utils.img_to_array(keras.utils.load_img(file, target_size=(224, 224))) for file in images])
    theirs = keras.applications.MobileNet((224, 224, 3), 0.25, include_top=False, weights=str(path))
    expected = np.asarray(theirs(keras.applications.mobilenet.preprocess_input(x.copy())))
    network = build(settings(alpha=0.25, size=224, weights=str(path)), TASK)
    base = keras.Model(network.model.input, network.model.get_layer(network.base_layers[-1]).output)
    assert expected.std() > 0.1
    # images are scaled by a factor where Keras divides: the last bit of an input is another
    np.testing.assert_allclose(base(x), expected, rtol=0, atol=2e-4)

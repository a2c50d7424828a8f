"""What is imported with Keras, and what is not."""

import sys

import numpy as np
import pytest

from tests.conftest import bash

USED = """
import gc
import sys
from framework.core.backend import keras, load_tensorflow
looked = []
gc.callbacks.append(lambda phase, info: looked.append(info["generation"]))
load_tensorflow()
print(2 in looked, gc.isenabled())
print([name for name in ("sklearn", "scipy.stats", "matplotlib.pyplot") if name in sys.modules])
from keras.wrappers import SKLearnClassifier
import tensorflow as tf
print("sklearn" in sys.modules, SKLearnClassifier is keras.wrappers.SKLearnClassifier, SKLearnClassifier.__mro__[-2].__module__)
print(tf.keras.wrappers.SKLearnClassifier is SKLearnClassifier, hasattr(keras.wrappers, "Other"))
"""


def test_keras_brings_no_package_that_is_rarely_used_and_has_it_when_it_is_used(tmp_path):
    (tmp_path / "used.py").write_text(USED)
    done = bash("python used.py", tmp_path)
    assert done.returncode == 0, done.stderr
    collected, nothing, with_sklearn, same = done.stdout.splitlines()
    assert collected == "False True"
    assert nothing == "[]"
    assert with_sklearn.startswith("True True sklearn.")
    assert same == "True False"


@pytest.mark.filterwarnings("ignore")
def test_the_gallery_of_images_draws_where_somebody_asks_for_it(tmp_path):
    from framework.core.backend import keras

    keras.visualization.plot_image_gallery(np.zeros((2, 4, 4, 3)), rows=1, cols=2, path=str(tmp_path / "two.png"))
    assert (tmp_path / "two.png").stat().st_size > 0
    assert "matplotlib.pyplot" in sys.modules

"""Kept features and the tail give what the whole model gives, on real photos as well."""

from __future__ import annotations

import numpy as np
import pytest

from framework.config.settings import CacheSettings
from framework.core.backend import keras, tf
from framework.core.geometry import Geometry
from framework.features.compute import features, image_batches
from framework.features.graph import frozen_prefix, split


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("trained", ["head", "last block"])
def test_mobilenet_on_real_photos(shared, tmp_path, trained):
    paths = sorted(str(path) for path in (shared / "data/clothing/validation").rglob("*.jpg"))[::8]
    keras.utils.set_random_seed(0)
    image = keras.Input((224, 224, 3), name="image")
    base = keras.applications.MobileNet(
        alpha=0.25,
        include_top=False,
        weights=str(shared / "weights/mobilenet_2_5_224_tf_no_top.h5"),
        input_tensor=keras.layers.Rescaling(1 / 127.5, -1)(image),
    )
    model = keras.Model(
        image, keras.layers.Dense(10, name="logits")(keras.layers.GlobalAveragePooling2D()(base.output))
    )
    base_layers = [layer.name for layer in base.layers]
    frozen = base_layers if trained == "head" else base_layers[: base_layers.index("conv_dw_13")]
    cut = frozen_prefix(model, lambda layer: layer.name not in frozen, inference=frozen)
    assert cut.shapes == (((256,),) if trained == "head" else ((7, 7, 256),))
    prefix, tail = split(model, cut, inference=frozen)

    geometry = Geometry((224, 224))
    images = tf.cast(np.concatenate([*image_batches(paths, geometry)(np.arange(len(paths)))]), tf.float32)
    whole = model(images, training=False)
    np.testing.assert_allclose(tail(prefix(images, training=False), training=False), whole, atol=1e-6)

    cache = CacheSettings("auto", str(tmp_path), "float32", 1.0, "local")
    rows = features(prefix, paths, paths, geometry=geometry, cache=cache, precision="float32", about={})
    # folding batch normalisation into convolutions rounds otherwise
    np.testing.assert_allclose(tail(rows.arrays(), training=False), whole, atol=1e-4)

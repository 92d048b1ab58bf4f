"""Models saved for several samples at a time: built for one, or refused with the reason."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from edgepack.compress import engine, recipes
from edgepack.data.dataset import assemble
from edgepack.errors import EdgepackError

pytestmark = pytest.mark.tensorflow


def build(path: Any, tmp_path: Any, data: Any, *names: str) -> engine.Build:
    wanted = [recipes.parse(name) for name in names]
    return engine.build(str(path), wanted, data, cache=tmp_path / "c", emit=lambda event: None)


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_a_fixed_batch_is_freed(framework, tmp_path):
    keras = importlib.import_module(framework)
    layers = keras.layers
    images = [layers.Input((8, 8, 1), batch_size=4, name=name) for name in ("b", "a")]
    x = layers.Flatten()(layers.Subtract()(images))
    outs = [layers.Dense(3, name="wide")(x), layers.Dense(2, name="narrow")(x)]
    keras.Model(images, outs).save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(30, 8, 8, 1)).astype("float32") for name in ("a", "b")}
    data = assemble(arrays, None, arrays, None, where="here")
    for variant in build(tmp_path / "m.keras", tmp_path, data, "float", "int8").variants:
        assert [(spec.name, spec.shape[0]) for spec in variant.signature.inputs] == [
            ("b", 1),
            ("a", 1),
        ]
        assert {spec.name for spec in variant.signature.outputs} == {"wide", "narrow"}
        assert variant.agreement is not None and variant.agreement.samples == 30
        assert variant.agreement.snr_db is None or variant.agreement.snr_db > 25


def test_layers_that_need_the_size_are_told(tmp_path):
    keras = importlib.import_module("keras")
    steps = keras.Input((5, 2), batch_size=4, name="steps")
    keras.Model(steps, keras.layers.LSTM(3, stateful=True)(steps)).save(tmp_path / "m.keras")
    with pytest.raises(EdgepackError, match=r"4 samples at a time.*stateful=True") as caught:
        build(tmp_path / "m.keras", tmp_path, None, "float")
    assert caught.value.code == "EP206"
    assert "free batch size" in caught.value.hint


def test_a_saved_model_is_told(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([4, 3], name="x")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=double)
    with pytest.raises(EdgepackError, match="SavedModel without Keras layers") as caught:
        build(tmp_path / "m", tmp_path, None, "float")
    assert caught.value.code == "EP206"

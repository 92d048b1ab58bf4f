"""Transfer learning through the whole engine: a new head for labels the source never had."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.compress import engine, recipes
from edgepack.compress.native import tensorflow
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import PassSpec, Recipe

pytestmark = pytest.mark.tensorflow


def six_classes() -> Dataset:
    """Six well separated clusters: anything that learns gets nearly all of them right."""
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=3.0, size=(6, 8))
    labels = rng.integers(0, 6, 700)
    points = (centres[labels] + rng.normal(scale=0.5, size=(700, 8))).astype("float32")
    return Dataset(
        x_train={"": points[:600]},
        y_train=labels[:600],
        x_test={"": points[600:]},
        y_test=labels[600:],
        task="classification",
    )


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    tensorflow()
    import keras

    keras.utils.set_random_seed(1)
    point = keras.Input((8,), name="point")
    x = keras.layers.Dense(32, activation="relu")(point)
    net = keras.Model(point, keras.layers.Dense(3, activation="softmax", name="label")(x))
    path = tmp_path_factory.mktemp("model") / "net.keras"
    net.save(path)
    return str(path)


def transfer():
    head = {"classes": 6, "epochs": 3}
    finetune = PassSpec(name="finetune", params={"epochs": 10, "head": head, "batch_size": 16})
    return Recipe(name="transfer", passes=(finetune, PassSpec(name="quantize.int8")))


def test_a_new_head_learns_the_new_labels(three_classes, tmp_path):
    built = engine.build(
        three_classes, [transfer()], six_classes(), cache=tmp_path / "b", emit=lambda event: None
    )
    variant = built.variants[1]
    assert variant.signature.outputs[0].shape[-1] == 6
    assert variant.agreement is None
    assert variant.lineage[-1].quality is not None
    assert variant.lineage[-1].quality > 0.9


def test_without_a_new_head_such_labels_are_refused(three_classes, tmp_path):
    with pytest.raises(EdgepackError) as caught:
        engine.build(
            three_classes,
            [recipes.parse("int8")],
            six_classes(),
            cache=tmp_path / "b",
            emit=lambda event: None,
        )
    assert caught.value.code == "EP303"

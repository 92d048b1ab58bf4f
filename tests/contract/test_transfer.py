"""Transfer learning through the whole engine: a new head for labels the source never had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepack.compress import engine, recipes, workshop
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


def transfer(epochs=10, converting="quantize.int8"):
    head = {"classes": 6, "epochs": 3}
    finetune = PassSpec(name="finetune", params={"epochs": epochs, "head": head, "batch_size": 16})
    return Recipe(name="transfer", passes=(finetune, PassSpec(name=converting)))


def test_a_new_head_learns_the_new_labels(three_classes, tmp_path):
    built = engine.build(
        three_classes, [transfer()], six_classes(), cache=tmp_path / "b", emit=lambda event: None
    )
    variant = built.variants[1]
    assert variant.signature.outputs[0].shape[-1] == 6
    assert variant.agreement is None
    assert variant.lineage[-1].quality is not None
    assert variant.lineage[-1].quality > 0.9


def test_a_file_with_a_new_head_is_held_against_the_trained_network(
    three_classes, tmp_path, monkeypatch
):
    def build():
        recipe = transfer(epochs=1, converting=recipes.FLOAT)
        cache = tmp_path / str(len(list(tmp_path.iterdir())))
        quiet = engine.build(
            three_classes, [recipe], six_classes(), cache=cache / "b", emit=lambda event: None
        )
        return quiet.variants[1]

    assert not any("trained network" in warning for warning in build().warnings)
    monkeypatch.setattr(workshop, "_LOW_TOP1", 1.1)  # as if no file could agree enough
    assert "of samples get the trained network's class" in build().warnings[-1]
    plain = workshop._refuse_wrong_float

    def strict(agreement, owner):
        worse = replace(agreement, snr_db=10.0) if owner == "trained network" else agreement
        plain(worse, owner)

    monkeypatch.setattr(workshop, "_refuse_wrong_float", strict)
    with pytest.raises(EdgepackError, match="what the trained network computes") as caught:
        build()
    assert caught.value.code == "EP205"


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

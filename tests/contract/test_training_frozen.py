"""Layers that a model came with frozen: what trains them all the same, and what does not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.compress.network import KerasNetwork
from edgepack.compress.passes.base import Context, State
from edgepack.compress.passes.distill import Distill
from edgepack.compress.passes.finetune import Finetune
from edgepack.data import Dataset
from edgepack.errors import EdgepackError

pytestmark = pytest.mark.tensorflow

FRAMEWORKS = ("keras", "tf_keras")


def transferred(framework: str) -> KerasNetwork:
    """The usual way: a frozen model with a head of its own."""
    keras = importlib.import_module(framework)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    point = layers.Input((6,))
    inner = layers.BatchNormalization(name="norm")(layers.Dense(8, name="body")(point))
    base = keras.Model(point, layers.ReLU()(inner), name="base")
    base.trainable = False
    given = layers.Input((6,), name="given")
    return KerasNetwork(
        model=keras.Model(given, layers.Dense(3, activation="softmax", name="label")(base(given))),
        framework=framework,
    )


def data() -> Dataset:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(80, 6)).astype("float32")
    labels = points[:, :3].argmax(1).astype("int32")
    return Dataset(
        x_train={"given": points},
        y_train=labels,
        x_test={"given": points},
        y_test=labels,
        task="classification",
    )


def trained(step: Any, network: KerasNetwork, folder: Path) -> KerasNetwork:
    context = Context(
        source=network, dataset=data(), recipe="r", seed=0, workdir=folder, emit=lambda event: None
    )
    after, _ = step.run(State(network=network), context)
    return after.network


def changed(before: KerasNetwork, after: KerasNetwork) -> list[str]:
    """The layers whose kernels or scales are others."""
    found = []
    for name in ("body", "norm", "label"):
        one, other = (_layer(network.model, name).get_weights()[0] for network in (before, after))
        if (one != other).any():
            found.append(name)
    return found


def flags(network: KerasNetwork) -> list[bool]:
    return [_layer(network.model, name).trainable for name in ("body", "norm", "label")]


def _layer(model: Any, name: str) -> Any:
    return model.get_layer("label") if name == "label" else model.get_layer("base").get_layer(name)


DISTILL = {"epochs": 6, "alpha": 0.0, "batch_size": 8, "learning_rate": 0.03}
FINETUNE = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("whole", [False, True])
def test_distillation_trains_all_layers_and_leaves_their_flags(framework, whole, tmp_path):
    network = transferred(framework)
    if whole:
        network.model.trainable = False
    after = trained(Distill(DISTILL), network, tmp_path)
    assert changed(network, after) == ["body", "norm", "label"]
    assert flags(after) == flags(network) == [False, False, not whole]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_finetuning_keeps_to_what_the_model_came_with(framework, tmp_path):
    network = transferred(framework)
    assert changed(network, trained(Finetune(FINETUNE), network, tmp_path)) == ["label"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_finetuning_a_frozen_model_says_what_to_do_and_that_helps(framework, tmp_path):
    network = transferred(framework)
    network.model.trainable = False
    with pytest.raises(EdgepackError, match="Every layer is frozen") as caught:
        trained(Finetune(FINETUNE), network, tmp_path)
    assert caught.value.code == "EP206" and "unfreeze" in caught.value.hint
    after = trained(Finetune({**FINETUNE, "unfreeze": ["body"]}), network, tmp_path)
    assert changed(network, after) == ["body"]
    assert not any(flags(after))


def test_a_new_head_of_a_frozen_model_is_trained(tmp_path):
    network = transferred("keras")
    network.model.trainable = False
    step = Finetune({**FINETUNE, "head": {"classes": 3, "epochs": 1}})
    after = trained(step, network, tmp_path)
    assert changed(network, after) == ["label"]
    assert flags(after) == [False, False, True]


def test_a_network_without_weights_has_nothing_to_train(tmp_path):
    keras = importlib.import_module("keras")
    given = keras.Input((6,), name="given")
    network = KerasNetwork(
        model=keras.Model(given, keras.layers.Softmax(name="label")(given)), framework="keras"
    )
    with pytest.raises(EdgepackError, match="nothing to train") as caught:
        trained(Distill({**DISTILL, "alpha": 1.0}), network, tmp_path)
    assert caught.value.code == "EP206"

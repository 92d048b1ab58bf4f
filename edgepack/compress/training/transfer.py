"""Transfer learning: a new head, and which layers may change."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edgepack.compress.network import KerasNetwork
from edgepack.compress.training import models
from edgepack.errors import EdgepackError

_HEADS = ("Dense", "Conv1D", "Conv2D")
# Layers after the head that work for any number of classes.
_AFTER = ("Activation", "Softmax", "Flatten", "Dropout", "GlobalAveragePooling2D", "ReLU")


def replace_head(network: KerasNetwork, classes: int) -> tuple[KerasNetwork, Any]:
    """The network with its last Dense or Conv layer made anew, for `classes` classes.

    Layers behind the head (an activation, pooling, Flatten) stay. The head keeps its name,
    activation and shape but for its channels; its weights are new.

    Returns:
        (the new network, which shares all other layers; the new head layer)

    Raises:
        EdgepackError: EP206 where there is not exactly one output that ends in such a layer.
    """
    model, keras = network.model, models.library(network)
    if len(model.outputs) != 1:
        raise _refusal(f"it has {len(model.outputs)} outputs")
    after: list[Any] = []
    layer = model.outputs[0]._keras_history[0]
    while type(layer).__name__ not in _HEADS:
        if type(layer).__name__ not in _AFTER:
            raise _refusal(f"it ends in '{layer.name}', a {type(layer).__name__}")
        after.append(layer)
        layer = layer.input._keras_history[0]
    config = layer.get_config()
    config["trainable"] = True  # frozen layers are the model's; this one is new
    config["units" if type(layer).__name__ == "Dense" else "filters"] = classes
    head = type(layer).from_config(config)
    tensor = head(layer.input)
    for step in reversed(after):
        tensor = type(step).from_config(step.get_config())(tensor)
    inputs = model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)
    return replace(network, model=keras.Model(inputs, tensor, name=model.name)), head


@contextmanager
def only(model: Any, head: Any) -> Iterator[None]:
    """Meanwhile no layer but `head` is trained."""
    with _flags(model):
        for layer in models.layers(model):
            layer.trainable = layer is head
        yield


@contextmanager
def frozen(model: Any, freeze: Sequence[str], unfreeze: Sequence[str]) -> Iterator[None]:
    """Meanwhile layers that match a pattern of `freeze` are fixed, but for those of `unfreeze`,
    which are free even where the model came with them fixed.

    Raises:
        EdgepackError: EP105 for a pattern that matches no layer, EP206 where nothing is free.
    """
    every = list(models.layers(model))
    with _flags(model):
        for patterns, value in ((freeze, False), (unfreeze, True)):
            for pattern in patterns:
                for layer in _matching(every, pattern):
                    layer.trainable = value
        if not model.trainable_variables:
            raise EdgepackError(
                "EP206", "Every layer is frozen", hint="Name what to train in 'unfreeze'."
            )
        yield


@contextmanager
def thawed(model: Any) -> Iterator[None]:
    """Meanwhile every layer is trained, also those that the model came with fixed.

    Layers are frozen so that a training leaves them as they are; where a compression has
    already changed them, they have to be able to make up for it.
    """
    with _flags(model):
        models.thaw(model)
        yield


@contextmanager
def _flags(model: Any) -> Iterator[None]:
    """Layers and nested models are afterwards as trainable as they were."""
    # Outer ones first, as setting one sets all within; layers last of all, as one layer may
    # be in several models.
    every = list(model._flatten_layers())
    every += [layer for layer in every if not hasattr(layer, "layers")]
    before = [(layer, layer.trainable) for layer in every]
    try:
        yield
    finally:
        for layer, value in before:
            layer.trainable = value


def _matching(every: Sequence[Any], pattern: str) -> list[Any]:
    matching = [layer for layer in every if fnmatch.fnmatchcase(layer.name, pattern)]
    if not matching:
        names = ", ".join(layer.name for layer in every[:8])
        raise EdgepackError(
            "EP105",
            f"No layer's name matches '{pattern}'",
            hint=f"Layers are {names}{', …' if len(every) > 8 else ''}.",
        )
    return matching


def _refusal(why: str) -> EdgepackError:
    return EdgepackError(
        "EP206",
        f"The head of this network cannot be replaced: {why}",
        hint=f"Heads are one output's last {', '.join(_HEADS)}; leave 'head' out otherwise.",
    )

"""Keras 3 and tf_keras models as training needs them: copied, wired up, walked through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import KerasNetwork, Network
from edgepack.errors import EdgepackError


def library(network: KerasNetwork) -> Any:
    """The module that the network's model belongs to: keras or tf_keras."""
    tensorflow()
    with quiet():
        if network.framework == "tf_keras":
            import tf_keras

            return tf_keras
        import keras

        return keras


def trainable_copy(network: Network, name: str, seed: int) -> KerasNetwork:
    """A copy to train, with every random layer and initializer seeded.

    Seeds Python's, NumPy's and TensorFlow's global generators, because layers without a
    seed of their own draw one from them when they are made.

    Raises:
        EdgepackError: EP206 for a network whose layers cannot be seen or copied.
    """
    if not isinstance(network, KerasNetwork):
        raise _refusal(name, "it is a SavedModel without Keras layers", "Give the Keras model.")
    keras = library(network)
    keras.utils.set_random_seed(seed)
    try:
        model = keras.models.clone_model(network.model)
        model.set_weights(network.model.get_weights())
    except Exception as error:  # layers of any origin: anything can come
        reason = " ".join(str(error).split())[:200]
        raise _refusal(name, f"it cannot be copied: {reason}", "Leave this pass out.") from error
    return replace(network, model=model)


def wire(network: KerasNetwork, extra: Sequence[Any] = ()) -> Any:
    """The same layers as a model from a list of inputs to a list: outputs, then `extra`."""
    model = network.model
    return library(network).Model(list(model.inputs), [*model.outputs, *extra])


def layers(model: Any) -> Iterator[Any]:
    """Every layer that is no model itself, once, through nested models and wrappers."""
    seen: set[int] = set()
    stack = list(reversed(model.layers))
    while stack:
        layer = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        inner = getattr(layer, "layers", None) or [
            part
            for part in (getattr(layer, key, None) for key in _WRAPPED)
            if hasattr(part, "get_config")
        ]
        stack.extend(reversed(inner))
        if not hasattr(layer, "layers"):
            yield layer


def thaw(model: Any) -> None:
    """Let every layer be trained, those of nested models too."""
    for layer in list(model._flatten_layers()):  # setting an outer one need not reach all within
        layer.trainable = True


# Where wrappers keep their layer: TimeDistributed and Bidirectional, SpectralNormalization.
_WRAPPED = ("layer", "forward_layer", "backward_layer")


@contextmanager
def short_memory(model: Any, steps: int) -> Iterator[None]:
    """Batch statistics that a short training can follow.

    Keras's default momentum of 0.99 still holds a third of the old statistics after 110
    steps. Here a moving average spans at most the last tenth of `steps`, so that what is kept
    at the end belongs to the trained weights; momenta are restored afterwards.
    """
    longest = 1 - 1 / max(2.0, steps / 10)
    norms = [layer for layer in layers(model) if hasattr(layer, "moving_mean")]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = min(layer.momentum, longest)
    try:
        yield
    finally:
        for layer, momentum in zip(norms, before, strict=True):
            layer.momentum = momentum


def zero_masks(model: Any) -> list[tuple[Any, Any]]:
    """(weight, mask) of every trainable weight of two or more dimensions that holds zeros."""
    tf = tensorflow()
    masks = []
    for weight in model.trainable_variables:
        if len(weight.shape) < 2:
            continue
        kept = tf.cast(tf.not_equal(tf.convert_to_tensor(weight), 0), weight.dtype)
        if not bool(tf.reduce_all(kept > 0)):
            masks.append((weight, kept))
    return masks


def _refusal(name: str, why: str, hint: str) -> EdgepackError:
    return EdgepackError("EP206", f"'{name}' cannot train this network: {why}", hint=hint)

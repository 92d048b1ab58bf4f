"""Networks saved for a fixed number of samples at a time, made to take any number.

Devices infer one sample at a time, so a `.tflite` for four could be neither checked nor
compared with anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import KerasNetwork, Network
from edgepack.compress.training import models
from edgepack.errors import EdgepackError

# The copy has the same layers: only the order of sums may differ.
_TOLERANCE = 1e-4


def freed(network: Network, where: str) -> Network:
    """The network with a free batch size where it is fixed above 1; else itself.

    Raises:
        EdgepackError: EP206 where its layers cannot do without the fixed size.
    """
    sizes = [spec.shape[0] for spec in network.inputs if spec.shape]
    fixed = next((size for size in sizes if size not in (None, 1)), None)
    if fixed is None:
        return network
    if not isinstance(network, KerasNetwork):
        raise _refusal(fixed, "a SavedModel without Keras layers cannot be changed", where)
    try:
        with quiet():
            free = replace(network, model=_rebuilt(network))
            difference = _difference(network, free)
    except Exception as error:  # layers of any origin: anything can come
        reason = " ".join(str(error).split())[:200]
        raise _refusal(fixed, reason, where) from error
    if not difference <= _TOLERANCE:
        raise _refusal(fixed, f"its outputs would differ by {difference:.2g}", where)
    return free


def _rebuilt(network: KerasNetwork) -> Any:
    """A copy of the model, weights and all, whose inputs have no batch size."""
    keras, nest, model = models.library(network), tensorflow().nest, network.model
    inputs: Any = [
        keras.Input(spec.shape[1:], dtype=spec.dtype, name=spec.name) for spec in network.inputs
    ]
    if network.framework == "keras" and getattr(model, "_inputs_struct", None) is not None:
        inputs = nest.pack_sequence_as(model._inputs_struct, inputs)
    copy = keras.models.clone_model(model, input_tensors=inputs)
    copy.set_weights(model.get_weights())
    return copy


def _difference(one: KerasNetwork, other: KerasNetwork) -> float:
    """The largest difference of any output on seeded inputs, as a share of the largest output."""
    rng = np.random.default_rng(0)
    inputs = {
        spec.name: rng.random([size or 8 for size in spec.shape]).astype(spec.dtype)
        for spec in one.inputs
    }
    ours, theirs = one.predict(inputs), other.predict(inputs)
    scale = max(1.0, *(float(np.abs(array).max()) for array in ours.values()))
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) / scale


def _refusal(size: int, why: str, where: str) -> EdgepackError:
    return EdgepackError(
        "EP206",
        f"The model takes {size} samples at a time, devices one, and it cannot be rebuilt: {why}",
        hint="Save it with a free batch size: Input without batch_size, layers not stateful.",
        where=where,
    )

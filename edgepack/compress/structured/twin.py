"""A tf_keras model as a Keras 3 model with the same outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.errors import EdgepackError

_TOLERANCE = 1e-4


def is_tf_keras(model: Any) -> bool:
    """Whether a model is one of tf_keras's, without importing it."""
    return any(base.__module__.startswith("tf_keras.") for base in type(model).__mro__)


def to_keras3(model: Any, *, seed: int = 0) -> Any:
    """The same net in Keras 3, read back from a legacy HDF5 file.

    Its outputs on seeded random inputs are compared with the original's.

    Raises:
        EdgepackError: EP206 when Keras 3 cannot read the net, or computes something else.
    """
    import keras
    from keras.src.saving.serialization_lib import in_safe_mode  # no public name

    # A Lambda that the user allowed to be loaded may be read again.
    safe = in_safe_mode() is not False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        try:
            model.save(path, save_format="h5", include_optimizer=False)
            twin = keras.saving.load_model(path, compile=False, safe_mode=safe)
        except Exception as error:  # either library's code for any layer: anything can come
            raise _refusal(model, f"Keras 3 cannot read it: {error}") from error
    difference = _difference(model, twin, seed)
    if not difference <= _TOLERANCE:
        raise _refusal(model, f"Keras 3 computes outputs that differ by {difference:.2g}")
    return twin


def _difference(model: Any, twin: Any, seed: int) -> float:
    """The largest difference of any output element, as a share of the largest output."""
    import keras

    rng = np.random.default_rng(seed)
    inputs = [
        rng.random([2, *(size or 8 for size in tensor.shape[1:])]).astype(tensor.dtype)
        for tensor in twin.inputs
    ]
    given: Any = inputs[0] if len(inputs) == 1 else inputs
    pairs = zip(
        keras.tree.flatten(model(given, training=False)),
        keras.tree.flatten(twin(given, training=False)),
        strict=True,
    )
    arrays = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    scale = max(1.0, *(float(np.abs(a).max()) for a, _ in arrays))
    return max(float(np.abs(a - b).max()) for a, b in arrays) / scale


def _refusal(model: Any, what: str) -> EdgepackError:
    return EdgepackError(
        "EP206",
        f"model '{model.name}' is a tf_keras model without a Keras 3 twin: {what}",
        hint="Rebuild it with Keras 3 and load the weights, or leave out structured pruning.",
    )

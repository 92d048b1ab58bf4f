"""Checks shared by the tests of structured pruning: dead channels, random cuts, TFLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from edgepack.compress.graph import trace
from edgepack.compress.structured.anatomy import Anatomy, analyse
from edgepack.compress.structured.api import Cut, mask_of
from edgepack.compress.structured.ledger import Role

MADE = frozenset({Role.OUT, Role.SCALE, Role.OTHER})
READ = frozenset({Role.IN})


def anatomy_of(model: Any) -> Anatomy:
    return analyse(trace(model))


def random_cut(anatomy: Anatomy, seed: int, share: float = 0.7) -> Cut:
    """Some channels, never all, of about `share` of the groups."""
    rng = np.random.default_rng(seed)
    removed = {}
    for group in anatomy.groups:
        if group.units.size > 1 and rng.random() < share:
            count = int(rng.integers(1, group.units.size))
            chosen = rng.choice(group.units.size, count, replace=False)
            removed[group.name] = tuple(sorted(int(position) for position in chosen))
    return Cut(removed=removed)


def zero(anatomy: Anatomy, cut: Cut, roles: frozenset[Role]) -> None:
    """Set to zero, in the model itself, the weights that make or read the channels of a cut."""
    mask = mask_of(anatomy, cut)
    for slot in anatomy.slots:
        if slot.role in roles:
            weights = slot.op.get_weights()
            where: list[Any] = [slice(None)] * weights[slot.weight].ndim
            where[slot.axis] = anatomy.removed(slot.atoms, mask)
            weights[slot.weight][tuple(where)] = 0
            slot.op.set_weights(weights)


def outputs(model: Any, inputs: Sequence[Any]) -> list[np.ndarray]:
    # A Sequential keeps the structure of its inputs in the functional model inside.
    functional = getattr(model, "_functional", None) or model
    given = keras.tree.pack_sequence_as(functional._inputs_struct, list(inputs))
    return [np.asarray(y) for y in keras.tree.flatten(model(given, training=False))]


def difference(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
    """The largest difference of any element; infinite where a value is not a number."""
    worst = max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))
    return worst if np.isfinite(worst) else float("inf")


def run_as_tflite(model: Any, inputs: Sequence[Any]) -> list[np.ndarray]:
    """Convert to a float .tflite at the inputs' batch size, run it, give its outputs."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    specs = [tf.TensorSpec(x.shape, x.dtype, name=f"x{i}") for i, x in enumerate(inputs)]

    def call(*given: Any) -> Any:
        packed = keras.tree.pack_sequence_as(model._inputs_struct, list(given))
        return keras.tree.flatten(model(packed, training=False))

    function = tf.function(call).get_concrete_function(*specs)
    # Without the model as trackable object the converter skips a SavedModel: 5 times faster.
    content = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    by_name = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    for detail, x in zip(by_name, inputs, strict=True):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]

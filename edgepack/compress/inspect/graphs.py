"""The operations of a SavedModel without Keras layers, counted on its frozen graph at batch 1."""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import Any

import numpy as np

from edgepack.compress.inspect.document import OpCount, Weight
from edgepack.compress.inspect.layers import weight
from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import SavedModelNetwork

# Operations that multiply matrices in ways that shapes alone do not tell.
_UNCOUNTABLE = {"Einsum", "If", "StatelessIf", "StatelessWhile", "While", "XlaDotV2"}
_BOOKKEEPING = {"Const", "Identity", "IdentityN", "NoOp", "Placeholder"}


def operations(network: SavedModelNetwork) -> tuple[OpCount, ...]:
    """By type, the most frequent first; constants and plumbing are left out."""
    groups: dict[str, list[int | None]] = defaultdict(list)
    for operation in _frozen(network).graph.get_operations():
        if operation.type not in _BOOKKEEPING:
            groups[operation.type].append(_macs(operation))
    counts = [
        OpCount(
            type=kind,
            count=len(macs),
            macs=None if None in macs else sum(m for m in macs if m is not None),
        )
        for kind, macs in groups.items()
    ]
    return tuple(sorted(counts, key=lambda count: (-count.count, count.type)))


def weights(network: SavedModelNetwork) -> tuple[Weight, ...]:
    """The variables that the serving function reads."""
    return tuple(weight(str(v.name), np.asarray(v.numpy())) for v in network.function.variables)


def _frozen(network: SavedModelNetwork) -> Any:
    """The serving function with its calls inlined, its variables constant and its batch 1."""
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    specs = {
        spec.name: tf.TensorSpec((spec.shape[0] or 1, *spec.shape[1:]), spec.dtype, spec.name)
        for spec in network.inputs
        if spec.shape
    }
    with quiet():
        serve = tf.function(lambda tensors: network.function(**tensors), input_signature=[specs])
        return convert_variables_to_constants_v2(serve.get_concrete_function())


def _macs(operation: Any) -> int | None:
    """Multiply-accumulates of one operation; None where a size is not fixed."""
    kind = operation.type
    if kind in _UNCOUNTABLE:
        return None
    if kind in ("Conv2D", "Conv3D"):
        # Filters end with [in, out]: each output element takes one column.
        return _product(_shape(operation.outputs[0]), _shape(operation.inputs[1])[:-1])
    if kind == "DepthwiseConv2dNative":
        return _product(_shape(operation.outputs[0]), _shape(operation.inputs[1])[:2])
    if kind in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):
        gradient, kernel = _shape(operation.inputs[2]), _shape(operation.inputs[1])
        return _product(gradient, kernel[:-1])
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        inner = _shape(operation.inputs[0])[-2 if transposed else -1]
        return _product(_shape(operation.outputs[0]), [inner])
    return 0


def _shape(tensor: Any) -> list[int | None]:
    return list(tensor.shape) if tensor.shape.rank is not None else [None]


def _product(*shapes: list[int | None]) -> int | None:
    sizes = [size for shape in shapes for size in shape]
    return None if None in sizes else prod(int(size) for size in sizes if size is not None)

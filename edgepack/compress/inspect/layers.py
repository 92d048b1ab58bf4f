"""The layers of a Keras 3 or tf_keras model: shapes, parameters, multiply-accumulates, zeros.

MACs: each element of a layer's matrices once for every position that it is applied at, at
batch 1, over all calls of the layer. Products of activations inside attention are not
counted; where a size is not fixed, the count is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgepack.compress.inspect.document import Layer, Weight

_MODELS = ("Functional", "Sequential", "Model")
# Kernels that slide over the output, and ones that meet each position of the input once.
_AT_OUTPUT = {
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
}
_AT_INPUT = {
    "Bidirectional",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Dense",
    "GRU",
    "LSTM",
    "MultiHeadAttention",
    "SimpleRNN",
}
_TABLES = {"Embedding", "Normalization", "PReLU"}

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class _Call:
    path: str
    layer: Any
    input_shape: Shape | None
    output_shape: Shape | None


def layers(model: Any) -> tuple[Layer, ...]:
    """Every layer that is not itself a model, once, in the order in which they run."""
    calls: dict[int, list[_Call]] = {}
    for call in _calls(model, ""):
        calls.setdefault(id(call.layer), []).append(call)
    return tuple(_layer(group) for group in calls.values())


def weights(model: Any) -> tuple[Weight, ...]:
    """Every weight of the model, with its share of zeros."""
    found: list[Weight] = []
    for variable in model.weights:
        name = str(getattr(variable, "path", variable.name))
        found.append(weight(name, np.asarray(variable.numpy())))
    return tuple(found)


def weight(name: str, array: Any) -> Weight:
    """A float tensor as the document has it."""
    zeros = array.size - int(np.count_nonzero(array))
    return Weight(
        name=name,
        shape=tuple(int(size) for size in array.shape),
        dtype=str(array.dtype),
        elements=int(array.size),
        bytes=int(array.nbytes),
        sparsity=zeros / array.size if array.size else 0.0,
    )


def _calls(model: Any, prefix: str) -> Iterator[_Call]:
    """All calls of layers inside the model, with nested models unrolled."""
    graph = getattr(model, "_functional", None) or model  # a Keras 3 Sequential
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if by_depth is None:  # a model whose layers are connected by code alone
        yield from (_Call(f"{prefix}{layer.name}", layer, None, None) for layer in model.layers)
        return
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            layer = getattr(node, "operation", None) or node.layer  # Keras 3, Keras 2
            path = f"{prefix}{layer.name}"
            if type(layer).__name__ in _MODELS:
                yield from _calls(layer, f"{path}.")
            else:
                ins = getattr(node, "input_tensors", None)
                outs = getattr(node, "output_tensors", None)
                ins = node.keras_inputs if ins is None else ins
                yield _Call(
                    path, layer, _shape(ins), _shape(node.outputs if outs is None else outs)
                )


def _shape(tensors: Any) -> Shape | None:
    """The shape of the first tensor; None where there is none."""
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    while isinstance(tensors, (list, tuple)):
        if not tensors:
            return None
        tensors = tensors[0]
    return tuple(None if size is None else int(size) for size in tensors.shape)


def _layer(calls: list[_Call]) -> Layer:
    layer = calls[0].layer
    arrays = [np.asarray(w.numpy()) for w in getattr(layer, "weights", ())]
    matrices = [array for array in arrays if array.ndim >= 2]
    elements = sum(array.size for array in matrices)
    zeros = elements - sum(int(np.count_nonzero(array)) for array in matrices)
    works = [_macs(call, elements) for call in calls]
    return Layer(
        name=calls[0].path,
        type=type(layer).__name__,
        output_shape=calls[0].output_shape,
        params=int(sum(array.size for array in arrays)),
        macs=None if None in works else sum(work for work in works if work is not None),
        sparsity=zeros / elements if elements else None,
    )


def _macs(call: _Call, elements: int) -> int | None:
    kind = type(call.layer).__name__
    if not elements or kind in _TABLES:
        return 0
    shape = call.output_shape if kind in _AT_OUTPUT else call.input_shape
    if shape is None or kind not in _AT_OUTPUT | _AT_INPUT:
        return None
    first = getattr(call.layer, "data_format", None) == "channels_first"
    positions = shape[2:] if first else shape[1:-1]
    if None in positions:
        return None
    return elements * prod(size for size in positions if size is not None)

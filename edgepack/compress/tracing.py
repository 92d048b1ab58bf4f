"""Running a `.tflite` sample by sample, with a look at every tensor on the way.

Delegates hide what they fuse, so that this runs on the built-in kernels without XNNPACK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgepack.compress.flatgraph import FlatGraph, FlatTensor, read
from edgepack.compress.inspect import summarize
from edgepack.compress.levels import dequantize, quantize
from edgepack.compress.native import quiet
from edgepack.data.dataset import Array


def trace(content: bytes, inputs: Mapping[str, Array]) -> Iterator[dict[int, Array]]:
    """For each sample, the real values of all activations, by tensor index (float32).

    inputs: by signature name, first axis samples, real values. Constants and tensors that are
    neither floats nor quantized integers (shapes, indices) are left out.
    """
    graph = read(content)
    interpreter = _interpreter(content, every_tensor=True)
    watched = [graph.tensors[index] for index in activations(graph)]
    for feed in _feeds(content, inputs):
        _invoke(interpreter, feed)
        yield {tensor.index: _real(interpreter, tensor) for tensor in watched}


def infer(content: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Real outputs by name for all samples, as the runtime computes them by default."""
    interpreter = _interpreter(content, every_tensor=False)
    graph, signature = read(content), summarize(content).signature
    outputs = [graph.tensors[index] for index in graph.outputs]
    rows: list[list[Array]] = [[] for _ in outputs]
    for feed in _feeds(content, inputs):
        _invoke(interpreter, feed)
        for collected, tensor in zip(rows, outputs, strict=True):
            collected.append(_real(interpreter, tensor))
    return {
        spec.name: np.concatenate(collected)
        for spec, collected in zip(signature.outputs, rows, strict=True)
    }


def activations(graph: FlatGraph) -> list[int]:
    """The tensors that `trace` looks at."""
    made = [*graph.inputs, *(index for op in graph.ops for index in op.outputs)]
    tensors = (graph.tensors[index] for index in made)
    return [t.index for t in tensors if t.dtype == "float32" or (t.quantized and t.dtype != "int4")]


def _interpreter(content: bytes, *, every_tensor: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if every_tensor else OpResolverType.AUTO
    with quiet():  # XNNPACK tells of itself, once a process
        interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_preserve_all_tensors=every_tensor,
            experimental_op_resolver_type=kind,
        )
        interpreter.allocate_tensors()
    return interpreter


def _feeds(content: bytes, inputs: Mapping[str, Array]) -> Iterator[dict[int, Array]]:
    """For each sample, what to put into which input tensor."""
    graph, signature = read(content), summarize(content).signature
    named = [
        (graph.tensors[index], inputs[spec.name])
        for index, spec in zip(graph.inputs, signature.inputs, strict=True)
    ]
    for row in range(len(named[0][1])):
        yield {tensor.index: _stored(array[row : row + 1], tensor) for tensor, array in named}


def _invoke(interpreter: Any, feed: Mapping[int, Array]) -> None:
    for index, values in feed.items():
        interpreter.set_tensor(index, values)
    interpreter.invoke()


def _stored(real: Array, tensor: FlatTensor) -> Array:
    """Values in the tensor's type."""
    if not tensor.quantized:
        return real.astype(tensor.dtype)
    return quantize(real, tensor.scale[0], tensor.zero_point[0], tensor.dtype)


def _real(interpreter: Any, tensor: FlatTensor) -> Array:
    values: Array = interpreter.get_tensor(tensor.index)
    if not tensor.quantized:
        return values.astype(np.float32)
    return dequantize(values, tensor.scale[0], tensor.zero_point[0])

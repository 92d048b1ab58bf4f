"""Single kernels as `.tflite` files, written without TensorFlow: what the tables measure."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepack.compress.flatbuffer_quantizer import Rule, edge_quantize
from edgepack.compress.structured import Kernel

_IN, _OUT = "input", "output"
# Any ranges serve: time does not depend on values.
_RANGES = {_IN: (-1.0, 1.0), _OUT: (-4.0, 4.0)}


def name_of(kernel: Kernel, reads: int, makes: int) -> str:
    """What decides a kernel's time, in one word: also the name of its file."""
    (high, wide), (tall, broad) = kernel.image, kernel.size
    padding = "same" if kernel.same else "valid"
    strides = "x".join(map(str, kernel.strides))
    shape = f"{high}x{wide}-k{tall}x{broad}-s{strides}-{padding}"
    return f"{kernel.kind}-{shape}-{reads}-{makes}"


def build(kernel: Kernel, reads: int, makes: int, *, int8: bool) -> bytes:
    """A file with this kernel alone, with so many channels, weights seeded."""
    content = _float(kernel, reads, makes)
    return edge_quantize(content, [Rule()], _RANGES) if int8 else content


def _float(kernel: Kernel, reads: int, makes: int) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = [], [0], [3]
    rng = np.random.default_rng(0)
    for name, shape, constant in _tensors(kernel, reads, makes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        if constant:
            buffer: Any = schema.BufferT()
            values = rng.standard_normal(shape).astype("<f4")
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    code, operator = _operator(schema, kernel)
    model.operatorCodes, graph.operators = [code], [operator]
    model.subgraphs, model.signatureDefs = [graph], [_signature(schema)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensors(kernel: Kernel, reads: int, makes: int) -> list[tuple[str, tuple[int, ...], bool]]:
    """(name, shape, constant) of input, weights, bias and output, as TFLite lays them out."""
    if kernel.kind == "dense":
        weights: tuple[int, ...] = (makes, reads)
        return [(_IN, (1, reads), False), ("weights", weights, True), ("bias", (makes,), True),
                (_OUT, (1, makes), False)]  # fmt: skip
    (high, wide), (tall, broad) = kernel.image, kernel.size
    down, right = kernel.strides
    if not kernel.same:
        high, wide = high - tall + 1, wide - broad + 1
    after = (1, -(-high // down), -(-wide // right), makes)
    weights = (1, tall, broad, makes) if kernel.kind == "depthwise" else (makes, tall, broad, reads)
    before = (1, *kernel.image, reads)
    return [(_IN, before, False), ("weights", weights, True), ("bias", (makes,), True),
            (_OUT, after, False)]  # fmt: skip


def _operator(schema: Any, kernel: Kernel) -> tuple[Any, Any]:
    names = {"conv": "CONV_2D", "depthwise": "DEPTHWISE_CONV_2D", "dense": "FULLY_CONNECTED"}
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, names[kernel.kind])
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    relu = schema.ActivationFunctionType.RELU
    options: Any
    if kernel.kind == "dense":
        options = schema.FullyConnectedOptionsT()
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    else:
        depthwise = kernel.kind == "depthwise"
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        if depthwise:
            options.depthMultiplier = 1
        operator.builtinOptionsType = (
            schema.BuiltinOptions.DepthwiseConv2DOptions
            if depthwise
            else schema.BuiltinOptions.Conv2DOptions
        )
        options.strideH, options.strideW = kernel.strides
        options.padding = schema.Padding.SAME if kernel.same else schema.Padding.VALID
    options.fusedActivationFunction = relu
    operator.builtinOptions = options
    return code, operator


def _signature(schema: Any) -> Any:
    found = schema.SignatureDefT()
    found.signatureKey, found.subgraphIndex = "serving_default", 0
    for side, name, index in (("inputs", _IN, 0), ("outputs", _OUT, 3)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        setattr(found, side, [entry])
    return found

"""Reading a `.tflite` flatbuffer: signature, parameters, multiply-accumulates, zeros.

Counts come from the file itself, so that they hold for whatever a converter made of the
network. Hostile files are read in a child process only (see `runner`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgepack.compress.flatgraph import quantization_of
from edgepack.compress.flatmodel import unpacked
from edgepack.data.dataset import Array
from edgepack.model import Signature, TensorSpec

# schema.TensorType -> NumPy name; types that are missing here hold no weights.
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    15: "uint32",
    16: "uint16",
    17: "int4",
}
# Operators whose work cannot be read from shapes: loops run an unknown number of times.
_UNCOUNTABLE = {"WHILE", "CALL", "IF"}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a file holds. params: elements of constant weights and biases. macs: multiply-
    accumulates at the shapes in the file, None where a loop hides them. sparsity: share of
    zeros among weights of two or more dimensions, None without such. ops: name -> count.
    quantization: what the file already is (see `flatgraph.quantization_of`)."""

    signature: Signature
    params: int
    macs: int | None
    sparsity: float | None
    ops: dict[str, int]
    quantization: str


@dataclass(frozen=True, kw_only=True)
class OpWork:
    """One operator of any graph in the file: its type and multiply-accumulates (None: unknown)."""

    subgraph: int
    type: str
    macs: int | None


def summarize(content: bytes) -> Summary:
    """Read the file. Raises what the flatbuffer library raises on a damaged one."""
    model = unpacked(content)
    ops: dict[str, int] = {}
    macs: int | None = 0
    for entry in work(model):
        ops[entry.type] = ops.get(entry.type, 0) + 1
        macs = None if macs is None or entry.macs is None else macs + entry.macs
    params, sparsity = _weights(model)
    return Summary(
        signature=_signature(model),
        params=params,
        macs=macs,
        sparsity=sparsity,
        ops=ops,
        quantization=quantization_of(content),
    )


def work(model: Any) -> list[OpWork]:
    """Every operator of every graph, in the order of the file."""
    from ai_edge_litert import schema_py_generated as schema

    names = _enum_names(schema.BuiltinOperator)
    codes = [
        names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        for code in model.operatorCodes
    ]
    found = []
    for number, graph in enumerate(model.subgraphs):
        for operator in graph.operators or []:
            name = codes[operator.opcodeIndex]
            macs = None if name in _UNCOUNTABLE else _macs(name, operator, graph.tensors)
            found.append(OpWork(subgraph=number, type=name, macs=macs))
    return found


def _enum_names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


def _macs(name: str, operator: Any, tensors: list[Any]) -> int | None:
    """Multiply-accumulates of one operator: zero for those that do not multiply matrices."""

    def shape(index: int) -> tuple[int, ...]:
        return tuple(int(size) for size in tensors[index].shape)

    ins, outs = operator.inputs, operator.outputs
    if name in ("CONV_2D", "CONV_3D"):
        # Filters are [out, h, w, in] and [d, h, w, in, out].
        kernel = prod(shape(ins[1])[1:]) if name == "CONV_2D" else prod(shape(ins[1])[:-1])
        return prod(shape(outs[0])) * kernel
    if name == "DEPTHWISE_CONV_2D":
        return prod(shape(outs[0])) * prod(shape(ins[1])[1:3])
    if name == "TRANSPOSE_CONV":
        out_channels, height, width, _ = shape(ins[1])
        return prod(shape(ins[2])) * out_channels * height * width
    if name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return prod(shape(outs[0])) * shape(ins[0])[-1]
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        steps = shape(ins[0])[0 if operator.builtinOptions.timeMajor else 1]
        return steps * sum(prod(shape(i)) for i in ins[1:9] if i >= 0)
    return 0


def _weights(model: Any) -> tuple[int, float | None]:
    """Elements of all weights, and the share of zeros among those of two or more axes.

    Weights are constant floats, and constant integers that carry a quantization; other
    integers are shapes, axes and indices. A buffer that several tensors share counts once.
    """
    params = elements = zeros = 0
    for tensor, array in _constants(model):
        if array.dtype.kind != "f" and not _quantized(tensor):
            continue
        params += array.size
        if len(tensor.shape) >= 2:
            elements += array.size
            zeros += array.size - int(np.count_nonzero(array))
    return params, zeros / elements if elements else None


def _constants(model: Any) -> Iterator[tuple[Any, Array]]:
    seen: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            dtype = _DTYPES.get(tensor.type)
            if data is None or len(data) == 0 or dtype is None or tensor.buffer in seen:
                continue
            seen.add(tensor.buffer)
            raw = np.asarray(data, np.uint8)
            if dtype == "int4":
                nibbles = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)
                yield tensor, nibbles[: prod(tensor.shape)]
            else:
                yield tensor, raw.view(dtype)


def _quantized(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.scale is not None


def _signature(model: Any) -> Signature:
    """Names of the first signature in the order of the first subgraph's inputs and outputs."""
    graph = model.subgraphs[0]
    defs = [d for d in model.signatureDefs or [] if d.subgraphIndex == 0]
    inputs = {m.tensorIndex: _text(m.name) for m in defs[0].inputs} if defs else {}
    outputs = {m.tensorIndex: _text(m.name) for m in defs[0].outputs} if defs else {}
    return Signature(
        inputs=tuple(_tensor_spec(graph.tensors[i], inputs.get(i)) for i in graph.inputs),
        outputs=tuple(_tensor_spec(graph.tensors[i], outputs.get(i)) for i in graph.outputs),
    )


def _tensor_spec(tensor: Any, name: str | None) -> TensorSpec:
    free = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    single = _quantized(tensor) and len(tensor.quantization.scale) == 1
    return TensorSpec(
        name=name or _text(tensor.name),
        shape=tuple(None if size < 0 else int(size) for size in free),
        dtype=_DTYPES.get(tensor.type, "unknown"),
        scale=float(tensor.quantization.scale[0]) if single else None,
        zero_point=int(tensor.quantization.zeroPoint[0]) if single else None,
    )


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name

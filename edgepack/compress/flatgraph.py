"""A `.tflite` file's main graph as plain values: what quantizing and diagnosing look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgepack.compress.flatmodel import unpacked
from edgepack.data.dataset import Array

# Operators with weights: the ones by which a file's quantization is called.
WEIGHTED = frozenset(
    {
        "CONV_2D",
        "CONV_3D",
        "DEPTHWISE_CONV_2D",
        "TRANSPOSE_CONV",
        "FULLY_CONNECTED",
        "BATCH_MATMUL",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
_INTEGERS = {"int8": "int8", "uint8": "int8", "int16": "int16"}


@dataclass(frozen=True, kw_only=True)
class FlatTensor:
    """One tensor. scale, zero_point: float32 and int64 of one element, one a channel along
    `axis`, or none (real = scale * (q - zero_point)). data: raw bytes of a constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Array
    zero_point: Array
    axis: int
    data: Array | None

    @property
    def quantized(self) -> bool:
        """Whether integers stand for real numbers here."""
        return self.scale.size > 0

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and largest real number of a per-tensor quantized activation."""
        info = np.iinfo(self.dtype)
        scale, zero = float(self.scale[0]), int(self.zero_point[0])
        return (int(info.min) - zero) * scale, (int(info.max) - zero) * scale


@dataclass(frozen=True, kw_only=True)
class FlatOp:
    """One operator: its schema name, and its tensors by index (-1: an optional one left out)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FlatGraph:
    """The first subgraph: tensors by index, operators in the order they run."""

    tensors: tuple[FlatTensor, ...]
    ops: tuple[FlatOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def producers(self) -> dict[int, FlatOp]:
        """Tensor index -> the operator that makes it."""
        return {index: op for op in self.ops for index in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, list[FlatOp]]:
        """Tensor index -> the operators that read it."""
        readers: dict[int, list[FlatOp]] = defaultdict(list)
        for op in self.ops:
            for index in op.inputs:
                readers[index].append(op)
        return readers

    def name(self, op: FlatOp) -> str:
        """An operator is called by its first output."""
        return self.tensors[op.outputs[0]].name

    def activations(self, op: FlatOp) -> list[FlatTensor]:
        """The operator's inputs that are not constants."""
        found = (self.tensors[index] for index in op.inputs if index >= 0)
        return [tensor for tensor in found if tensor.data is None]


def read(content: bytes) -> FlatGraph:
    """Parse a file. Raises what the flatbuffer library raises on a damaged one."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(content)
    kinds, dtypes = _names(schema.BuiltinOperator), _names(schema.TensorType)
    graph = model.subgraphs[0]
    codes = [
        kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        for code in model.operatorCodes
    ]
    return FlatGraph(
        tensors=tuple(_tensor(i, t, model.buffers, dtypes) for i, t in enumerate(graph.tensors)),
        ops=tuple(
            FlatOp(kind=codes[op.opcodeIndex], inputs=_ints(op.inputs), outputs=_ints(op.outputs))
            for op in graph.operators or []
        ),
        inputs=_ints(graph.inputs),
        outputs=_ints(graph.outputs),
    )


def quantization_of(content: bytes) -> str:
    """What a file already is: "float", "fp16", "int4", "dynamic", "int8", "int16x8", "mixed".

    Any int4 weights make it int4. Else it goes by the operators with weights (all operators
    where none has any): int8 and int16x8 where all compute in integers, mixed where some do,
    and where none does by how the weights are stored.
    """
    graph = read(content)
    weights = {tensor.dtype for tensor in graph.tensors if tensor.data is not None and tensor.shape}
    if "int4" in weights:
        return "int4"
    working = [op for op in graph.ops if op.kind not in _CONVERSIONS and op.outputs]
    ops = [op for op in working if op.kind in WEIGHTED] or working
    computing = {_INTEGERS.get(_output(graph, op).dtype, "float") for op in ops}
    if len(computing) > 1:
        return "mixed"
    if computing and computing != {"float"}:
        return "int8" if computing == {"int8"} else "int16x8"
    if "int8" in weights:
        return "dynamic"
    return "fp16" if "float16" in weights else "float"


def _output(graph: FlatGraph, op: FlatOp) -> FlatTensor:
    return graph.tensors[op.outputs[0]]


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


def _ints(values: Iterable[int] | None) -> tuple[int, ...]:
    return tuple(int(value) for value in ([] if values is None else values))


def _tensor(index: int, tensor: Any, buffers: list[Any], dtypes: dict[int, str]) -> FlatTensor:
    quantization = tensor.quantization
    scale = None if quantization is None else quantization.scale
    zero_point = None if quantization is None or scale is None else quantization.zeroPoint
    data = buffers[tensor.buffer].data
    constant = data is not None and len(data) > 0
    return FlatTensor(
        index=index,
        name=tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name),
        shape=_ints(tensor.shape),
        dtype=dtypes[tensor.type].lower(),
        scale=np.asarray([] if scale is None else scale, np.float32),
        zero_point=np.asarray([] if zero_point is None else zero_point, np.int64),
        axis=0 if quantization is None else int(quantization.quantizedDimension),
        data=np.asarray(data, np.uint8) if constant else None,
    )

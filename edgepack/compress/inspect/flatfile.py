"""A `.tflite` in full: `python -m edgepack.compress.inspect.flatfile MODEL REPORT`.

Runs in a child process with limits, because a hostile file can crash the parser or the
interpreter. REPORT gets the `FlatReport` as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgepack import codec
from edgepack.compress import flatgraph, limits
from edgepack.compress.flatgraph import FlatGraph, FlatOp, FlatTensor
from edgepack.compress.flatmodel import unpacked
from edgepack.compress.inspect import interpreter
from edgepack.compress.inspect.document import Arena, Delegate, Op, OpCount, Quantization, Weight
from edgepack.compress.inspect.summary import OpWork, Summary, summarize, work


@dataclass(frozen=True, kw_only=True)
class FlatReport:
    """What the child found; delegate and arena are None, with a note, when it does not load."""

    summary: Summary
    quantization: str
    ops: tuple[OpCount, ...]
    nodes: tuple[Op, ...]
    weights: tuple[Weight, ...]
    arena: Arena | None
    delegate: Delegate | None
    notes: tuple[str, ...]


def main(model: str, report: str) -> None:
    """Read the file, load it, write the report."""
    limits.bound()
    found = examine(Path(model))
    Path(report).write_text(json.dumps(codec.to_json(found)), encoding="utf-8")


def examine(path: Path) -> FlatReport:
    """Everything that the file itself and the interpreter tell."""
    content = path.read_bytes()
    graph = flatgraph.read(content)
    constants = frozenset(tensor.index for tensor in graph.tensors if tensor.data is not None)
    loaded, notes = None, []
    try:
        loaded = interpreter.load(path, constants)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        notes.append(f"The interpreter here cannot load it: {reason}")
    works = work(unpacked(content))
    nodes = _nodes(graph, works, None if loaded is None else loaded.taken)
    left = tuple(f"{node.type} {node.name}" for node in nodes if node.delegated is False)
    return FlatReport(
        summary=summarize(content),
        quantization=flatgraph.quantization_of(content),
        ops=_counts(works, nodes),
        nodes=nodes,
        weights=tuple(_weight(t) for t in graph.tensors if _is_weight(t)),
        arena=None if loaded is None else loaded.arena,
        delegate=None if loaded is None else interpreter.delegate(loaded, left),
        notes=tuple(notes),
    )


def _nodes(graph: FlatGraph, works: list[OpWork], taken: frozenset[int] | None) -> tuple[Op, ...]:
    main_graph = [entry for entry in works if entry.subgraph == 0]
    return tuple(
        _node(graph, index, op, entry.macs, None if taken is None else index in taken)
        for index, (op, entry) in enumerate(zip(graph.ops, main_graph, strict=True))
    )


def _node(graph: FlatGraph, index: int, op: FlatOp, macs: int | None, delegated: bool | None) -> Op:
    output = graph.tensors[op.outputs[0]] if op.outputs else None
    matrices = [graph.tensors[i] for i in op.inputs if i >= 0 and _is_weight(graph.tensors[i])]
    return Op(
        index=index,
        type=op.kind,
        name="" if output is None else output.name,
        output_shape=() if output is None else output.shape,
        computes="" if output is None else output.dtype,
        weights=next((t.dtype for t in matrices if len(t.shape) > 1), None),
        macs=macs,
        delegated=delegated,
        quantization=None if output is None else _quantization(output),
    )


def _counts(works: list[OpWork], nodes: tuple[Op, ...]) -> tuple[OpCount, ...]:
    """By type, over all graphs of the file, the most frequent first."""
    groups: dict[str, list[OpWork]] = defaultdict(list)
    for entry in works:
        groups[entry.type].append(entry)
    known = bool(nodes) and nodes[0].delegated is not None
    counts = []
    for kind, entries in groups.items():
        macs = [entry.macs for entry in entries]
        total = None if None in macs else sum(m for m in macs if m is not None)
        taken = sum(1 for node in nodes if node.type == kind and node.delegated)
        counts.append(
            OpCount(type=kind, count=len(entries), macs=total, delegated=taken if known else None)
        )
    return tuple(sorted(counts, key=lambda count: (-count.count, count.type)))


def _is_weight(tensor: FlatTensor) -> bool:
    """Constant floats, and constant integers that carry a quantization (see `summary`)."""
    return tensor.data is not None and (tensor.dtype.startswith("float") or tensor.quantized)


def _weight(tensor: FlatTensor) -> Weight:
    if tensor.data is None:
        raise AssertionError("only constants are weights")
    elements = prod(tensor.shape)
    return Weight(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        elements=elements,
        bytes=tensor.data.size,
        sparsity=_zeros(tensor) / elements if elements else 0.0,
        quantization=_quantization(tensor),
    )


def _zeros(tensor: FlatTensor) -> int:
    """Elements whose real value is 0: those equal to the zero point of their channel."""
    data = np.asarray(tensor.data)
    if tensor.dtype == "int4":
        nibbles = np.stack([data & 15, data >> 4], axis=1).reshape(-1)[: prod(tensor.shape)]
        return int(np.count_nonzero(nibbles == 0))
    values = data.view(np.dtype(tensor.dtype)).reshape(tensor.shape)
    zero: np.ndarray | int = 0
    if tensor.zero_point.size == 1:
        zero = int(tensor.zero_point[0])
    elif tensor.zero_point.size > 1:
        ones = [1] * values.ndim
        ones[tensor.axis] = -1
        zero = tensor.zero_point.reshape(ones)
    return int(np.count_nonzero(values == zero))


def _quantization(tensor: FlatTensor) -> Quantization | None:
    if not tensor.quantized:
        return None
    if tensor.scale.size > 1:
        return Quantization(scheme="channel", axis=tensor.axis, scales=int(tensor.scale.size))
    return Quantization(
        scheme="tensor",
        scale=float(tensor.scale[0]),
        zero_point=int(tensor.zero_point[0]) if tensor.zero_point.size else 0,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

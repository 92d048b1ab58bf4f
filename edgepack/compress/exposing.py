"""Intermediate tensors made outputs: `python -m edgepack.compress.exposing MODEL REPORT …`.

A delegate keeps what lies inside its partition to itself; as an output of the model a tensor
must be written by whatever kernels run there. In a child process, like all that opens a file
from elsewhere. With MODEL and REPORT it lists the tensors (`Exposable`, JSON); with TARGET and
tensor indices after them ("3,7,9") it writes the model whose outputs those are, named by index.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgepack import codec
from edgepack.compress import flatgraph
from edgepack.compress.flatmodel import unpacked

_COMPARED = ("float32", "int8", "uint8", "int16")
"""Types of activations; others hold shapes, indices and resources."""


@dataclass(frozen=True, kw_only=True)
class Exposable:
    """One operation's result. op: its place in the graph; scale 0: not quantized."""

    op: int
    kind: str
    tensor: int
    name: str
    bytes: int
    scale: float
    zero_point: int


def main(model: str, report: str, target: str = "", tensors: str = "") -> None:
    """List, or write; see above."""
    content = Path(model).read_bytes()
    if target:
        wanted = [int(index) for index in tensors.split(",")]
        Path(target).write_bytes(exposed(content, wanted))
    else:
        listed = [codec.to_json(each) for each in exposable(content)]
        Path(report).write_text(json.dumps(listed), encoding="utf-8")


def exposable(content: bytes) -> list[Exposable]:
    """The results of the main graph's operations, in the order they run."""
    graph = flatgraph.read(content)
    found = []
    for number, op in enumerate(graph.ops):
        for index in op.outputs:
            tensor = graph.tensors[index]
            if tensor.dtype not in _COMPARED or not tensor.shape:
                continue
            size = prod(max(1, axis) for axis in tensor.shape) * np.dtype(tensor.dtype).itemsize
            found.append(
                Exposable(
                    op=number,
                    kind=op.kind,
                    tensor=index,
                    name=tensor.name,
                    bytes=size,
                    scale=float(tensor.scale[0]) if tensor.quantized else 0.0,
                    zero_point=int(tensor.zero_point[0]) if tensor.quantized else 0,
                )
            )
    return found


def exposed(content: bytes, tensors: Sequence[int]) -> bytes:
    """The file with these tensors of its main graph as its outputs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(content)
    graph = model.subgraphs[0]
    graph.outputs = list(tensors)
    for index in tensors:
        graph.tensors[index].name = str(index)
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            signature.outputs = [_named(schema.TensorMapT(), index) for index in tensors]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _named(entry: object, index: int) -> object:
    entry.name, entry.tensorIndex = str(index), index  # type: ignore[attr-defined]
    return entry


if __name__ == "__main__":
    main(*sys.argv[1:])

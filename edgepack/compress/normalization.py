"""Normalizations and softmaxes in a graph: what the converter decomposes them into."""

from __future__ import annotations

from edgepack.compress.flatgraph import FlatGraph, FlatOp, FlatTensor

# Operators that mix all channels of their input by weights.
MIXING = frozenset({"CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
# Operators whose results change steeply with small inputs, where eight bits are coarsest.
SENSITIVE = frozenset({"RSQRT", "SQRT", "DIV", "EXP", "LOG", "POW"})


def normalizing(graph: FlatGraph) -> list[FlatOp]:
    """Operators that a decomposed normalization is made of."""
    roots = [op for op in graph.ops if op.kind in SENSITIVE]
    return [op for root in roots for op in (*_upstream(graph, root), *downstream(graph, root, 3))]


def _upstream(graph: FlatGraph, op: FlatOp) -> list[FlatOp]:
    """From a square root back to the squares whose mean it takes."""
    found: list[FlatOp] = []
    front = [op]
    while front and len(found) < 8:
        step = front.pop(0)
        found.append(step)
        if step.kind in ("SQUARED_DIFFERENCE", "SQUARE"):
            continue
        makers = (graph.producers.get(index) for index in step.inputs)
        front += [m for m in makers if m is not None and m.kind not in MIXING]
    return found


def entering(graph: FlatGraph, op: FlatOp) -> list[FlatTensor]:
    """The activations that a normalization or softmax starts from."""
    chain = [op] if op.kind == "SOFTMAX" else _upstream(graph, op)
    made = {index for step in chain for index in step.outputs}
    return [t for step in chain for t in graph.activations(step) if t.index not in made]


def downstream(graph: FlatGraph, op: FlatOp, steps: int) -> list[FlatOp]:
    """The operator and the elementwise ones that follow it within some steps."""
    found = front = [op]
    for _ in range(steps):
        readers = [r for o in front for index in o.outputs for r in graph.consumers[index]]
        front = [reader for reader in readers if reader.kind in ("MUL", "ADD", "SUB", "NEG")]
        found = [*found, *front]
    return found

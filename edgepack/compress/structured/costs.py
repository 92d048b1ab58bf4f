"""Parameters and multiply-accumulates (MACs) of a model, whole or with units removed.

MACs counted: each element of a convolution's or matrix's weights once for every position it
is applied at, at batch 1. Additions, activations, normalizations, pooling and the products
of activations inside attention are not counted. A size that is not fixed counts as 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepack.compress.graph import Call, Graph
from edgepack.compress.structured.anatomy import Anatomy, Mask
from edgepack.compress.structured.rules.registry import kind_of

_TABLES = ("Embedding", "PReLU", "Normalization")


@dataclass(frozen=True)
class _Weight:
    """A weight: its shape, how often a MAC uses each element, its slots by axis."""

    shape: tuple[int, ...]
    uses: int
    slots: tuple[tuple[int, Any], ...]


class Costs:
    """Counts what is left of a model when units are removed."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        slots = defaultdict(list)
        for slot in anatomy.slots:
            slots[id(slot.op), slot.weight].append((slot.axis, slot.atoms))
        uses = _uses(anatomy.graph)
        self._weights = [
            _Weight(tuple(w.shape), uses[id(op)] * (len(w.shape) > 1), tuple(slots[id(op), i]))
            for op in anatomy.graph.operations
            for i, w in enumerate(getattr(op, "weights", ()))
        ]

    def params(self, mask: Mask) -> int:
        """Elements of all weights, trainable or not."""
        return sum(self._elements(weight, mask) for weight in self._weights)

    def macs(self, mask: Mask) -> int:
        """Multiply-accumulates of one inference at batch 1."""
        return sum(w.uses * self._elements(w, mask) for w in self._weights if w.uses)

    def _elements(self, weight: _Weight, mask: Mask) -> int:
        shape = list(weight.shape)
        for axis, atoms in weight.slots:
            shape[axis] -= int(np.count_nonzero(self._anatomy.removed(atoms, mask)))
        return math.prod(shape)


def _uses(graph: Graph) -> dict[int, int]:
    """For each layer, at how many positions its kernels are applied, over all its calls."""
    uses: dict[int, int] = defaultdict(int)
    for call in graph.calls:
        uses[id(call.op)] += _positions(graph, call)
    return uses


def _positions(graph: Graph, call: Call) -> int:
    kind = kind_of(call.op)
    if kind in _TABLES or not call.inputs or not getattr(call.op, "weights", ()):
        return 0
    inputs, outputs = graph.shapes[call.inputs[0]], graph.shapes[call.outputs[0]]
    shape = outputs if "Conv" in kind and "Transpose" not in kind else inputs
    if getattr(call.op, "data_format", None) == "channels_first":
        return _product(shape[2:])
    return _product(shape[1:-1])


def _product(sizes: Iterable[int | None]) -> int:
    return math.prod(1 if size is None else size for size in sizes)

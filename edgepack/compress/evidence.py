"""What two runs of a model, in float and in integers, show about each tensor they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepack.compress.flatgraph import FlatGraph, FlatTensor, read
from edgepack.compress.levels import dequantize, quantize
from edgepack.compress.tracing import trace
from edgepack.data.dataset import Array

_Real = npt.NDArray[np.float64]
# Operators that only move values: their input and output share one scale.
_SAME_SCALE = frozenset(
    {
        "CONCATENATION",
        "RESHAPE",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "TRANSPOSE",
        "PAD",
        "PADV2",
        "SQUEEZE",
        "EXPAND_DIMS",
        "STRIDED_SLICE",
        "SLICE",
        "SPLIT",
        "GATHER",
        "RESIZE_NEAREST_NEIGHBOR",
        "RESIZE_BILINEAR",
        "SPACE_TO_DEPTH",
        "DEPTH_TO_SPACE",
        "MIRROR_PAD",
    }
)


class Evidence:
    """Sums over samples for one tensor, by channel (the last axis), in real units.

    tensor: as the quantized file has it. low, high: the float values' ends. power: of the
    float values. noise: of what the whole quantized model gives against float. rounding: of
    what quantizing this tensor alone would do to the float values.
    """

    def __init__(self, tensor: FlatTensor, channels: int) -> None:
        self.tensor = tensor
        self.low: _Real = np.zeros(channels)
        self.high: _Real = np.zeros(channels)
        self.power: _Real = np.zeros(channels)
        self.noise: _Real = np.zeros(channels)
        self.rounding: _Real = np.zeros(channels)
        self.values = self.clipped = 0

    def add(self, expected: Array, got: Array) -> None:
        """Take in one sample's float and quantized values."""
        rows = expected.reshape(-1, len(self.low)).astype(np.float64)
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))
        self.power += np.square(rows).sum(axis=0)
        self.noise += np.square(rows - got.reshape(rows.shape)).sum(axis=0)
        if self.tensor.quantized:
            grid = self.tensor.scale[0], self.tensor.zero_point[0]
            alone = dequantize(quantize(rows, *grid, self.tensor.dtype), *grid)
            self.rounding += np.square(rows - alone).sum(axis=0)
            low, high = self.tensor.limits
            half = float(self.tensor.scale[0]) / 2
            self.clipped += int(((rows < low - half) | (rows > high + half)).sum())
        self.values += rows.size

    @property
    def span(self) -> float:
        """Width of the range that the float values take, zero included."""
        return float(self.high.max() - self.low.min())

    @property
    def spans(self) -> _Real:
        """The same for each channel."""
        return self.high - self.low

    @property
    def snr_db(self) -> float:
        """Signal to noise of the quantized model's values here."""
        return _decibel(float(self.power.sum()), float(self.noise.sum()))

    @property
    def own_snr_db(self) -> float:
        """Signal to noise if only this tensor were quantized."""
        return _decibel(float(self.power.sum()), float(self.rounding.sum()))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A quantized graph and the evidence for those of its tensors that the float one has.

    groups: tensor index -> the indices of all tensors that must share its scale.
    """

    graph: FlatGraph
    evidence: Mapping[int, Evidence]
    groups: Mapping[int, frozenset[int]]


def gather(float_model: bytes, quantized: bytes, inputs: Mapping[str, Array]) -> Case:
    """Run both files on the inputs (real values, first axis samples) and compare by name."""
    float_graph, graph = read(float_model), read(quantized)
    by_name = {tensor.name: tensor.index for tensor in float_graph.tensors}
    found: dict[int, Evidence] = {}
    runs = zip(trace(float_model, inputs), trace(quantized, inputs), strict=True)
    for expected, got in runs:
        for index, values in got.items():
            tensor = graph.tensors[index]
            reference = expected.get(by_name.get(tensor.name, -1))
            if reference is None or reference.size != values.size or not values.size:
                continue
            channels = reference.shape[-1] if reference.ndim > 1 else 1
            found.setdefault(index, Evidence(tensor, channels)).add(reference, values)
    return Case(graph=graph, evidence=found, groups=_groups(graph))


def _groups(graph: FlatGraph) -> dict[int, frozenset[int]]:
    """Joins the tensors around operators that only move values."""
    joined: dict[int, frozenset[int]] = {t.index: frozenset({t.index}) for t in graph.tensors}
    for op in graph.ops:
        if op.kind in _SAME_SCALE:
            members = [*op.outputs, *(tensor.index for tensor in graph.activations(op))]
            _join(joined, members)
    return joined


def _join(joined: dict[int, frozenset[int]], members: Iterable[int]) -> None:
    together = frozenset().union(*(joined[member] for member in members))
    for member in together:
        joined[member] = together


def _decibel(signal: float, noise: float) -> float:
    """10 log10(signal / noise), between -100 and 200 dB so that zeros stay comparable."""
    return float(np.clip(10 * np.log10((signal + 1e-30) / (noise + 1e-30)), -100, 200))

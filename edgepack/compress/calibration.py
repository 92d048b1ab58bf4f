"""Ranges of activations from data: which samples, and how a range follows from their values.

TensorFlow's converter takes the smallest and largest value it sees, and in its calibrator
tensors that share memory share their ranges. Here every activation of the float file is
looked at by itself, and a range is

- minmax: the smallest and largest value;
- percentile: what is left when the share 1 - p is cut from each end;
- mse: the range whose rounding and clipping together lose the least squared error, each end
  searched from the full range inwards (as in Nagel et al., "A White Paper on Neural Network
  Quantization", 2021, section 3.1.1).

Inputs and outputs of the whole model keep minmax: their ends are what a user sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgepack.compress.flatgraph import read
from edgepack.compress.tracing import activations, trace
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError

Method = Literal["minmax", "percentile", "mse"]
Sampling = Literal["seed", "class"]
Ranges = dict[str, tuple[float, float]]
_Counts = npt.NDArray[np.int64]

# 99.99% is the mildest of the percentiles compared by Wu et al., "Integer Quantization for
# Deep Learning Inference", 2020, and was the safest of them for convolutional nets.
PERCENTILE = 99.99
_BINS = 2048
_CANDIDATES = 64


def choose_rows(
    total: int, samples: int, *, seed: int, by: Sampling = "seed", labels: Array | None = None
) -> npt.NDArray[np.intp]:
    """Up to `samples` row numbers, sorted: drawn at random, or as many of each class.

    by="class" needs one integer label a row (else EP105); classes with too few rows leave
    their places to the others.
    """
    order = np.random.default_rng(seed).permutation(total)
    if by == "class":
        if labels is None or labels.dtype.kind != "i" or labels.ndim != 1:
            raise EdgepackError(
                "EP105",
                "Calibration samples cannot be chosen by class: the data has no class labels",
                hint='Use by = "seed", or give a dataset with integer labels.',
            )
        order = order[_round_robin(labels[order])]
    rows: npt.NDArray[np.intp] = np.sort(order[:samples])
    return rows


def _round_robin(labels: Array) -> npt.NDArray[np.intp]:
    """An order that takes the first row of each class, then the second of each, and so on."""
    turn = np.empty(len(labels), np.intp)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        turn[places] = np.arange(len(places))
    return np.lexsort((labels, turn))


def measure_ranges(
    content: bytes,
    inputs: Mapping[str, Array],
    method: Method = "minmax",
    *,
    percentile: float = PERCENTILE,
    bits: int = 8,
) -> Ranges:
    """Tensor name -> (low, high) of every float activation of a float `.tflite`.

    inputs: by signature name, real values. bits: of the activations to come, for mse. Every
    range holds zero, as padding and ReLU need it exactly.
    """
    graph = read(content)
    full = _minmax(content, inputs)
    outer = {*graph.inputs, *graph.outputs}
    named = {index: graph.tensors[index].name for index in full}
    if method == "minmax":
        return {named[index]: ends for index, ends in full.items()}
    result: Ranges = {}
    for index, counts in _histograms(content, inputs, full).items():
        edges = np.linspace(*full[index], _BINS + 1)
        if index in outer or not counts.any():
            result[named[index]] = full[index]
        elif method == "percentile":
            result[named[index]] = _cut(counts, edges, 1 - percentile / 100)
        else:
            result[named[index]] = _least_error(counts, edges, 2**bits)
    return result


def float_activations(content: bytes) -> dict[int, str]:
    """Tensor index -> name of what `measure_ranges` looks at in a float `.tflite`."""
    graph = read(content)
    return {
        index: graph.tensors[index].name
        for index in activations(graph)
        if graph.tensors[index].dtype == "float32"
    }


def merged(found: Iterable[Ranges]) -> Ranges:
    """Ranges over several sets of samples as `measure_ranges` (minmax) gives them over all of
    these samples at once: the least low, the greatest high, zero within."""
    result: Ranges = {}
    for ranges in found:
        for name, ends in ranges.items():
            low, high = result.get(name, (0.0, 0.0))
            result[name] = min(low, ends[0]), max(high, ends[1])
    return result


def _minmax(content: bytes, inputs: Mapping[str, Array]) -> dict[int, tuple[float, float]]:
    ends: dict[int, tuple[float, float]] = {}
    for tensors in trace(content, inputs):
        for index, values in tensors.items():
            if values.size:
                low, high = ends.get(index, (0.0, 0.0))
                ends[index] = min(low, float(values.min())), max(high, float(values.max()))
    return ends


def _histograms(
    content: bytes, inputs: Mapping[str, Array], full: Mapping[int, tuple[float, float]]
) -> dict[int, _Counts]:
    """Counts in equal bins over each full range; exact zeros are left out.

    A zero costs nothing in any range that holds it. After a ReLU half of all values are zero,
    which would double the share that a percentile cuts from the rest.
    """
    counts = {index: np.zeros(_BINS, np.int64) for index in full}
    for tensors in trace(content, inputs):
        for index, values in tensors.items():
            low, high = full.get(index, (0.0, 0.0))
            if high > low:
                bins = (values[values != 0] - low) * np.float32(_BINS / (high - low))
                counts[index] += np.bincount(
                    np.minimum(bins.astype(np.int32), _BINS - 1), minlength=_BINS
                )
    return counts


def _cut(counts: _Counts, edges: Array, share: float) -> tuple[float, float]:
    """The range without `share` of the values at each end."""
    below = np.cumsum(counts) / counts.sum()
    low = edges[np.searchsorted(below, share, side="right")]
    high = edges[np.searchsorted(below, 1 - share, side="left") + 1]
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(counts: _Counts, edges: Array, levels: int) -> tuple[float, float]:
    """The range with the least expected squared error, its longer end searched first."""
    centers = (edges[:-1] + edges[1:]) / 2
    low, high = float(edges[0]), float(edges[-1])
    shares = np.linspace(1.0, 1 / _CANDIDATES, _CANDIDATES)

    def best(lows: Array, highs: Array) -> tuple[float, float]:
        step = (highs - lows) / (levels - 1)
        outside = np.maximum(centers - highs[:, None], 0) + np.maximum(lows[:, None] - centers, 0)
        error = np.square(outside) @ counts + (outside == 0) @ counts * np.square(step) / 12
        chosen = int(np.argmin(error))
        return float(lows[chosen]), float(highs[chosen])

    def shrink_high(low: float, high: float) -> tuple[float, float]:
        return best(np.full(_CANDIDATES, low), high * shares)

    def shrink_low(low: float, high: float) -> tuple[float, float]:
        return best(low * shares, np.full(_CANDIDATES, high))

    steps = (shrink_high, shrink_low) if high >= -low else (shrink_low, shrink_high)
    for step in steps:
        low, high = step(low, high)
    return low, high

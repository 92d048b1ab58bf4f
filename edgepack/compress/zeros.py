"""What zeros and shared values do to a file, in words that follow from counting.

A `.tflite` stores a zero like any other number, so that only compression gains from it. Its
sparse encoding stores the nonzero values with an index each (one byte where a row has up to
256 elements, else two) and a segment end a row: rows run along the last axis of the weights
as the file holds them, the inputs.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import numpy as np

from edgepack.compress import flatgraph
from edgepack.compress.flatgraph import FlatTensor
from edgepack.compress.network import KerasNetwork
from edgepack.data.dataset import Array


def explain(network: KerasNetwork) -> tuple[str, ...]:
    """Notes on a pruned network: what its zeros gain as int8, and what they do not."""
    rows = [_as_rows(kernel) for kernel in _kernels(network)]
    if not rows:
        return ()
    notes = tuple(f"Every weight of a kernel of {r.size} became zero." for r in rows if not r.any())
    dense = sum(r.size for r in rows)
    zeros = 1 - sum(int(np.count_nonzero(r)) for r in rows) / dense
    sparse = sum(sparse_bytes(r, element=1) for r in rows)
    packed = len(gzip.compress(b"".join(_int8(r).tobytes() for r in rows), 9, mtime=0))
    change = "grow" if sparse >= dense else "shrink"
    return (
        *notes,
        f"{zeros:.0%} zeros: as int8 the weights are {_kb(dense)} with or without them, and "
        f"{_kb(packed)} compressed by gzip; sparse encoding would {change} the file "
        f"({_kb(sparse)}), and few CPUs run zeros faster.",
    )


def sparse_bytes(rows: Array, *, element: int) -> int:
    """Bytes of TFLite's sparse encoding of a matrix whose elements take `element` bytes."""
    count = int(np.count_nonzero(rows))
    index = 1 if rows.shape[1] <= 256 else 2
    segment = 1 if count < 256 else 2 if count < 65536 else 4
    return count * (element + index) + (len(rows) + 1) * segment


def lost(network: KerasNetwork, content: bytes, *, clusters: int) -> list[str]:
    """Notes where an int8 file holds fewer zeros than its network, or more than `clusters`
    values in a kernel (0: not asked); nothing where both were kept."""
    tensors = list(int8_weights(content))
    notes = []
    total = sum(values.size for _, values in tensors)
    zeros = 1 - sum(int(np.count_nonzero(values)) for _, values in tensors) / max(total, 1)
    expected = network.sparsity() or 0.0
    if zeros < expected - 0.01:
        notes.append(
            f"{zeros:.0%} of the file's weights are zero, {expected:.0%} of the network's."
        )
    many = [_layer(t) for t, values in tensors if clusters and most_values(t, values) > clusters]
    if many:
        notes.append(
            f"More than {clusters} values a channel in {', '.join(many)}: "
            "not clustered, or trained by another pass since."
        )
    return notes


def int8_weights(content: bytes) -> Iterator[tuple[FlatTensor, Array]]:
    """Every int8 weight of two or more dimensions in a file, and its integers."""
    for tensor in flatgraph.read(content).tensors:
        if tensor.dtype == "int8" and tensor.data is not None and len(tensor.shape) >= 2:
            yield tensor, tensor.data.view(np.int8).reshape(tensor.shape)


def most_values(tensor: FlatTensor, values: Array) -> int:
    """The largest number of different integers in any channel of a weight tensor."""
    if tensor.scale.size == 1:
        return len(np.unique(values))
    channels = np.moveaxis(values, tensor.axis, 0).reshape(values.shape[tensor.axis], -1)
    return max(len(np.unique(channel)) for channel in channels)


def _layer(tensor: FlatTensor) -> str:
    """The layer in a tensor's name, which the converter joins from operations by path."""
    return f"'{tensor.name.split(';')[0].rpartition('/')[0].rpartition('/')[2] or tensor.name}'"


def _kernels(network: KerasNetwork) -> list[Array]:
    return [weight for weight in network.model.get_weights() if weight.ndim >= 2]


def _as_rows(kernel: Array) -> Array:
    """Keras keeps the outputs last, the file keeps them first and the inputs last."""
    rows: Array = np.moveaxis(kernel, -1, 0).reshape(-1, kernel.shape[-2])
    return rows


def _int8(rows: Array) -> Array:
    """The weights as symmetric int8, one scale for all, near enough for counting."""
    return np.rint(rows * (127 / max(float(np.abs(rows).max()), 1e-12))).astype(np.int8)


def _kb(count: int) -> str:
    return f"{count / 1000:.1f} kB"

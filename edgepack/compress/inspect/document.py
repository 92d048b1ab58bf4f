"""What `edgepack inspect` says, as values; `api.to_document` makes `edgepack.inspect/1` of it."""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.model import OpTime, Signature


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Memory that the interpreter plans for activations, at batch 1 and without delegates.

    bytes: the spans that its plan gave to tensors. unplanned: tensors whose size is only known
    while running, which take memory of their own.
    """

    bytes: int
    unplanned: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """bytes: the file, or all files of a folder; gzip_bytes: the same, each compressed."""

    bytes: int
    gzip_bytes: int
    arena: Arena | None = None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A Keras layer by its path in nested models. macs: None where its kind is not known."""

    name: str
    type: str
    output_shape: tuple[int | None, ...] | None
    params: int
    macs: int | None
    sparsity: float | None


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """scheme: "tensor" (one scale) or "channel" (one for each index of `axis`).

    scale, zero_point: the only one, or None where there is one a channel; real = scale *
    (q - zero_point).
    """

    scheme: str
    axis: int | None = None
    scales: int = 1
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A constant or variable tensor. sparsity: share of exact zeros (real value 0)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    bytes: int
    sparsity: float
    quantization: Quantization | None = None


@dataclass(frozen=True, kw_only=True)
class Op:
    """An operator of a .tflite's main graph, in the order it runs, called by its first output.

    computes: "int8", "int16", "float32" … the type of its output; weights: the type of its
    constant matrix, None without one; delegated: whether XNNPACK took it, None when unknown.
    """

    index: int
    type: str
    name: str
    output_shape: tuple[int, ...]
    computes: str
    weights: str | None
    macs: int | None
    delegated: bool | None
    quantization: Quantization | None


@dataclass(frozen=True, kw_only=True)
class OpCount:
    """All operators of one type, over all graphs of the model."""

    type: str
    count: int
    macs: int | None
    delegated: int | None = None


@dataclass(frozen=True, kw_only=True)
class Delegate:
    """What XNNPACK took when the file was loaded here: its groups, and the operators left out."""

    name: str
    runtime: str
    machine: str
    partitions: int
    ops_total: int
    ops_delegated: int
    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OnData:
    """The model on a dataset's test split. metric: None where there are no labels to score."""

    samples: int
    task: str
    metric: str | None
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Each operation's time on one device, in the order they ran. estimated: the runtime has no
    profiler that is fine enough, and the graph was cut off after each operation instead."""

    device: str
    runtime: str
    estimated: bool
    ops: tuple[OpTime, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything that is known of one model; empty tables where a kind has no such thing."""

    model: str
    kind: str
    framework: str
    sha256: str
    sizes: Sizes
    signature: Signature
    params: int | None
    macs: int | None
    sparsity: float | None
    quantization: str | None = None
    layers: tuple[Layer, ...] = ()
    ops: tuple[OpCount, ...] = ()
    nodes: tuple[Op, ...] = ()
    weights: tuple[Weight, ...] = ()
    delegate: Delegate | None = None
    data: OnData | None = None
    timed: tuple[Timed, ...] = ()
    notes: tuple[str, ...] = ()

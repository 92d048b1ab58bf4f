"""What a device found out: the parts of a `result` and an `ops` event, and of `calibrated`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from edgepack.transport.fields import (
    LONGEST_NS,
    Code,
    Count,
    Name,
    Nanoseconds,
    Seconds,
    Sha256,
    Text,
    checked,
)


@checked
@dataclass(frozen=True, kw_only=True)
class TimedOp:
    """One operation's time; see `model.OpTime`."""

    name: Name
    index: Count
    partition: Count | None = None
    ns: Annotated[int, Field(ge=0, le=LONGEST_NS)]
    type: Name | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Ops:
    """Time by operation, over `runs` inferences of `total_ns` each; estimated: by no profiler."""

    event: Literal["ops"]
    variant: Name
    runs: Count
    total_ns: Count
    estimated: bool = False
    ops: Annotated[tuple[TimedOp, ...], Field(min_length=1, max_length=20000)]


@checked
@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error as the agent reports it."""

    code: Code
    what: Text
    hint: Text = ""


@checked
@dataclass(frozen=True, kw_only=True)
class UsedRuntime:
    """The runtime that was used."""

    name: Name
    version: Name | None = None
    api: Name | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class UsedAccelerator:
    """The accelerator that was asked for and the one used; see `model.Accelerator`."""

    requested: Name
    actual: Name
    ops_total: Count | None = None
    ops_delegated: Count | None = None
    ops_left: tuple[Name, ...] = ()
    xnnpack: bool = True
    adapter: Name | None = None
    types: dict[Name, Count] = field(default_factory=dict)


@checked
@dataclass(frozen=True, kw_only=True)
class CpuTime:
    """Processor time in the rounds; see `model.CpuUse`."""

    cores_used: Annotated[float, Field(ge=0)]
    helpers_share: Annotated[float, Field(ge=0, le=1)]


_Class = Annotated[int, Field(ge=0, lt=200)]
_Interval = tuple[float, float]


@checked
@dataclass(frozen=True, kw_only=True)
class MeasuredConfusion:
    """Samples by label and decision; see `model.Confusion`."""

    classes: Annotated[int, Field(ge=2, le=200)]
    cells: Annotated[tuple[tuple[_Class, _Class, Count], ...], Field(max_length=200 * 200)]


@checked
@dataclass(frozen=True, kw_only=True)
class MeasuredQuality:
    """A metric over `n` samples; the other fields: see `model.Quality`."""

    metric: Name
    value: float
    n: Count
    extra: dict[str, float] = field(default_factory=dict)
    correct: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] | None = None
    ci95: _Interval | None = None
    extra_ci95: dict[Name, _Interval] = field(default_factory=dict)
    confusion: MeasuredConfusion | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Swept:
    """The medians of the rounds with another number of threads, in nanoseconds."""

    threads: Annotated[int, Field(ge=1, le=4096)]
    medians_ns: Annotated[tuple[Nanoseconds, ...], Field(max_length=1_000_000)]


@checked
@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """What disturbed the rounds named, in seconds from the time line's start."""

    kind: Name
    from_s: float
    to_s: float
    rounds: tuple[Count, ...]


@checked
@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The board's state beside the rounds. start_ns: monotonic, as of `Samples`."""

    event: Literal["timeline"]
    start_ns: Count
    period_s: Seconds
    cost: Seconds
    columns: Annotated[tuple[Name, ...], Field(max_length=64)]
    rows: Annotated[tuple[tuple[float | None, ...], ...], Field(max_length=4096)]
    disturbances: Annotated[tuple[Disturbed, ...], Field(max_length=4096)] = ()


@checked
@dataclass(frozen=True, kw_only=True)
class Result:
    """How the measuring of one variant ended. Times in nanoseconds."""

    event: Literal["result"]
    variant: Name
    status: Literal["ok", "failed", "crashed", "timeout", "unsupported"]
    error: Problem | None = None
    runtime: UsedRuntime | None = None
    accelerator: UsedAccelerator | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    load_ns: Count | None = None
    first_ns: Count | None = None
    process_ns: Count | None = None
    setup_ns: Count | None = None
    timer_ns: Count | None = None
    peak_rss_bytes: Count | None = None
    cpu: CpuTime | None = None
    rounds: Count = 0
    warmup: dict[str, Any] | None = None
    quality: MeasuredQuality | None = None
    inputs_sha256: Sha256 | None = None
    flags: tuple[Name, ...] = ()
    mode: Literal["latency", "single-stream", "offline", "sustained"] = "latency"
    batch: Annotated[int, Field(ge=1, le=65536)] = 1
    excluded: tuple[Count, ...] = ()
    launches: Annotated[tuple[Count, ...], Field(max_length=100)] = ()
    sweep: Annotated[tuple[Swept, ...], Field(max_length=64)] = ()


# Of float32: a calibrated range is of float tensors.
_Real = Annotated[float, Field(ge=-3.4028235e38, le=3.4028235e38)]


@checked
@dataclass(frozen=True, kw_only=True)
class BoardData:
    """Calibration data on a device: the file, and how many samples of which split it holds."""

    sha256: Sha256
    bytes: Count
    split: Literal["train", "test"]
    samples: Annotated[int, Field(ge=1, lt=2**63)]


@checked
@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What a device's data give a float model. samples: run; ranges: (tensor, low, high)."""

    event: Literal["calibrated"]
    data: BoardData
    samples: Count
    runtime: UsedRuntime | None = None
    ranges: Annotated[tuple[tuple[Count, _Real, _Real], ...], Field(max_length=65536)] = ()

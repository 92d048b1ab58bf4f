"""What comes back from devices, and the run that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edgepack.model.artifacts import Agreement, Package
from edgepack.model.hardware import RuntimeSpec


class Status(StrEnum):
    """How the measuring of one variant on one device ended."""

    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why something was not measured: an error as data (see `errors.CATALOGUE`)."""

    code: str
    what: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """The accelerator asked for and the one used; `ops_*` are None where unknown.

    actual: "cpu" when the one asked for took no operation, "none" when nothing was loaded.
    ops_delegated: operations that it took; on the CPU those that XNNPACK took. ops_left: the
    others' names. xnnpack: whether XNNPACK was allowed. adapter: the GPU's name.
    types: operations by the number format they compute in ("int8", "float32", "hybrid", …).
    """

    requested: str = "cpu"
    actual: str = "cpu"
    ops_total: int | None = None
    ops_delegated: int | None = None
    ops_left: tuple[str, ...] = ()
    xnnpack: bool = True
    adapter: str | None = None
    types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CpuUse:
    """Processor time in the rounds: over wall time, and the share of helper threads in it."""

    cores_used: float
    helpers_share: float


@dataclass(frozen=True, kw_only=True)
class OpTime:
    """One operation's part of an inference, in the order in which they ran.

    name: as the runtime's profiler calls it; index: among the interpreter's operations, or
    among those inside the delegate's partition. partition: None for the interpreter's own
    kernels. share: of the time of all operations, 0 to 1. type: the number format, where the
    name tells it.
    """

    name: str
    index: int
    partition: int | None
    ns: int
    share: float
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first operation whose result on the device is not the host's, for one sample.

    op: its place in the graph; kind: "CONV_2D"; tensor: the name of the result. max_steps: the
    largest difference in steps (LSBs) of a quantized result, None for float; max_abs_diff: in
    real values. beyond_rounding: more than kernels differ that only round differently.
    """

    op: int
    kind: str
    tensor: str
    max_abs_diff: float
    max_steps: int | None
    beyond_rounding: bool


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How samples of each class were classified: cells (label, decision, samples), sorted.

    Only cells with samples are there. Samples without a decision (an output that is not a
    number) or with a label that the model does not have are in none.
    """

    classes: int
    cells: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A metric over `n` evaluation samples; `ci95` is its 95% confidence interval.

    extra: further metrics of the same samples ("top5", "auc", "rmse"); extra_ci95: the intervals
    of those that have one. confusion: for classes up to 200, None otherwise.
    correct: for top-1 accuracy, one bit a sample in order (hex, first sample in the highest
    bit of the first digit), so that paired tests can be made later; None otherwise.
    """

    metric: str
    value: float
    n: int
    ci95: tuple[float, float] | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    correct: str | None = None
    extra_ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    confusion: Confusion | None = None


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """The same variant with another number of threads: the medians of its stretches of
    rounds in ns, or of its launches where there are six and more."""

    threads: int
    medians_ns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One variant on one device: raw samples and everything needed to read them.

    rounds: one tuple a round, each the latencies of single inferences in nanoseconds (in mode
    "offline" from one inference's end to the next one's). started_ns: when each round began,
    monotonic. excluded: the positions of rounds that were disturbed and do not count. launches:
    the positions of the rounds with which a new process of the variant began, the first always.
    divergence: where the outputs begin to differ from the host's, where that was asked for.
    ops: the profile of operations, empty unless asked for; measured apart from the rounds.
    process_ns, load_ns, setup_ns, first_ns: the cold path: start of the process and import of the
    runtime; loading; of that, delegate set-up and allocation; first inference. timer_ns: what
    reading the clock costs, which each latency holds once.
    mode, batch: see `JobSettings`. warmup: "n", "seconds", "p50_ns", "steady", "steady_s".
    """

    variant: str
    device: str
    profile: str
    status: Status
    failure: Failure | None = None
    runtime: RuntimeSpec | None = None
    accelerator: Accelerator = field(default_factory=Accelerator)
    threads: int = 1
    rounds: tuple[tuple[int, ...], ...] = ()
    load_ns: int | None = None
    first_ns: int | None = None
    peak_rss_bytes: int | None = None
    cpu: CpuUse | None = None
    quality: Quality | None = None
    parity: Agreement | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    seed: int = 0
    inputs_sha256: str | None = None
    ops: tuple[OpTime, ...] = ()
    divergence: Divergence | None = None
    started_ns: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    launches: tuple[int, ...] = (0,)
    mode: str = "latency"
    batch: int = 1
    warmup: Mapping[str, Any] | None = None
    sweep: tuple[SweepPoint, ...] = ()
    process_ns: int | None = None
    setup_ns: int | None = None
    timer_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What one device's session cost: connections, execs and bytes each way.

    cipher: what SSH encrypted the way to the device with, by its name there (for example
    "aes128-gcm@openssh.com"); None where nothing was encrypted (this machine), where no
    connection came about, and in runs stored before it was recorded.
    """

    device: str
    connections: int = 0
    execs: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    blob_bytes: int = 0
    agent_bytes: int = 0
    seconds: float = 0.0
    cipher: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of `edgepack run`: a package measured on devices."""

    run_id: str
    started_at: str
    package: Package
    package_path: str | None
    measurements: tuple[Measurement, ...]
    transfers: tuple[Transfer, ...] = ()
    tags: tuple[str, ...] = ()
    git_commit: str | None = None
    git_branch: str | None = None
    note: str = ""

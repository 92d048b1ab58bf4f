"""What a device is asked to do, and how it is to measure."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgepack.model.artifacts import EvalData, Variant
from edgepack.model.hardware import Device, Profile


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How one job measures. Times in seconds; `ci` is the asked half-width of p50's 95%
    confidence interval as a share of p50 (0.01 = ±1%).

    wait_s: how long to wait for a device that another session measures on; cache_bytes: what
    the device may keep of this and other jobs' files, None for 2 GiB or a quarter of its disk;
    profile_ops: tell the time of each operation as well. output_samples: samples whose outputs
    come back for the host's own metrics, beyond the parity_samples that fit one event.

    warmup_s, warmup_max_s: least and most time to warm up; within it ends with the steady state.
    min_rounds: least number of stretches, rounds of 40 ms together (docs/protocol.md, "Measuring").
    mode: "latency", "single-stream" (at least min_s and min_queries a variant, by MLPerf
    LoadGen's rules), "offline" (throughput) or "sustained" (all of max_s, minute by minute).
    batch: samples an inference. sweep_threads: further thread counts to measure. stable_s: how
    long to wait for a cool and idle board; None: start as it is. launches: in how many processes,
    one after the other, each variant is measured; None: six in mode "latency" when one of them
    takes less than 50 µs, where a process's memory layout shows in the times, else one.
    """

    threads: int | None = None
    warmup_s: float = 0.5
    warmup_max_s: float = 2.0
    mode: str = "latency"
    min_s: float = 60.0
    min_queries: int = 1024
    batch: int = 1
    sweep_threads: tuple[int, ...] = ()
    stable_s: float | None = None
    min_rounds: int = 10
    max_s: float = 20.0
    ci: float = 0.01
    seed: int = 0
    timeout_s: float = 600.0
    parity_samples: int = 64
    quality_samples: int | None = None
    wait_s: float = 15.0
    cache_bytes: int | None = None
    profile_ops: bool = False
    output_samples: int = 0
    launches: int | None = None


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A file that a job needs, named by its content."""

    sha256: str
    bytes: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a device needs to verify a signed package: the SHA-256 of three of the job's blobs.

    manifest, signature: the package's; signers: OpenSSH's allowed-signers file.
    allow_rollback: take a package older than the newest one accepted.
    """

    manifest: str
    signature: str
    signers: str
    allow_rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one device is asked to do: measure these variants on this data.

    trust: None for a package that need not be signed. device_data: path of evaluation data that
    are on the device already, instead of `data`.
    """

    job_id: str
    device: Device
    profile: Profile
    variants: tuple[Variant, ...]
    data: EvalData | None
    blobs: tuple[Blob, ...]
    settings: JobSettings = field(default_factory=JobSettings)
    trust: Trust | None = None
    device_data: str | None = None

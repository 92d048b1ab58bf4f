"""What is concluded from results: statistics, comparisons, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Statistics of one measurement's samples, in microseconds."""

    n: int
    min: float
    p50: float
    p90: float
    p99: float
    mean: float
    stdev: float
    p50_ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant on one device against the baseline variant on the same device.

    speedup: baseline p50 / this p50 (above 1 is faster); size_ratio: bytes / baseline
    bytes; quality_delta: this quality - baseline quality; significant: whether the
    speed-up's confidence interval leaves out 1. None where it cannot be said.
    """

    variant: str
    device: str
    speedup: float | None
    speedup_ci95: tuple[float, float] | None
    size_ratio: float | None
    quality_delta: float | None
    significant: bool | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One variant for several boards: which, and what it costs on each.

    variant: the one whose largest cost is smallest, None when none is fit for every device;
    devices: the boards it was chosen for; costs: device -> p50 / the p50 of that device's own
    recommendation - 1 (0.12: 12% slower), devices where the two are the same or not known to
    differ left out; reason: all of it in words; lost: variant -> why it is not the one.
    """

    variant: str | None
    devices: tuple[str, ...]
    costs: Mapping[str, float]
    reason: str
    lost: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows, the Pareto front and the recommended variant of each device.

    fleet: what to ship when all boards get the same file; None for fewer than two boards.
    """

    baseline: str
    rows: tuple[Row, ...]
    pareto: Mapping[str, tuple[str, ...]]
    recommended: Mapping[str, str]
    reasons: Mapping[str, str] = field(default_factory=dict)
    fleet: Fleet | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits for the devices that `selector` names: a device, "tag:…", "profile:…", "*".

    limits: latency_p50_ms, latency_p90_ms, latency_p99_ms, quality, quality_drop, bytes,
    memory_bytes, energy_mj, load_ms, first_inference_ms: the largest allowed value ("quality":
    the smallest); latency_p90_regression and the like: the largest allowed growth against the
    baseline, as a share. accelerator: the one that must have run it ("gpu"); None: any.
    variant: the one that must meet them; None: the recommended one.
    """

    selector: str
    limits: Mapping[str, float]
    variant: str | None = None
    accelerator: str | None = None


class VerdictStatus(StrEnum):
    """pass, fail, unmeasured (something needed was not measured), none (no budget)."""

    PASS = "pass"  # noqa: S105  (the word a gate prints, not a password)
    FAIL = "fail"
    UNMEASURED = "unmeasured"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One limit held against one measured value.

    budget: "<selector>.<limit>"; decides: whether the verdict rests on it (checks of variants
    that the budget does not ask for are listed beside, for information); at_least: whether the
    value must reach the limit instead of staying at or below it; note: what the numbers do not
    say, such as "not significant" or why nothing was measured.
    """

    budget: str
    device: str
    variant: str
    value: float | None
    limit: float
    status: VerdictStatus
    decides: bool = True
    at_least: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says: a value, never an exception."""

    status: VerdictStatus
    checks: tuple[Check, ...] = ()

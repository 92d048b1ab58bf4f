"""One device's measurements, ready to be compared: what `compare` asks and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgepack.analysis import like, quality, stats
from edgepack.model import Latency, Measurement, Package, Quality, Run, Status, Variant

# Flags of the agent (`measure`).
NOT_FINITE = "non-finite-outputs"
# A flag of the host (parity): the device computes something else with the same file.
OUTPUTS_DIFFER = "outputs-differ"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One variant on one device. `latency` is None unless it was measured to the end."""

    measurement: Measurement
    variant: Variant | None
    latency: Latency | None
    quality: Quality | None

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.measurement.variant

    @property
    def bytes(self) -> int | None:
        """The variant's size; None when the package does not hold it."""
        return self.variant.bytes if self.variant else None

    @property
    def emulated(self) -> bool:
        """Whether the times come from an emulated processor."""
        return like.is_emulated(self.measurement)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All entries of one device, in the order they were reported."""

    device: str
    entries: tuple[Entry, ...]
    _speedups: dict[tuple[str, str], tuple[float, tuple[float, float]] | None] = field(
        default_factory=dict
    )

    def get(self, name: str) -> Entry | None:
        """The entry of that variant, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def speedup(self, base: Entry, other: Entry) -> tuple[float, tuple[float, float]] | None:
        """`stats.speedup` where both were measured alike, else None; computed once a pair.

        None on an emulator too: a faster variant there can be the slower one on the board.
        """
        key = (base.name, other.name)
        if key not in self._speedups:
            timed = all(one.latency is not None and not one.emulated for one in (base, other))
            usable = timed and not like.within_a_run(base.measurement, other.measurement)
            self._speedups[key] = (
                stats.speedup(base.measurement, other.measurement) if usable else None
            )
        return self._speedups[key]


def energy_mj(measurement: Measurement) -> float | None:
    """Energy of one inference in millijoules, where the board's sensors gave it."""
    found = measurement.environment.get("energy")
    value = found.get("mj_per_inference") if isinstance(found, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def benches(run: Run) -> list[Bench]:
    """The run's devices in the order of their first measurement.

    A device that reports a variant twice counts with its first report: the second could only
    come from a faulty agent.
    """
    found: dict[str, dict[str, Entry]] = {}
    for measurement in run.measurements:
        entries = found.setdefault(measurement.device, {})
        entries.setdefault(measurement.variant, entry(run.package, measurement))
    return [Bench(device=name, entries=tuple(by.values())) for name, by in found.items()]


def entry(package: Package, measurement: Measurement) -> Entry:
    """What is known of one measurement."""
    ok = measurement.status is Status.OK
    return Entry(
        measurement=measurement,
        variant=next((v for v in package.variants if v.name == measurement.variant), None),
        latency=stats.latency(measurement) if ok else None,
        quality=quality.measured(measurement) if ok else None,
    )


def pareto(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The variants that no other beats: p50, quality and bytes, on the measured values.

    A value that is missing counts as worse than any other. Of variants equal in all three the
    first stays.
    """
    points = [(entry.name, _point(entry)) for entry in entries if entry.latency]
    front: list[str] = []
    for position, (name, point) in enumerate(points):
        beaten = any(
            all(theirs <= ours for theirs, ours in zip(rival, point, strict=True))
            and (rival != point or other < position)
            for other, (_, rival) in enumerate(points)
            if other != position
        )
        if not beaten:
            front.append(name)
    return tuple(front)


def _point(entry: Entry) -> tuple[float, float, float]:
    """p50, badness and bytes: smaller is better in each."""
    assert entry.latency is not None
    bad = float("inf")
    if entry.quality:
        lower = quality.better_is_lower(entry.quality.metric)
        bad = entry.quality.value if lower else -entry.quality.value
    return entry.latency.p50, bad, float("inf") if entry.bytes is None else float(entry.bytes)

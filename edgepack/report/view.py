"""What every report for people shows, gathered once: cleaned text and values with units.

Renderers (terminal, HTML, Markdown) read this and only lay it out. All text of a user or
device has gone through `text.plain` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepack.analysis import bench, like, words
from edgepack.model import (
    Check,
    Comparison,
    Divergence,
    Latency,
    Measurement,
    Quality,
    Row,
    Run,
    Status,
    Verdict,
    VerdictStatus,
)
from edgepack.report import modes, text

SPARK_BARS = 10


@dataclass(frozen=True, kw_only=True)
class Line:
    """One variant on one device."""

    variant: str
    bytes: int | None
    latency: Latency | None
    quality: Quality | None
    row: Row
    measurement: Measurement
    is_baseline: bool
    recommended: bool
    on_front: bool
    reason: str
    flags: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are times to show."""
        return self.latency is not None

    @property
    def size(self) -> str:
        """ "102 kB"."""
        return text.size(self.bytes)

    @property
    def p50(self) -> str:
        """ "61.0 µs ±0.4%"."""
        if self.latency is None:
            return "–"
        return text.with_interval(self.latency.p50, self.latency.p50_ci95)

    @property
    def p90(self) -> str:
        """ "70.1 µs"."""
        return text.microseconds(self.latency.p90) if self.latency else "–"

    @property
    def p99(self) -> str:
        """ "80.1 µs"."""
        return text.microseconds(self.latency.p99) if self.latency else "–"

    @property
    def memory(self) -> str:
        """The peak of the measuring process: "48.0 MB"."""
        return text.size(self.measurement.peak_rss_bytes) if self.ok else "–"

    @property
    def energy_mj(self) -> float | None:
        """Energy of one inference in millijoules, where the board's sensors gave it."""
        return bench.energy_mj(self.measurement) if self.ok else None

    @property
    def energy(self) -> str:
        """ "12.3 mJ"."""
        return text.millijoules(self.energy_mj)

    @property
    def spark(self) -> str:
        """The distribution from the least time to p99, as small bars."""
        if self.latency is None:
            return ""
        import numpy as np

        us = np.concatenate([np.asarray(r, dtype=float) for r in self.measurement.rounds]) / 1e3
        ends = (self.latency.min, max(self.latency.p99, self.latency.min * 1.001))
        counts, _ = np.histogram(us, bins=SPARK_BARS, range=ends)
        return text.sparkline([float(count) for count in counts])

    @property
    def speedup(self) -> str:
        """ "2.71× (2.66–2.76)", "not significant", "baseline", or "–"."""
        return "baseline" if self.is_baseline and self.ok else text.speedup(self.row)

    @property
    def score(self) -> str:
        """The quality: "91.20%"."""
        return words.value(self.quality) if self.quality else "–"

    @property
    def delta(self) -> str:
        """The quality's change against the baseline, in points for a share; "" for none."""
        if self.quality is None or self.row.quality_delta is None or self.is_baseline:
            return ""
        return words.signed(self.row.quality_delta, self.quality.metric, unit="")


@dataclass(frozen=True, kw_only=True)
class DeviceView:
    """One device: its lines in the order measured, and what is said about them."""

    name: str
    profile: str
    setting: str
    metric: str
    lines: tuple[Line, ...]
    recommended: str | None
    reason: str
    failures: tuple[str, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def inferences(self) -> str:
        """What each time is of: "single inferences", or "batches of 16"."""
        sizes = dict.fromkeys(line.measurement.batch for line in self.lines if line.ok)
        told = (f"batches of {size}" if size > 1 else "single inferences" for size in sizes)
        return " and ".join(told) or "single inferences"


def devices(run: Run, comparison: Comparison) -> list[DeviceView]:
    """Every device of a run."""
    rows = {(row.device, row.variant): row for row in comparison.rows}
    return [_device(found, rows, comparison) for found in bench.benches(run)]


def headline(run: Run, comparison: Comparison, found: Verdict) -> str:
    """What to ship, in a sentence or two; with a gate that did not pass: not to ship."""
    names = dict.fromkeys(measurement.device for measurement in run.measurements)
    chosen = [name for name in names if name in comparison.recommended]
    without = [text.plain(name) for name in names if name not in comparison.recommended]
    rest = f" No recommendation for {', '.join(without)}." if chosen and without else ""
    best = _best(chosen, comparison, all_devices=not without)
    if found.status is VerdictStatus.FAIL:
        return f"Not ready to ship: the gate failed. The best is {best}.{rest}"
    if found.status is VerdictStatus.UNMEASURED:
        return f"Not ready to ship: the gate could not decide. The best is {best}.{rest}"
    return f"Ship {best}.{rest}" if chosen else "No variant can be recommended."


def _best(chosen: Sequence[str], comparison: Comparison, *, all_devices: bool) -> str:
    variants = list(dict.fromkeys(comparison.recommended[name] for name in chosen))
    if not variants:
        return "unknown"
    if len(variants) > 1 or len(chosen) == 1:
        pairs = [f"{comparison.recommended[name]} on {name}" for name in chosen]
        return text.plain(", ".join(pairs))
    where = "every device" if all_devices else "the measured devices"
    return f"{text.plain(variants[0])} on {where}"


def check(found: Check) -> str:
    """One check in words: "pi4 int8: latency_p90_ms 1.02 (limit ≤ 5)"."""
    limit = found.budget.rpartition(".")[2]
    where = f"{found.device} {found.variant}".strip() or f"no device matches {found.budget}"
    note = f"; {found.note}" if found.note else ""
    if limit == "accelerator":
        return text.plain(f"{where}: accelerator {found.note or 'not measured'}")
    sign = "≥" if found.at_least else "≤"
    said = share if limit.endswith("_regression") else number
    value = "not measured" if found.value is None else said(found.value)
    return text.plain(f"{where}: {limit} {value} (limit {sign} {said(found.limit)}){note}")


def share(value: float) -> str:
    """A change against the baseline: "+7.2%"."""
    return f"{100 * value:+z.1f}%".replace("-", "−")


def divergence(found: Divergence, variant: str) -> str:
    """Where device and host part, in words."""
    gap = f"{found.max_abs_diff:.3g}" if found.max_steps is None else f"{found.max_steps} steps"
    doubt = "" if found.beyond_rounding else ", no more than rounding"
    return text.plain(
        f"{variant}: device and host part at operation {found.op}, {found.kind} "
        f"({found.tensor}): {gap}{doubt}"
    )


def number(value: float) -> str:
    """A measured or budgeted number: whole ones in full, others with four digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def verdict(found: Verdict) -> str:
    """The verdict in one sentence."""
    deciding = [c for c in found.checks if c.decides]
    failed = sum(c.status is VerdictStatus.FAIL for c in deciding)
    open_ = sum(c.status is VerdictStatus.UNMEASURED for c in deciding)
    total = len(deciding)
    match found.status:
        case VerdictStatus.NONE:
            return "No budget was given."
        case VerdictStatus.PASS:
            return f"Gate passed: {total} of {total} checks."
        case VerdictStatus.FAIL:
            more = f", {open_} not measured" if open_ else ""
            return f"Gate failed: {failed} of {total} checks{more}."
        case VerdictStatus.UNMEASURED:
            return f"Gate undecided: {open_} of {total} checks could not be measured."


def alternatives(found: Verdict) -> Mapping[str, tuple[str, ...]]:
    """Devices where the variant that decides fails, and the variants that meet every limit."""
    failing = {c.device for c in found.checks if c.decides and c.status is not VerdictStatus.PASS}
    passing: dict[str, tuple[str, ...]] = {}
    for device in failing:
        others = [c for c in found.checks if c.device == device and not c.decides]
        names = dict.fromkeys(c.variant for c in others)
        meets = tuple(
            text.plain(name)
            for name in names
            if all(c.status is VerdictStatus.PASS for c in others if c.variant == name)
        )
        if meets:
            passing[text.plain(device)] = meets
    return passing


def _device(
    found: bench.Bench, rows: Mapping[tuple[str, str], Row], comparison: Comparison
) -> DeviceView:
    common = _common_flags(found.entries)
    lines = tuple(
        _line(entry, rows[found.device, entry.name], comparison, common) for entry in found.entries
    )
    metrics = {words.metric(line.quality.metric) for line in lines if line.quality}
    recommended = comparison.recommended.get(found.device)
    return DeviceView(
        name=text.plain(found.device),
        profile=text.plain(found.entries[0].measurement.profile),
        setting=_setting(found.entries),
        metric=text.plain(metrics.pop()) if len(metrics) == 1 else "quality",
        lines=lines,
        recommended=None if recommended is None else text.plain(recommended),
        reason=text.plain(comparison.reasons.get(found.device, "")),
        failures=_failures(lines),
        flags=tuple(text.plain(flag, 40) for flag in common),
        notes=modes.notes([entry.measurement for entry in found.entries]),
    )


def _common_flags(entries: Sequence[bench.Entry]) -> tuple[str, ...]:
    """What casts doubt on every variant that was measured, and so on the device."""
    measured = [entry.measurement.flags for entry in entries if entry.latency]
    return (
        tuple(flag for flag in measured[0] if all(flag in m for m in measured)) if measured else ()
    )


def _line(entry: bench.Entry, row: Row, comparison: Comparison, common: Sequence[str]) -> Line:
    return Line(
        variant=text.plain(entry.name),
        bytes=entry.bytes,
        latency=entry.latency,
        quality=entry.quality,
        row=row,
        measurement=entry.measurement,
        is_baseline=entry.name == comparison.baseline,
        recommended=comparison.recommended.get(row.device) == entry.name,
        on_front=entry.name in comparison.pareto.get(row.device, ()),
        reason=text.plain(row.reason),
        flags=tuple(text.plain(f, 40) for f in entry.measurement.flags if f not in common),
    )


def _setting(entries: Sequence[bench.Entry]) -> str:
    """The runtimes, accelerators and threads used: one where all agree, else each."""
    told: dict[str, None] = {}
    for entry in entries:
        measurement = entry.measurement
        if measurement.runtime is None:
            continue
        threads = f"{measurement.threads} thread{'s' * (measurement.threads != 1)}"
        used = like.runtime(measurement), like.accelerator(measurement)
        told[f"{used[0]}, {used[1]}, {threads}{text.batches(measurement.batch)}"] = None
    return text.plain(" / ".join(told))


def _failures(lines: Sequence[Line]) -> tuple[str, ...]:
    """What was not measured and why; variants that failed alike are named together."""
    alike: dict[str, list[str]] = {}
    for line in lines:
        measurement = line.measurement
        if measurement.status is not Status.OK:
            said = f"{measurement.status}, {text.failure(measurement.failure)}"
            alike.setdefault(said, []).append(line.variant)
    return tuple(
        f"{'all variants' if len(names) == len(lines) > 1 else ', '.join(names)}: {said}"
        for said, names in alike.items()
    )

"""Has a value grown against the baseline, by more than the margin and not by chance?

A latency fails only when it grew by more than the margin *and* the interval of the growth
leaves out none: noise alone fails no release, nor does a certain but negligible change. A
quality likewise, by the paired test. Values that come once a measurement (bytes, memory,
energy, load, first inference) have no test and are held against the margin alone, which their
check says. What cannot be compared is unmeasured, and never passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.analysis import like, limits, quality, sessions, stats
from edgepack.analysis.across import unlike
from edgepack.analysis.bench import Entry
from edgepack.model import Run, VerdictStatus


@dataclass(frozen=True, kw_only=True)
class Side:
    """One measurement, and the run it belongs to."""

    run: Run
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How much a value grew (0.05: 5%; for quality: fell, absolute), and what that means."""

    status: VerdictStatus
    value: float | None = None
    note: str = ""


def held(limit: str, margin: float, now: Side, base: Side | None, missing: str) -> Finding:
    """A `*_regression` limit on one measurement. missing: why there is no `base`."""
    if base is None:
        return Finding(status=VerdictStatus.UNMEASURED, note=missing)
    if now.entry.latency is None or base.entry.latency is None:
        side = "it" if now.entry.latency is None else "the baseline"
        return Finding(status=VerdictStatus.UNMEASURED, note=f"{side} was not measured")
    if limits.says_nothing(limit, now.entry):
        return Finding(status=VerdictStatus.UNMEASURED, note="measured on an emulator")
    different = unlike(base.run, base.entry, now.run, now.entry)
    if different:
        note = f"not compared: {like.said(different)}"
        return Finding(status=VerdictStatus.UNMEASURED, note=note)
    name = limit.removesuffix("_regression")
    if name in limits.PERCENTILES:
        return _latency(limits.PERCENTILES[name], margin, now, base)
    if name == "quality":
        return _quality(margin, now.entry, base.entry)
    return _single(limits.SINGLE[name], margin, now.entry, base.entry)


def _latency(percent: int, margin: float, now: Side, base: Side) -> Finding:
    same = now.run.run_id == base.run.run_id
    speedup, interval = sessions.ratio(
        base.entry.measurement, now.entry.measurement, percent, paired=same
    )
    grown = 1 / speedup - 1
    if interval is None:
        note = f"too few samples to tell p{percent} from chance"
        return Finding(status=VerdictStatus.UNMEASURED, value=grown, note=note)
    chance = not stats.significant(interval)
    failed = grown > margin and not chance
    low, high = 1 / interval[1] - 1, 1 / max(interval[0], 1e-9) - 1
    note = "not significant" if chance else f"95% CI {100 * low:+z.1f}% to {100 * high:+z.1f}%"
    return Finding(status=_status(failed), value=grown, note=note.replace("-", "−"))


def _quality(margin: float, now: Entry, base: Entry) -> Finding:
    change = quality.change(base.measurement, now.measurement)
    if change is None:
        return Finding(status=VerdictStatus.UNMEASURED, note="quality cannot be compared")
    worse = change.delta if quality.better_is_lower(change.metric) else 0.0 - change.delta
    if change.significant is None and worse > margin:
        note = "the loss cannot be tested"
        return Finding(status=VerdictStatus.UNMEASURED, value=worse, note=note)
    failed = worse > margin and change.significant is True
    return Finding(
        status=_status(failed), value=worse, note="" if change.significant else "not significant"
    )


def _single(limit: str, margin: float, now: Entry, base: Entry) -> Finding:
    after, before = limits.value(limit, now, None), limits.value(limit, base, None)
    if after is None or before is None or before <= 0:
        return Finding(status=VerdictStatus.UNMEASURED, note="not measured on both sides")
    grown = after / before - 1
    note = "" if limit == "bytes" else "single values: the margin alone decides"
    return Finding(status=_status(grown > margin), value=grown, note=note)


def _status(failed: bool) -> VerdictStatus:
    return VerdictStatus.FAIL if failed else VerdictStatus.PASS

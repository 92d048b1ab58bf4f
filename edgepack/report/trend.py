"""Trends as text of at most 80 columns, and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from edgepack.analysis.trends import Change, Series
from edgepack.report import text

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*#@"
_WIDTH = 30
"""Columns of a sparkline: the newest runs."""


def sparkline(values: Sequence[float], *, unicode: bool = True) -> str:
    """One character a value from its smallest to its largest; "" for none.

    Values must be finite. All equal: the lowest bar each.
    """
    bars = _BARS if unicode else _PLAIN_BARS
    if not values:
        return ""
    low, high = min(values), max(values)
    # Divided first: the difference of two huge numbers could be infinite.
    scale = max(abs(low), abs(high)) or 1.0
    width = high / scale - low / scale
    if not width:
        return bars[0] * len(values)
    steps = ((value / scale - low / scale) / width for value in values)
    return "".join(bars[min(int(step * len(bars)), len(bars) - 1)] for step in steps)


def lines(found: Sequence[Series], *, unicode: bool = True) -> Iterator[str]:
    """The series by source and device: a line each, and a line a change."""
    device = None
    for one in found:
        place = (one.conditions.source, one.conditions.device, one.conditions.profile)
        if place != device:
            device = place
            source, name, profile = place
            where = f"{text.plain(name, 20)} ({text.plain(profile, 20)})"
            yield f"{text.plain(source, 30)} on {where}"
        yield from _series(one, unicode=unicode)


def _series(one: Series, *, unicode: bool) -> Iterator[str]:
    known = one.conditions
    times = [point.p50_us for point in one.points][-_WIDTH:]
    spark = sparkline(times, unicode=unicode)
    last = one.points[-1]
    runs = f"{len(one.points)} run{'s' * (len(one.points) != 1)}"
    name = text.plain(known.variant, 20)
    yield f"  {name:20} {text.microseconds(last.p50_us):>9}  {spark}  {runs}"
    runtime = f"{known.runtime or 'unknown runtime'} {known.runtime_version or ''}".strip()
    threads = f"{known.threads} thread{'s' * (known.threads != 1)}"
    said = ", ".join((runtime, known.accelerator, threads, known.governor or "unknown governor"))
    yield f"    {text.plain(said, 75)}"
    for change in one.changes:
        yield f"    {_said(change, known.metric)}"


def _said(change: Change, metric: str | None) -> str:
    names = {"p50_us": "p50", "quality": text.plain(metric or "quality", 12), "bytes": "size"}
    shown = {"p50_us": text.microseconds, "quality": text.three, "bytes": _size}[change.quantity]
    share = f" ({_percent(change.ratio)})" if change.ratio is not None else ""
    sure = "" if change.p_value is None else f", p={change.p_value:.3f}"
    step = f"{shown(change.before)} to {shown(change.after)}{share}{sure}"
    return f"! {names[change.quantity]} {step} since {text.plain(change.run_id, 24)}"


def _size(count: float) -> str:
    return text.size(int(count))


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+z.1f}%".replace("-", "−")


def document(found: Sequence[Series]) -> dict[str, Any]:
    """The `edgepack.trend/1` document."""
    rows = [
        {
            **asdict(one.conditions),
            "points": [_finite(asdict(point)) for point in one.points],
            "changes": [{**asdict(change), "ratio": change.ratio} for change in one.changes],
        }
        for one in found
    ]
    return {"schema": "edgepack.trend/1", "series": rows}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN: a quality that is no number is null.
    bad = (isinstance(value, float) and not math.isfinite(value) for value in values.values())
    return {
        key: None if no else value for (key, value), no in zip(values.items(), bad, strict=True)
    }

"""The run's time line of one device: temperature, frequency and power, and what disturbed it.

It is drawn from the `timeline` of a measurement's environment (see docs/protocol.md), which a
device wrote: whatever has not the expected shape is left out, and without a usable row there
is no chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepack.report import svg
from edgepack.report.disturbed import Disturbance, items, number
from edgepack.report.disturbed import disturbances as read
from edgepack.report.view import DeviceView

WIDTH, STRIP, GAP, TITLE = 1120.0, 96.0, 12.0, 20.0
LEFT, RIGHT, TOP, BOTTOM = 84.0, 16.0, 26.0, 40.0
LETTER = 8.0
"""At least what a letter of a disturbance's kind takes, on average."""
#: Columns that are drawn, each in a strip of its own, where the board told them.
STRIPS = (
    ("temperature_c", "temperature", "°C"),
    ("frequency_mhz", "frequency", "MHz"),
    ("power_w", "power", "W"),
    ("gpu", "GPU load", "share"),
    ("others", "other load", "cores"),
    ("steal", "stolen by the hypervisor", "share"),
)


@dataclass(frozen=True, kw_only=True)
class _Series:
    title: str
    unit: str
    points: tuple[tuple[float, float], ...]


def chart(device: DeviceView) -> str | None:
    """The strips above each other on one time axis; None where there is nothing to draw."""
    line = _timeline(device)
    series = _series(line)
    if not series:
        return None
    last = max(t for one in series for t, _ in one.points)
    events = disturbances(device)
    end = max([last, *(found.end for found in events)])
    x = svg.Axis(low=0.0, high=end or 1.0, start=LEFT, end=WIDTH - RIGHT)
    height = TOP + len(series) * (STRIP + GAP) + BOTTOM
    base = height - BOTTOM
    return svg.picture(
        WIDTH,
        height,
        f"{device.name}: time line of the run",
        svg.horizontal(x, base, TOP, lambda value: f"{value:g} s"),
        *(_band(found, x, base) for found in events),
        *_kinds(events, x),
        *(_strip(one, x, TOP + n * (STRIP + GAP), n) for n, one in enumerate(series)),
    )


def disturbances(device: DeviceView) -> tuple[Disturbance, ...]:
    """What the device says disturbed its rounds, in order of time."""
    return next((d for line in device.lines if (d := read(line.measurement.environment))), ())


def _timeline(device: DeviceView) -> Mapping[str, Any]:
    for line in device.lines:
        found = line.measurement.environment.get("timeline")
        if isinstance(found, Mapping):
            return found
    return {}


def _series(line: Mapping[str, Any]) -> list[_Series]:
    columns = items(line.get("columns"))
    rows = [row for row in items(line.get("rows")) if isinstance(row, Sequence)]
    if "t_s" not in columns:
        return []
    at = columns.index("t_s")
    found = []
    for name, title, unit in STRIPS:
        if name not in columns:
            continue
        column = columns.index(name)
        points = [(number(_cell(row, at)), number(_cell(row, column))) for row in rows]
        known = tuple((t, value) for t, value in points if t is not None and value is not None)
        if len(known) > 1 and (name != "steal" or max(value for _, value in known) > 0):
            found.append(_Series(title=title, unit=unit, points=known))
    return found


def _cell(row: Sequence[Any], at: int) -> Any:
    return row[at] if at < len(row) else None


def _band(found: Disturbance, x: svg.Axis, base: float) -> str:
    left, right = x(found.start), x(found.end)
    told = f"{found.kind}, {found.start:.1f} to {found.end:.1f} s"
    return svg.tag(
        "rect",
        svg.tag("title", text=told),
        x=left,
        y=TOP,
        width=max(right - left, 2.0),
        height=base - TOP,
        class_="disturbed",
    )


def _kinds(events: Sequence[Disturbance], x: svg.Axis) -> Iterator[str]:
    """The kinds above the bands, as far as they fit beside each other; each band has its title."""
    free = 0.0
    for found in events:
        wide = LETTER * len(found.kind)
        left = min(x(found.start), WIDTH - wide)
        if left >= free:
            free = left + wide + LETTER
            yield svg.tag("text", text=found.kind, x=left, y=TOP - 8, class_="disturbance")


def _strip(one: _Series, x: svg.Axis, top: float, at: int) -> str:
    values = [value for _, value in one.points]
    low, high = min(values), max(values)
    extra = (high - low) * 0.1 or abs(high) * 0.05 or 1.0
    y = svg.Axis(low=max(low - extra, 0.0), high=high + extra, start=top + STRIP, end=top + TITLE)
    path = "M" + "L".join(f"{x(t):.1f} {y(value):.1f}" for t, value in one.points)
    labels = "".join(
        svg.tag("text", text=f"{value:.4g}", x=LEFT - 6, y=y(value) + 4, text_anchor="end")
        for value in dict.fromkeys((low, high))
    )
    return "".join(
        (
            svg.tag("line", x1=x.start, x2=x.end, y1=top + STRIP, y2=top + STRIP, class_="axis"),
            svg.tag("path", d=path, class_=f"trace c{at + 1}"),
            labels,
            svg.tag(
                "text",
                text=f"{one.title} ({one.unit})",
                x=LEFT,
                y=top + 13,
                class_=f"name halo c{at + 1}",
            ),
        )
    )

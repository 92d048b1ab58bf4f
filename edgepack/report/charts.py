"""The charts of the HTML report, one pair a device: latency against quality, distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgepack.analysis.quality import is_share
from edgepack.model import Latency
from edgepack.report import svg, text
from edgepack.report.view import DeviceView, Line

WIDTH, HEIGHT = 560.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 16.0, 14.0, 46.0
BEYOND = 104.0  # right of the distributions: "+12345 beyond"
BINS = 140
COLOURS = 8


def trade_off(device: DeviceView) -> str | None:
    """p50 against quality (or size, where no quality is known), the area of a mark its size.

    Filled marks are on the Pareto front; whiskers are 95% intervals. None without times.
    """
    lines = [line for line in device.lines if line.latency]
    if not lines:
        return None
    scored = [line for line in lines if line.quality]
    shown = scored or [line for line in lines if line.bytes is not None]
    if not shown:
        return None
    x = svg.axis(_ends(shown), LEFT, WIDTH - RIGHT)
    y = svg.axis(_heights(shown, bool(scored)), HEIGHT - BOTTOM, TOP)
    measured = [_latency(line) for line in shown]
    largest = max((line.bytes or 0 for line in shown), default=0) or 1
    marks = [
        _mark(line, device, x(latency.p50), y(_height(line, bool(scored))), largest)
        + _whiskers(line, latency, x, y, bool(scored))
        for line, latency in zip(shown, measured, strict=True)
    ]
    return svg.picture(
        WIDTH,
        HEIGHT,
        f"{device.name}: p50 latency against {device.metric if scored else 'size'}",
        svg.horizontal(x, HEIGHT - BOTTOM, TOP, text.tick),
        svg.vertical(y, LEFT, WIDTH - RIGHT, _height_label(shown, bool(scored))),
        svg.tag(
            "text",
            text="p50 latency" + (" (log scale)" if x.log else ""),
            x=(LEFT + WIDTH - RIGHT) / 2,
            y=HEIGHT - 8,
            text_anchor="middle",
            class_="title",
        ),
        *marks,
        _names(shown, device, x, y, bool(scored), largest),
    )


def distributions(device: DeviceView) -> str | None:
    """One histogram a variant on a shared axis, with p50, p90 and p99. None without times.

    The axis ends at the largest p99; what lies beyond is counted in words.
    """
    lines = [line for line in device.lines if line.latency]
    if not lines:
        return None
    left = 128.0
    row = min(max(46.0, (HEIGHT - TOP - BOTTOM) / len(lines)), 72.0)
    height = TOP + row * len(lines) + BOTTOM - 10
    base = height - BOTTOM + 10
    latencies = [_latency(line) for line in lines]
    x = svg.axis(
        [v for found in latencies for v in (found.min, found.p99)],
        left,
        WIDTH - BEYOND,
        margin=0.03,
    )
    rows = [
        _row(line, device, latency, x, left, TOP + row * (number + 1), row - 12)
        for number, (line, latency) in enumerate(zip(lines, latencies, strict=True))
    ]
    return svg.picture(
        WIDTH,
        height,
        f"{device.name}: distribution of latency",
        svg.horizontal(x, base, TOP, text.tick),
        svg.tag(
            "text",
            text=f"latency of {device.inferences}" + (" (log scale)" if x.log else ""),
            x=(left + WIDTH - BEYOND) / 2,
            y=height - 4,
            text_anchor="middle",
            class_="title",
        ),
        *rows,
    )


def _latency(line: Line) -> Latency:
    assert line.latency is not None
    return line.latency


def _colour(line: Line, device: DeviceView) -> str:
    return f"c{device.lines.index(line) % COLOURS}"


# ---------------------------------------------------------------- the trade-off


def _ends(lines: Sequence[Line]) -> list[float]:
    return [end for line in lines for end in _latency(line).p50_ci95]


def _height(line: Line, scored: bool) -> float:
    if scored and line.quality:
        return line.quality.value
    return float(line.bytes or 0)


def _heights(lines: Sequence[Line], scored: bool) -> list[float]:
    wanted = [_height(line, scored) for line in lines]
    if scored:
        ends = [line.quality.ci95 for line in lines if line.quality and line.quality.ci95]
        wanted += [end for pair in ends for end in pair]
    return wanted


def _height_label(lines: Sequence[Line], scored: bool) -> Callable[[float], str]:
    if not scored:
        return lambda value: text.size(int(value))
    if all(is_share(line.quality) for line in lines if line.quality):
        return lambda value: f"{100 * value:.4g}%"
    return lambda value: f"{value:.4g}"


def _radius(line: Line, largest: int) -> float:
    return max(14 * math.sqrt((line.bytes or 0) / largest), 3.0)


def _mark(line: Line, device: DeviceView, x: float, y: float, largest: int) -> str:
    told = f"{line.variant}: {line.p50}, {line.score}, {line.size}"
    kind = "on-front" if line.on_front else "off-front"
    return svg.tag(
        "circle",
        svg.tag("title", text=told),
        cx=x,
        cy=y,
        r=_radius(line, largest),
        class_=f"mark {kind} {_colour(line, device)}",
    )


def _whiskers(line: Line, latency: Latency, x: svg.Axis, y: svg.Axis, scored: bool) -> str:
    at_x, at_y = x(latency.p50), y(_height(line, scored))
    low, high = latency.p50_ci95
    drawn = svg.tag("line", x1=x(low), x2=x(high), y1=at_y, y2=at_y, class_="whisker")
    if scored and line.quality and line.quality.ci95:
        bottom, top = line.quality.ci95
        drawn += svg.tag("line", x1=at_x, x2=at_x, y1=y(bottom), y2=y(top), class_="whisker")
    return drawn


def _names(
    lines: Sequence[Line],
    device: DeviceView,
    x: svg.Axis,
    y: svg.Axis,
    scored: bool,
    largest: int,
) -> str:
    """The variants' names, each beside its mark where no mark or other name is in the way."""
    centres = [(x(_latency(line).p50), y(_height(line, scored))) for line in lines]
    taken = [
        svg.Box(cx - r, cy - r, cx + r, cy + r)
        for (cx, cy), r in zip(centres, (_radius(line, largest) for line in lines), strict=True)
    ]
    inside = svg.Box(LEFT, TOP, WIDTH - 2, HEIGHT - BOTTOM)
    drawn = []
    for line, (cx, cy) in zip(lines, centres, strict=True):
        label = text.plain(line.variant, 20) + (" ★" if line.recommended else "")
        away = _radius(line, largest) + 6
        box = svg.place(cx, cy, away, (7.2 * len(label), 15.0), taken, inside)
        taken.append(box)
        drawn.append(
            svg.tag(
                "text",
                text=label,
                x=box.left,
                y=box.bottom - 3,
                class_=f"name halo {_colour(line, device)}",
            )
        )
    return "".join(drawn)


# ---------------------------------------------------------------- the distributions


def _row(
    line: Line,
    device: DeviceView,
    latency: Latency,
    x: svg.Axis,
    left: float,
    base: float,
    tall: float,
) -> str:
    colour = _colour(line, device)
    path, beyond = _histogram(line, x, base, tall)
    return "".join(
        (
            svg.tag("path", d=path, class_=f"area {colour}"),
            svg.tag("line", x1=x.start, x2=x.end, y1=base, y2=base, class_="axis"),
            *(
                svg.tag(
                    "line",
                    svg.tag("title", text=f"{name} {text.microseconds(value)}"),
                    x1=x(value),
                    x2=x(value),
                    y1=base - high,
                    y2=base,
                    class_=f"percentile {colour}",
                )
                for name, value, high in (
                    ("p50", latency.p50, tall),
                    ("p90", latency.p90, tall * 0.6),
                    ("p99", latency.p99, tall * 0.4),
                )
            ),
            svg.tag(
                "text",
                text=text.plain(line.variant, 18),
                x=left - 8,
                y=base - 8,
                text_anchor="end",
                class_=f"name {colour}",
            ),
            svg.tag("text", text=f"+{beyond} beyond" if beyond else "", x=x.end + 4, y=base - 2),
        )
    )


def _histogram(line: Line, x: svg.Axis, base: float, tall: float) -> tuple[str, int]:
    """The outline of a histogram in pixels, and how many samples lie right of the axis."""
    import numpy as np

    us = np.concatenate([np.asarray(r, dtype=np.float64) for r in line.measurement.rounds]) / 1e3
    edges = np.geomspace(x.low, x.high, BINS + 1) if x.log else np.linspace(x.low, x.high, BINS + 1)
    counts, _ = np.histogram(us, edges)
    highest = max(int(counts.max()), 1)
    step = (x.end - x.start) / BINS
    outline = [f"M{x.start:.1f} {base:.1f}"]
    for number, count in enumerate(counts):
        height = base - tall * float(count) / highest
        outline.append(f"V{height:.1f}H{x.start + step * (number + 1):.1f}")
    outline.append(f"V{base:.1f}Z")
    return "".join(outline), int((us > x.high).sum())

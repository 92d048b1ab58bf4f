"""Building SVG by hand: elements with escaped text, scales and round ticks.

Charts are drawn here rather than by a plotting library because they must follow the page's
light and dark theme (colours are CSS classes), carry no inline style, which the page's content
security policy refuses, and stay a few kilobytes each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape


def tag(name: str, *inner: str, text: str = "", **attributes: object) -> str:
    """One element. Attribute names may end in "_" (class_) and use "_" for "-"."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = escape(text) + "".join(inner)
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def picture(width: float, height: float, title: str, *inner: str) -> str:
    """The <svg> element, as wide as its place, named for those who cannot see it."""
    return tag(
        "svg",
        tag("title", text=title),
        *inner,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        class_="chart",
    )


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A scale from values to pixels; logarithmic where the values span more than a factor 8."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 7) -> list[float]:
        """About `count` round values within the axis."""
        if self.log:
            return log_ticks(self.low, self.high)
        return round_ticks(self.low, self.high, count)


def axis(values: Sequence[float], start: float, end: float, *, margin: float = 0.08) -> Axis:
    """An axis that holds all values with a margin; values must be positive for a log one."""
    low, high = min(values), max(values)
    if low > 1e-12 and high / low > 8 and high < 1e18:  # beyond these the margin leaves the floats
        grow = (high / low) ** margin
        return Axis(low=low / grow, high=high * grow, start=start, end=end, log=True)
    extra = (high - low) * margin or abs(high) * 0.05 or 1.0
    return Axis(low=low - extra, high=high + extra, start=start, end=end)


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    rough = (high - low) / max(count, 1)
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between `low` and `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    wanted = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return [value for value in wanted if low <= value <= high]


def horizontal(scale: Axis, y: float, top: float, label: Callable[[float], str]) -> str:
    """Ticks, grid lines from `top` to `y`, and labels of an x axis."""
    drawn = []
    for value in scale.ticks():
        x = scale(value)
        drawn.append(tag("line", x1=x, x2=x, y1=top, y2=y, class_="grid"))
        drawn.append(tag("text", text=label(value), x=x, y=y + 16, text_anchor="middle"))
    return "".join(drawn)


def vertical(scale: Axis, x: float, right: float, label: Callable[[float], str]) -> str:
    """Ticks, grid lines from `x` to `right`, and labels of a y axis."""
    drawn = []
    for value in scale.ticks():
        y = scale(value)
        drawn.append(tag("line", x1=x, x2=right, y1=y, y2=y, class_="grid"))
        drawn.append(tag("text", text=label(value), x=x - 6, y=y + 4, text_anchor="end"))
    return "".join(drawn)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        tall = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(tall, 0.0)


def place(
    x: float,
    y: float,
    away: float,
    size: tuple[float, float],
    taken: Sequence[Box],
    inside: Box,
) -> Box:
    """Where a label of that size goes around a point: the place that covers least of others."""
    wide, tall = size
    corners = (
        (x + away, y - tall / 2),
        (x - away - wide, y - tall / 2),
        (x + away * 0.7, y - away * 0.7 - tall),
        (x + away * 0.7, y + away * 0.7),
        (x - away * 0.7 - wide, y - away * 0.7 - tall),
        (x - away * 0.7 - wide, y + away * 0.7),
        (x - wide / 2, y - away - tall),
        (x - wide / 2, y + away),
    )
    boxes = [Box(left, top, left + wide, top + tall) for left, top in corners]
    # What sticks out of the chart is worse than what covers something: it cannot be read.
    return min(
        boxes,
        key=lambda box: (
            10 * (wide * tall - box.overlap(inside)) + sum(box.overlap(other) for other in taken)
        ),
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return str(value)

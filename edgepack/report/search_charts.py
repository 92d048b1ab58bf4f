"""The charts of a search: every trial as latency against quality, and the best so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepack.report import svg, text
from edgepack.report.searched import DeviceSearch, Point, Search, best_so_far

WIDTH, HEIGHT = 560.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 66.0, 16.0, 34.0, 46.0
#: A stage's colour, a class of the style sheet.
COLOURS = {"source": "c0", "shot": "c6", "short": "c3", "long": "c1", "scheme": "c4"}
_NAMED = 8
_RADIUS = 5.0
_MINUTES_FROM_S = 120.0


def trials(found: DeviceSearch, search: Search) -> str | None:
    """Every trial, p50 against quality; up is better, left is faster. None without trials.

    Full marks meet the budget, hollow ones miss it, triangles are cuts before any training.
    What lies below the axis is drawn on its lower edge.
    """
    if not found.points:
        return None
    bounds = _bounds(found, search)
    x = svg.axis([*(one.us for one in found.points), *bounds["latency"]], LEFT, WIDTH - RIGHT)
    y = _quality_axis(found.points, search, bounds["quality"])
    front = sorted((one for one in found.points if one.on_front), key=lambda one: one.us)
    return svg.picture(
        WIDTH,
        HEIGHT,
        f"{found.name}: p50 latency against {search.metric}, {len(found.points)} trials",
        svg.horizontal(x, HEIGHT - BOTTOM, TOP, text.tick),
        svg.vertical(y, LEFT, WIDTH - RIGHT, search.score),
        _title("p50 latency" + (" (log scale)" if x.log else "")),
        _legend(found.points),
        *(_across(y(value)) for value in bounds["quality"]),
        *(_upright(x(value)) for value in bounds["latency"]),
        _frontier(front, x, y),
        *(_mark(one, search, x, y) for one in found.points),
        _names(front, found, x, y),
    )


def progress(found: DeviceSearch, search: Search) -> str | None:
    """What the best trial was at each moment. None where none was judged."""
    best = best_so_far(found.points, by_speed=search.by_speed)
    if not best:
        return None
    moment, spent, unit = _moments(found, search)
    end = max(spent, *map(moment, found.points), 1.0)
    x = svg.Axis(low=0.0, high=end, start=LEFT, end=WIDTH - RIGHT)
    fits = any(one.fits for one in found.points)
    y = svg.axis([value for _, value in best], HEIGHT - BOTTOM, TOP, margin=0.12)
    shown = _shown(search, fits=fits)
    places = [(x(moment(one)), y(value)) for one, value in best]
    path = "".join(
        f"M{px:.1f} {py:.1f}" if not number else f"H{px:.1f}V{py:.1f}"
        for number, (px, py) in enumerate(places)
    )
    return svg.picture(
        WIDTH,
        HEIGHT,
        f"{found.name}: {_caption(search, fits=fits)} over the search",
        svg.horizontal(x, HEIGHT - BOTTOM, TOP, lambda value: f"{value:g}"),
        svg.vertical(y, LEFT, WIDTH - RIGHT, shown),
        _title(unit),
        svg.tag("text", text=_caption(search, fits=fits), x=LEFT, y=20.0, class_="title"),
        svg.tag("path", d=f"{path}H{x.end:.1f}", class_="trace c1"),
        *(
            _step(one, shown(value), px, py)
            for (one, value), (px, py) in zip(best, places, strict=True)
        ),
        _last(best[-1][0], places[-1]),
    )


# ---------------------------------------------------------------- the trials


def _bounds(found: DeviceSearch, search: Search) -> dict[str, list[float]]:
    """Where limits lie on the axes: of p50 in µs, and of quality."""
    drop = 1.0 if search.is_error else -1.0
    quality = [one.bound for one in found.limits if one.name == "quality"]
    quality += [
        search.source_quality + drop * one.bound
        for one in found.limits
        if one.name == "quality_drop"
    ]
    latency = [1e3 * one.bound for one in found.limits if one.name == "latency_p50_ms"]
    fastest = min(one.us for one in found.points)
    # A limit far from everything that was tried would press the trials into a corner.
    slowest = max(one.us for one in found.points)
    near = [value for value in latency if fastest / 3 <= value <= slowest * 3]
    return {"latency": near, "quality": quality}


def _quality_axis(points: Sequence[Point], search: Search, bounds: Sequence[float]) -> svg.Axis:
    """Up is better. Three quarters of the judged trials, and every limit, lie well within."""
    losses = sorted(one.loss for one in points if one.judged) or [one.loss for one in points]
    sign = 1.0 if search.is_error else -1.0
    limits = [sign * (bound - search.source_quality) for bound in bounds]
    deepest = max(1.5 * losses[(3 * (len(losses) - 1)) // 4], *(2 * one for one in limits), 0.0)
    seen = [loss for loss in losses if loss <= deepest] or losses[:1]
    values = [search.source_quality + sign * loss for loss in (*seen, *limits)]
    low, high = min(values), max(values)
    extra = (high - low) * 0.08 or abs(high) * 0.02 or 0.01
    ends = (HEIGHT - BOTTOM, TOP) if not search.is_error else (TOP, HEIGHT - BOTTOM)
    return svg.Axis(low=low - extra, high=high + extra, start=ends[0], end=ends[1])


def _mark(one: Point, search: Search, x: svg.Axis, y: svg.Axis) -> str:
    place = min(max(y(one.quality), TOP), HEIGHT - BOTTOM)
    told = (
        f"{one.name} ({one.stage}): {one.choice}; {one.p50}, {search.score(one.quality)}, "
        f"{one.size}; {one.standing}"
    )
    return _symbol(one, x(one.us), place, svg.tag("title", text=told))


def _symbol(one: Point, x: float, y: float, *inner: str) -> str:
    colour = COLOURS.get(one.stage, "c7")
    if not one.judged:
        d = f"M{x:.1f} {y - 5:.1f}l4.5 8h-9z"
        return svg.tag("path", *inner, d=d, class_=f"mark off-front {colour}")
    kind = "on-front" if one.fits else "off-front"
    return svg.tag("circle", *inner, cx=x, cy=y, r=_RADIUS, class_=f"mark {kind} {colour}")


def _legend(points: Sequence[Point]) -> str:
    """One mark and name for every stage that there is."""
    drawn, at = [], LEFT
    for stage, colour in COLOURS.items():
        if any(one.stage == stage for one in points):
            drawn.append(svg.tag("circle", cx=at + 5, cy=16.0, r=4.0, class_=f"on-front {colour}"))
            drawn.append(svg.tag("text", text=stage, x=at + 14, y=20.0))
            at += 30 + 7.0 * len(stage)
    return "".join(drawn)


def _frontier(front: Sequence[Point], x: svg.Axis, y: svg.Axis) -> str:
    """A line along the trials that no other beats."""
    places = [f"{x(one.us):.1f} {min(y(one.quality), HEIGHT - BOTTOM):.1f}" for one in front]
    return svg.tag("path", d="M" + "L".join(places), class_="frontier") if len(places) > 1 else ""


def _names(front: Sequence[Point], found: DeviceSearch, x: svg.Axis, y: svg.Axis) -> str:
    """Names of the best and of some of the front, where they cover nothing."""
    best = found.best.variant if found.best else ""
    ranked = sorted(front, key=lambda one: (one.name != best, not one.fits, one.loss, one.us))
    beside = [one for one in found.points if one.name == best and one not in front]
    taken = [
        svg.Box(x(one.us) - 6, y(one.quality) - 6, x(one.us) + 6, y(one.quality) + 6)
        for one in found.points
    ]
    inside = svg.Box(LEFT, TOP, WIDTH - 2, HEIGHT - BOTTOM)
    drawn = []
    for one in [*beside, *ranked][:_NAMED]:
        label = one.name + (" ★" if one.name == best else "")
        box = svg.place(x(one.us), y(one.quality), 9.0, (7.2 * len(label), 15.0), taken, inside)
        taken.append(box)
        colour = COLOURS.get(one.stage, "c7")
        drawn.append(
            svg.tag("text", text=label, x=box.left, y=box.bottom - 3, class_=f"name halo {colour}")
        )
    return "".join(drawn)


def _across(y: float) -> str:
    if not TOP <= y <= HEIGHT - BOTTOM:
        return ""
    return svg.tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="bound") + svg.tag(
        "text", text="limit", x=WIDTH - RIGHT, y=y - 4, text_anchor="end", class_="bound halo"
    )


def _upright(x: float) -> str:
    return svg.tag("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="bound") + svg.tag(
        "text", text="limit", x=x + 4, y=TOP + 10, class_="bound halo"
    )


# ---------------------------------------------------------------- the best so far


def _caption(search: Search, *, fits: bool) -> str:
    if not fits:
        return "nearest to the budget, beyond its limits"
    return "best p50 that meets the budget" if search.by_speed else "least quality lost"


def _shown(search: Search, *, fits: bool) -> Callable[[float], str]:
    if not fits:
        return lambda value: f"{value:,.0%}" if value >= 1 else f"{100 * value:.3g}%"
    return text.tick if search.by_speed else search.change


def _step(one: Point, value: str, x: float, y: float) -> str:
    told = f"{one.name} ({one.stage}): {one.choice}; {value}"
    colour = COLOURS.get(one.stage, "c7")
    return svg.tag(
        "circle",
        svg.tag("title", text=told),
        cx=x,
        cy=y,
        r=_RADIUS,
        class_=f"mark on-front {colour}",
    )


def _last(one: Point, place: tuple[float, float]) -> str:
    x, y = place
    right = x > WIDTH * 0.8
    return svg.tag(
        "text",
        text=one.name,
        x=x - 9 if right else x + 4,
        y=y + (4 if right else -9),
        text_anchor="end" if right else "start",
        class_=f"name halo {COLOURS.get(one.stage, 'c7')}",
    )


def _title(said: str) -> str:
    middle = (LEFT + WIDTH - RIGHT) / 2
    return svg.tag("text", text=said, x=middle, y=HEIGHT - 8, text_anchor="middle", class_="title")


def _moments(found: DeviceSearch, search: Search) -> tuple[Callable[[Point], float], float, str]:
    """When a trial was finished, the search's whole length, and what both are counted in."""
    if not any(one.at_s for one in found.points):
        return (lambda one: float(one.number)), 0.0, "trial"
    longest = max(search.seconds, *(one.at_s for one in found.points))
    scale, unit = (60.0, "min") if longest >= _MINUTES_FROM_S else (1.0, "s")
    return (lambda one: one.at_s / scale), search.seconds / scale, f"time of the search ({unit})"

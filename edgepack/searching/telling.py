"""What a person is told of a search, while it goes on and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepack.model import Event
from edgepack.searching.answers import Binding
from edgepack.searching.finalists import front
from edgepack.searching.stages import relative
from edgepack.searching.values import Request, Tried

NO_WIDTHS = (
    "time was up before widths could be measured: no cut was tried; give more --time "
    "(what was measured is kept)"
)


def of_trial(tried: Tried) -> Event:
    """One finished trial."""
    name = f"t{tried.number:03d}"
    if tried.error:
        return Event(kind="log", stage="search", message=f"failed: {tried.error}", variant=name)
    times = ", ".join(f"{us:.0f} µs on {device}" for device, us in tried.latency_us.items())
    text = (
        f"{tried.stage} {tried.choice.scheme} {tried.choice.percent}%: {times}, "
        f"loss {tried.loss:.4f}, {tried.bytes:,} bytes"
    )
    return Event(kind="measured", stage="search", message=text, variant=name)


def of_progress(tried: Sequence[Tried], request: Request, seconds: float) -> Event:
    """Where the search stands after `seconds`: pace, time left, front, best that fits."""
    return Event(
        kind="progress",
        stage="search",
        message=", ".join(_standing(tried, request, seconds)),
        done=float(len(tried)),
        total=float(request.trials),
    )


def _standing(tried: Sequence[Tried], request: Request, seconds: float) -> Iterator[str]:
    yield f"{len(tried)}/{request.trials}"
    yield f"{60 * len(tried) / max(seconds, 1.0):.1f}/min"
    if request.seconds is not None:
        left = max(0, round(request.seconds - seconds))
        yield f"{left // 60}:{left % 60:02d} left"
    judged = [one for one in tried if one.ok and one.choice.judged]
    yield f"front {len(front(judged))}"
    fits = [one for one in judged if one.excess == 0]
    if fits:
        best = min(fits, key=relative)
        yield f"best t{best.number:03d} {1 / relative(best):.2f}×"


def said(binding: Binding) -> str:
    """A limit that binds, in words."""
    name = binding.limit.rpartition(".")[2]
    if binding.value is None or binding.excess is None:
        return f"{name}: nothing was measured to hold against {binding.bound:g}"
    others = "which meets all others" if binding.others else "though nothing meets all others"
    return (
        f"{name}: {binding.value:g} for {binding.bound:g}, {binding.excess:,.0%} beyond it, "
        f"is the nearest ({binding.variant}, {others})"
    )

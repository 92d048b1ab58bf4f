"""What a person is told of a search, while it goes on and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepack.model import Event
from edgepack.report.text import microseconds
from edgepack.searching import limits
from edgepack.searching.answers import Binding
from edgepack.searching.finalists import front
from edgepack.searching.limits import QUALITIES
from edgepack.searching.stages import relative
from edgepack.searching.values import Request, Tried

NO_WIDTHS = (
    "time was up before widths could be measured: no cut was tried; give more --time "
    "(what was measured is kept)"
)


def counted(count: int, what: str) -> str:
    """ "1 trial", "2 trials"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def of_trial(tried: Tried) -> Event:
    """One finished trial."""
    name = f"t{tried.number:03d}"
    if tried.error:
        return Event(kind="log", stage="search", message=f"failed: {tried.error}", variant=name)
    times = ", ".join(f"{microseconds(us)} on {device}" for device, us in tried.latency_us.items())
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


def amount(limit: str, value: float, *, error: bool = False) -> str:
    """A value in the unit of its limit: "320,000 bytes", "1.25 ms", "0.50 points".

    error: whether quality is a metric of which less is better, and so no share.
    """
    if limit in QUALITIES and error:
        return f"{value:.4g}"
    if limit == "quality":
        return f"{100 * value:.2f}%"
    if limit == "quality_drop":
        return f"{100 * value:+z.2f}".lstrip("+") + " points"
    for ending, unit in (("_ms", "ms"), ("_mj", "mJ")):
        if limit.endswith(ending):
            return f"{value:,.0f} {unit}" if value >= 999.5 else f"{value:.3g} {unit}"
    return f"{value:,.0f} bytes"


def distance(limit: str, excess: float, bound: float, *, error: bool = False) -> str:
    """How far beyond its bound something is: "261%", or in the limit's unit where a share says
    nothing, as the quality is one or the bound is next to none."""
    share = limit in QUALITIES and not error
    if share or abs(bound) < limits.LEAST:
        far = excess * max(abs(bound), limits.LEAST)
        return amount("quality_drop" if share else limit, far, error=error)
    return f"{excess:,.0%}" if excess >= 0.095 else f"{100 * excess:.2g}%"


def beyond(limit: str, excess: float, bound: float, *, error: bool = False) -> str:
    """ "261% beyond it"; "0.50 points short of it" for what must be reached."""
    side = "short of it" if limit == "quality" and not error else "beyond it"
    return f"{distance(limit, excess, bound, error=error)} {side}"


def said(binding: Binding, *, error: bool = False) -> str:
    """A limit that binds, in words."""
    name = binding.limit.rpartition(".")[2]
    bound = amount(name, binding.bound, error=error)
    if binding.value is None or binding.excess is None:
        return f"{name}: nothing was measured to hold against {bound}"
    whose = " of those that meet all other limits" if binding.others else ""
    only = "" if binding.others else "; nothing meets all other limits"
    return (
        f"{name}: {amount(name, binding.value, error=error)} for {bound}, "
        f"{beyond(name, binding.excess, binding.bound, error=error)}, "
        f"is the nearest{whose} ({binding.variant}){only}"
    )

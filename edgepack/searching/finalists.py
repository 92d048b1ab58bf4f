"""Which trials are worth measuring again, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepack.searching.stages import relative
from edgepack.searching.values import Tried

# For each device the best that fit; what comes closest where nothing does; and of the front.
FASTEST, CLOSEST, OF_FRONT = 5, 4, 4


def finalists(tried: Sequence[Tried], devices: Sequence[str], *, speed: bool) -> list[Tried]:
    """Finished trials for the last run, each file once, by number.

    speed: whether the fastest that fit are the best, or those that lose the least.
    """
    judged = [one for one in tried if one.choice.judged] or list(tried)
    chosen: dict[tuple[str, int, str], Tried] = {}

    def take(found: Sequence[Tried], most: int) -> None:
        for one in found[:most]:
            key = (one.sha256, one.choice.threads, one.choice.runtime)
            chosen.setdefault(key, one)

    for device in devices:
        own = [one for one in judged if device in one.latency_us]
        fits = [one for one in own if _excess(one, device) == 0]
        take(sorted(fits, key=_by_speed(device) if speed else _by_quality), FASTEST)
        if not fits:
            take(sorted(own, key=_by_excess(device)), CLOSEST)
            for limit in sorted({key for one in own for key in one.over if _on(key, device)}):
                take(sorted(own, key=_by_limit(limit)), 1)
    ordered = sorted(front(judged), key=_by_quality)
    take(ordered[:: max(1, len(ordered) // OF_FRONT)], OF_FRONT)
    return sorted(chosen.values(), key=lambda one: one.number)


def front(tried: Sequence[Tried]) -> list[Tried]:
    """Those that no other beats in latency, quality and bytes."""
    points = [(relative(one), one.loss, float(one.bytes)) for one in tried]
    return [
        one
        for one, point in zip(tried, points, strict=True)
        if not any(other != point and at_most(other, point) for other in points)
    ]


def at_most(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether a is nowhere larger than b."""
    return all(x <= y for x, y in zip(a, b, strict=True))


def _on(limit: str, device: str) -> bool:
    return limit.startswith(f"{device}.")


def _excess(one: Tried, device: str) -> float:
    return sum(max(0.0, share) for key, share in one.over.items() if _on(key, device))


def _by_excess(device: str) -> Callable[[Tried], tuple[float, float]]:
    return lambda one: (_excess(one, device), one.loss)


def _by_limit(limit: str) -> Callable[[Tried], tuple[float, float]]:
    return lambda one: (one.over.get(limit, 0.0), one.loss)


def _by_speed(device: str) -> Callable[[Tried], tuple[float, int]]:
    return lambda one: (one.latency_us[device], one.number)


def _by_quality(one: Tried) -> tuple[float, float, int]:
    return one.loss, relative(one), one.number

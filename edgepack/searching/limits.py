"""How far a candidate is beyond each limit of its devices, by the gate's own reading of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from edgepack import inloop
from edgepack.analysis import limits, stats
from edgepack.analysis.bench import Entry
from edgepack.model import Budget, Device, Measurement, Quality

HELD = tuple(name for name in limits.ABSOLUTE if name != limits.ACCELERATED)
"""Limits that a candidate has a value for."""

QUALITIES = ("quality", "quality_drop")
LEAST = 0.01
"""A limit of zero has no shares: one point counts as the whole, and of smaller limits, too."""


def names(selector: str, device: Device) -> bool:
    """Whether a budget's selector names this device."""
    if selector.startswith("tag:"):
        return selector.removeprefix("tag:") in device.tags
    if selector.startswith("profile:"):
        return selector.removeprefix("profile:") == device.profile
    return selector in ("*", device.name)


def of_device(budgets: Sequence[Budget], device: Device) -> Iterator[tuple[str, str, float]]:
    """(id, limit's name, its bound) of every limit on a device."""
    for budget in budgets:
        if names(budget.selector, device):
            for name, bound in budget.limits.items():
                yield f"{device.name}.{budget.selector}.{name}", name, bound


def excess(value: float, bound: float, *, at_least: bool) -> float:
    """How far a value is beyond a bound, as a share of it; 0 or less where it is met."""
    beyond = bound - value if at_least else value - bound
    return beyond / max(abs(bound), LEAST)


def over(
    bounds: Sequence[tuple[str, str, float]], entry: Entry, base: Entry, *, judged: bool
) -> dict[str, float]:
    """Limit's id -> `excess`, on one device.

    judged: whether quality counts: that of a cut network before any training says what to
    train, not what it will be. A value that is not measured is left out.
    """
    found: dict[str, float] = {}
    for key, name, bound in bounds:
        value = limits.value(name, entry, base)
        if value is not None and (judged or name not in QUALITIES):
            found[key] = excess(value, bound, at_least=limits.at_least(name, entry))
    return found


def entry(measured: Measurement, sha256: str, size: int, quality: Quality) -> Entry:
    """A measurement of the loop with the quality that the host found."""
    return Entry(
        measurement=dataclasses.replace(measured, quality=quality),
        variant=inloop.stand_in(measured.variant, sha256, size),
        latency=stats.latency(measured),
        quality=quality,
    )


def quality_is_limited(budgets: Sequence[Budget]) -> bool:
    """Whether any budget says how good a model must be: then the fastest is the best."""
    return any(set(QUALITIES) & set(budget.limits) for budget in budgets)

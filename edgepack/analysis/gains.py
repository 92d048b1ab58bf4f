"""What each kind of hardware gains from each recipe: speed-ups and quality by profile.

Boards of one profile are listed as a range and never averaged: two boards that disagree are
news. Times from emulators are left out, as are pairs that are not alike; both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgepack.analysis import across, stats
from edgepack.model import Run


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One variant on one profile's boards.

    speedups: of each board that could be compared, ascending; undecided: how many of them are
    not significant; deltas: changes of quality, in the metric's unit, ascending; size_ratio:
    bytes / the baseline's bytes, None where unknown; boards: how many were measured.
    """

    profile: str
    variant: str
    boards: int = 0
    speedups: tuple[float, ...] = ()
    undecided: int = 0
    metric: str | None = None
    deltas: tuple[float, ...] = ()
    size_ratio: float | None = None
    energy_ratios: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def by_profile(runs: Sequence[Run], baseline: str) -> list[Gain]:
    """The gains against the variant `baseline`, by profile, then in the order measured."""
    groups: dict[str, dict[str, list[across.Pair]]] = {}
    for pair in across.pairs(runs, across.Baseline(variant=baseline)):
        profile = pair.entry.measurement.profile
        groups.setdefault(profile, {}).setdefault(pair.entry.name, []).append(pair)
    return [
        _gain(profile, variant, pairs)
        for profile, variants in groups.items()
        for variant, pairs in variants.items()
        if not all(pair.is_base for pair in pairs)
    ]


def _gain(profile: str, variant: str, pairs: Sequence[across.Pair]) -> Gain:
    real = [pair for pair in pairs if not pair.entry.emulated]
    compared = [pair for pair in real if pair.speedup is not None]
    changes = [pair.change for pair in real if pair.change]
    metrics = {change.metric for change in changes}
    one_metric = len(metrics) == 1
    notes = dict.fromkeys(pair.note for pair in real if pair.note)
    emulated = len(pairs) - len(real)
    if emulated:
        notes[f"{emulated} emulated, whose times say nothing about a board"] = None
    return Gain(
        profile=profile,
        variant=variant,
        boards=len(real),
        speedups=tuple(sorted(pair.speedup for pair in compared if pair.speedup is not None)),
        undecided=sum(_undecided(pair) for pair in compared),
        metric=metrics.pop() if one_metric else None,
        deltas=tuple(sorted(change.delta for change in changes)) if one_metric else (),
        size_ratio=next((p.size_ratio for p in compared if p.size_ratio is not None), None),
        energy_ratios=tuple(sorted(p.energy_ratio for p in compared if p.energy_ratio)),
        notes=tuple(notes),
    )


def _undecided(pair: across.Pair) -> bool:
    return pair.speedup_ci95 is None or not stats.significant(pair.speedup_ci95)

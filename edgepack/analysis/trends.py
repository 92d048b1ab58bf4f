"""Trends over runs, and where they changed.

A series holds one variant of one source model on one device under the same conditions: profile,
runtime and version, accelerator, threads, governor, and evaluation inputs. Under others a new
series begins, so that an upgraded runtime is never taken for a faster model.

Change-points are found by binary segmentation (Vostrikova 1981) with a permutation test at each
step, the procedure of E-divisive (Matteson & James 2014, "A Nonparametric Approach for Multiple
Change Point Analysis of Multivariate Data"; used on performance histories by Daly et al. 2020,
ICPE). The statistic is the largest standardized difference of means over all places to split
(the CUSUM of Csörgő & Horváth 1997, 2.1), of values that are drawn in to five robust standard
deviations of the median, so that one run ten times as slow as the others hides nothing. Ranks
instead were tried: they cannot see three slow runs after thirty good ones, however slow. The
test asks how often a random order of the same values splits as well; it needs no distribution,
only that runs without a change are exchangeable.

Limits: at the 1% level a step needs about a dozen runs, three of them after it, before it can be
told from chance. A slow drift (a dusty fan, summer) is no step, and is reported as one or
several. Each series is tested by itself: of a hundred that did not change, one is expected to be
reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Of series without a change, the share in which one is reported.
LEVEL = 0.01
#: Runs on each side of a change: one run that went wrong is none.
SHORTEST = 3
#: Robust standard deviations from the median: beyond them a value counts as if it were there.
OUTLYING = 5.0
#: Random orders of a test; with fewer the level of 1% could not be told from 2%.
PERMUTATIONS = 999
#: A fixed seed: the same history gives the same answer.
SEED = 20_261_122


@dataclass(frozen=True, kw_only=True, order=True)
class Conditions:
    """What measurements must share to be compared over time; None where it was not told."""

    source: str
    variant: str
    device: str
    profile: str
    runtime: str | None
    runtime_version: str | None
    accelerator: str
    threads: int
    governor: str | None
    inputs: str | None
    metric: str | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement of a series. p50 in microseconds."""

    run_id: str
    started_at: str
    git_commit: str | None
    p50_us: float
    quality: float | None
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A step: `run_id` is the first run after it. before, after: medians of both sides.

    p_value: the share of random orders that split as well; None where the values have no
    noise (bytes), so that every difference is a change.
    """

    quantity: str
    run_id: str
    git_commit: str | None
    before: float
    after: float
    p_value: float | None

    @property
    def ratio(self) -> float | None:
        """after / before; None where that says nothing."""
        return self.after / self.before if self.before > 0 else None


@dataclass(frozen=True, kw_only=True)
class Series:
    """The points of one variant on one device under the same conditions, oldest first."""

    conditions: Conditions
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


def series(measured: Iterable[tuple[Conditions, Point]]) -> list[Series]:
    """The measurements as series, by device and variant, with their changes.

    measured: oldest first.
    """
    found: dict[Conditions, list[Point]] = {}
    for conditions, point in measured:
        found.setdefault(conditions, []).append(point)
    return [
        Series(conditions=conditions, points=tuple(points), changes=tuple(changes(points)))
        for conditions, points in sorted(found.items(), key=lambda item: _order(item[0]))
    ]


def _order(conditions: Conditions) -> tuple[str, ...]:
    one = conditions
    names = (one.source, one.device, one.variant, one.runtime, one.runtime_version, one.governor)
    return tuple(name or "" for name in names)


def changes(points: Sequence[Point]) -> list[Change]:
    """Every change of p50, quality and bytes, in that order."""
    found = _tested("p50_us", points, [point.p50_us for point in points])
    scored = [point for point in points if point.quality is not None]
    found += _tested("quality", scored, [point.quality or 0.0 for point in scored])
    return found + _exact(points)


def change_points(values: Sequence[float]) -> list[tuple[int, float]]:
    """Where a sequence changes: index of the first value after each step, and its p-value.

    Values must be finite. Sequences of up to some thousands; each step costs
    `PERMUTATIONS` × n.
    """
    import numpy as np

    pending, found = [(0, len(values))], []
    rng = np.random.default_rng(SEED)
    while pending:
        start, stop = pending.pop()
        split = _split(np.asarray(values[start:stop], dtype=float), rng)
        if split is not None:
            at, p_value = start + split[0], split[1]
            found.append((at, p_value))
            pending += [(start, at), (at, stop)]
    return sorted(found)


def _split(values: Floats, rng: np.random.Generator) -> tuple[int, float] | None:
    """The best place to split and its p-value; None where chance splits as well."""
    import numpy as np

    n = len(values)
    if n < 2 * SHORTEST:
        return None
    scores = _drawn_in(values)
    centred = scores - scores.mean()
    if not np.ptp(scores) > 1e-12:
        return None
    orders = rng.permuted(np.tile(centred, (PERMUTATIONS, 1)), axis=1)
    observed, best = _statistic(centred[None, :])
    by_chance, _ = _statistic(orders)
    # The observed order counts as one of them, so that the level is kept exactly; equal
    # statistics must not differ by rounding.
    as_good = int(np.count_nonzero(by_chance >= observed[0] * (1 - 1e-9)))
    p_value = (1 + as_good) / (1 + PERMUTATIONS)
    return (int(best[0]) + SHORTEST, p_value) if p_value <= LEVEL else None


def _drawn_in(values: Floats) -> Floats:
    """The values, in units of the largest, with outliers at `OUTLYING` robust deviations.

    A robust deviation is 1.4826 times the median absolute one. Where more than half of the
    values are equal there is none, and all values stay as they are.
    """
    import numpy as np

    scaled = values / (np.abs(values).max() or 1.0)
    centre = np.median(scaled)
    reach = OUTLYING * 1.4826 * float(np.median(np.abs(scaled - centre)))
    return np.clip(scaled, centre - reach, centre + reach) if reach else scaled


def _statistic(orders: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """For each row: the largest |sum of the first k| / sqrt(k (n - k)), and where, from SHORTEST.

    orders: (permutations, n), each row centred.
    """
    import numpy as np

    n = orders.shape[1]
    k = np.arange(SHORTEST, n - SHORTEST + 1)
    sums = np.abs(np.cumsum(orders, axis=1)[:, k - 1]) / np.sqrt(k * (n - k))
    return sums.max(axis=1), sums.argmax(axis=1)


def _tested(quantity: str, points: Sequence[Point], values: Sequence[float]) -> list[Change]:
    import math
    from statistics import median

    kept = [(p, v) for p, v in zip(points, values, strict=True) if math.isfinite(v)]
    steps = change_points([value for _, value in kept])
    edges = [0, *(at for at, _ in steps), len(kept)]
    return [
        Change(
            quantity=quantity,
            run_id=kept[at][0].run_id,
            git_commit=kept[at][0].git_commit,
            before=median(value for _, value in kept[edges[number] : at]),
            after=median(value for _, value in kept[at : edges[number + 2]]),
            p_value=p_value,
        )
        for number, (at, p_value) in enumerate(steps)
    ]


def _exact(points: Sequence[Point]) -> list[Change]:
    known = [point for point in points if point.bytes is not None]
    return [
        Change(
            quantity="bytes",
            run_id=later.run_id,
            git_commit=later.git_commit,
            before=float(earlier.bytes or 0),
            after=float(later.bytes or 0),
            p_value=None,
        )
        for earlier, later in itertools.pairwise(known)
        if earlier.bytes != later.bytes
    ]

"""Which channel counts to take: the most importance kept for a time, a knapsack.

Each group keeps one of a few counts. What is lost by a group that keeps the share r of its
importance is -log(r), so that the product of the shares is what is made large, and no group
is emptied while others are whole. The time of a layer depends on two groups at once, so the
knapsack does not fall apart into groups: it is solved by Lagrange's relaxation. For a price
of time, loss + price * time is made small group by group until nothing changes; the price is
found by bisection. Then any two groups are changed together while that loses less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Time = Callable[[Mapping[str, int]], float]
Losses = Mapping[str, Mapping[int, float]]

_BISECTIONS = 24
_ANY_PRICE = 1e12
_SWEEPS = 12
_DOUBLINGS = 30


def losses(
    scores: Mapping[str, npt.NDArray[np.float64]],
    allowed: Mapping[str, Sequence[int]],
    lean: float,
) -> dict[str, dict[int, float]]:
    """Group -> count that stays -> what that loses.

    scores: ascending, by group in the order of the model. lean: 2**lean times as dear for the
    first group, 2**-lean times for the last.
    """
    found: dict[str, dict[int, float]] = {}
    for place, (name, values) in enumerate(scores.items()):
        depth = place / max(1, len(scores) - 1)
        weight = 2.0 ** (lean * (1 - 2 * depth))
        found[name] = {count: weight * _loss(values, count) for count in allowed[name]}
    return found


def _loss(ascending: npt.NDArray[np.float64], count: int) -> float:
    total = float(ascending.sum())
    kept = float(ascending[len(ascending) - count :].sum())
    return float(-np.log(max(kept / total, 1e-9))) if total > 0 else 0.0


def choose(losses: Losses, time: Time, limit: float) -> dict[str, int]:
    """The counts with the least loss whose time is at most `limit`.

    Where nothing is as fast as that, the fastest found is the result. No count is chosen where
    a larger one takes no longer.
    """
    whole = {name: max(counts) for name, counts in losses.items()}
    if time(whole) <= limit:
        return whole
    if len(losses) == 1:
        [(name, by_count)] = losses.items()
        fitting = [count for count in by_count if time({name: count}) <= limit]
        return {name: max(fitting) if fitting else min(by_count, key=lambda n: time({name: n}))}
    best = _relaxed(whole, losses, time, _ANY_PRICE)
    if time(best) >= limit:
        return best
    low, high = 0.0, 1.0 / max(time(whole), 1e-12)
    for _ in range(_DOUBLINGS):
        if time(_relaxed(whole, losses, time, high)) <= limit:
            break
        high *= 4
    for _ in range(_BISECTIONS):
        price = (low + high) / 2
        found = _relaxed(whole, losses, time, price)
        if time(found) <= limit:
            best, high = found, price
        else:
            low = price
    return _exchanged(best, losses, time, limit)


def _relaxed(start: Mapping[str, int], losses: Losses, time: Time, price: float) -> dict[str, int]:
    """A local minimum of loss + price * time, group by group."""
    widths = dict(start)
    for _ in range(_SWEEPS):
        before = dict(widths)
        for name, by_count in losses.items():
            cost = {
                count: loss + price * time({**widths, name: count})
                for count, loss in by_count.items()
            }
            widths[name] = min(cost, key=lambda count: (cost[count], -count))
        if widths == before:
            break
    return widths


def _exchanged(widths: dict[str, int], losses: Losses, time: Time, limit: float) -> dict[str, int]:
    """Two groups changed at a time while that loses less within the limit.

    What the relaxation cannot reach, as it only finds choices on the convex hull.
    """
    widths = dict(widths)
    for _ in range(_SWEEPS):
        before = dict(widths)
        for one, other in itertools.combinations(losses, 2):
            now = losses[one][widths[one]] + losses[other][widths[other]]
            pairs = itertools.product(losses[one].items(), losses[other].items())
            better = sorted((a + b, m, n) for (m, a), (n, b) in pairs if a + b < now)
            for _, m, n in better:
                if time({**widths, one: m, other: n}) <= limit:
                    widths[one], widths[other] = m, n
                    break
        if widths == before:
            break
    return widths

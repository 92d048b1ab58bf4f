"""MLPerf LoadGen's early-stopping rule for latency percentiles.

A run may end before the percentile itself is well known: with n queries of which t may be
discarded as too slow, the t-th slowest latency bounds the percentile with 99% confidence. The
rule is the exact binomial one of the MLPerf Inference rules ("Early stopping", tolerance 0):
n queries allow t overlatency ones where P(Binomial(n, 1 - p) <= t) <= 1 - confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The bound of a percentile: `value`, in the unit of the latencies given.

    discarded: slower queries that do not count; queries: all of them.
    """

    value: float
    discarded: int
    queries: int


@cache
def min_queries(overlatency: int, percentile: float) -> int:
    """The fewest queries of which `overlatency` may be too slow.

    >>> [min_queries(t, 0.9) for t in (1, 2, 3)]
    [64, 81, 97]
    """
    low = overlatency
    high = max(64, 2 * math.ceil((overlatency + 1) / (1 - percentile)))
    while not _passes(overlatency, high, percentile):
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if _passes(overlatency, middle, percentile):
            high = middle
        else:
            low = middle
    return high


def _passes(overlatency: int, queries: int, percentile: float) -> bool:
    from scipy.special import bdtr

    return bool(bdtr(overlatency, queries, 1 - percentile) < 1 - CONFIDENCE)


def estimate(ordered: Sequence[float] | np.ndarray[Any, Any], percentile: float) -> Estimate | None:
    """What LoadGen reports as the percentile; None with too few queries for it.

    Args:
        ordered: latencies in ascending order.
        percentile: 0.9 for LoadGen's single-stream result.
    """
    n = len(ordered)
    if n < min_queries(1, percentile):
        return None
    low, high = 1, n  # the most queries that may be discarded
    while high - low > 1:
        middle = (low + high) // 2
        if min_queries(middle, percentile) <= n:
            low = middle
        else:
            high = middle
    return Estimate(value=float(ordered[n - low]), discarded=low - 1, queries=n)

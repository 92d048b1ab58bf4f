"""Intervals of what is no share: the bootstrap over samples, and likeness without labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgepack.analysis.quality import AGREEMENT
from edgepack.model import Agreement, Quality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Chosen = NDArray[np.int64]

RESAMPLES = 200
SEED = 0
COSINE = "cosine"


def interval(
    n: int, statistic: Callable[[Chosen], float], resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95% percentile interval of a statistic of `n` samples (Efron & Tibshirani 1993, 13.3).

    statistic: of the samples at those places (some twice); NaN where it has no value for
    them. The draws are seeded. None with fewer than two samples or without any value.
    """
    import numpy as np

    if n < 2:
        return None
    rng = np.random.default_rng(SEED)
    return _middle([float(statistic(rng.integers(0, n, n))) for _ in range(resamples)])


def intervals(
    n: int, statistics: Callable[[Chosen], Mapping[str, float]], resamples: int
) -> dict[str, tuple[float, float]]:
    """`interval` for several statistics at once, by name; without those that have none."""
    drawn: dict[str, list[float]] = {}

    def noted(chosen: Chosen) -> float:
        for name, value in statistics(chosen).items():
            drawn.setdefault(name, []).append(value)
        return 0.0

    interval(n, noted, resamples)
    found = {name: _middle(values) for name, values in drawn.items()}
    return {name: around for name, around in found.items() if around is not None}


def _middle(drawn: list[float]) -> tuple[float, float] | None:
    """The middle 95% of the numbers among the values."""
    import numpy as np

    values = [value for value in drawn if math.isfinite(value)]
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def cosines(reference: Mapping[str, Array], outputs: Mapping[str, Array]) -> Array:
    """The cosine of the angle between both models' outputs, for each sample [samples].

    All outputs of a sample are one vector. Two zero vectors are alike, one zero vector and
    another are not.
    """
    import numpy as np

    def rows(arrays: Mapping[str, Array]) -> Array:
        flat = [arrays[name].reshape(len(arrays[name]), -1) for name in sorted(reference)]
        return np.concatenate(flat, axis=1).astype(np.float64)

    a, b = rows(reference), rows(outputs)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both_zero, 1.0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def likeness(
    reference: Mapping[str, Array], outputs: Mapping[str, Array], agreed: Agreement
) -> Quality | None:
    """Quality where there are no labels: equal decisions with the source model for a classifier,
    else the mean cosine of its outputs and the source's. None for outputs that are no numbers.
    """
    found = cosines(reference, outputs)
    mean = float(found.mean())
    if not math.isfinite(mean):
        return None
    around = interval(len(found), lambda chosen: float(found[chosen].mean()))
    extra = {} if agreed.snr_db is None else {"snr_db": agreed.snr_db}
    if agreed.top1_agreement is None:
        return Quality(metric=COSINE, value=mean, n=len(found), ci95=around, extra=extra)
    return Quality(
        metric=AGREEMENT,
        value=agreed.top1_agreement,
        n=agreed.samples,
        extra={**extra, COSINE: mean},
        extra_ci95={COSINE: around} if around else {},
    )

"""How others decide whether B is slower than A, on the same rounds of raw samples.

Each judge takes two measurements with the same rounds and launches and says "slower", "faster"
or None. asv and pyperf measure one program after the other, so they get A's rounds of the first
half of a window and B's of the second; edgepack interleaves and gets both whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats as scipy_stats

from edgepack.analysis import stats
from edgepack.model import Measurement

Judge = Callable[[Measurement, Measurement], str | None]


def _edgepack(a: Measurement, b: Measurement, margin: float) -> str | None:
    ratio, interval = stats.speedup(a, b)
    if not stats.significant(interval) or abs(1 / ratio - 1) <= margin:
        return None
    return "slower" if ratio < 1 else "faster"


def interval(a: Measurement, b: Measurement) -> str | None:
    """edgepack's word "significant": the 95% interval of the speed-up leaves out 1."""
    return _edgepack(a, b, 0.0)


def gate(a: Measurement, b: Measurement) -> str | None:
    """edgepack's gate `latency_p50_regression = 0.02`: significant, and more than 2%."""
    return _edgepack(a, b, 0.02)


def _halves(a: Measurement, b: Measurement) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each round: of A's first half, of B's second."""
    half = len(a.rounds) // 2
    first, second = a.rounds[:half], b.rounds[half:]
    return np.array([np.mean(r) for r in first]), np.array([np.mean(r) for r in second])


def asv(a: Measurement, b: Measurement) -> str | None:
    """asv compare: Mann-Whitney's U below 0.002, and a ratio of medians beyond 1.1."""
    first, second = _halves(a, b)
    ratio = float(np.median(second) / np.median(first))
    if scipy_stats.mannwhitneyu(first, second).pvalue >= 0.002 or 1 / 1.1 < ratio < 1.1:
        return None
    return "slower" if ratio > 1 else "faster"


def pyperf(a: Measurement, b: Measurement) -> str | None:
    """pyperf compare_to: Student's t-test of the values, two-sided at 95%."""
    first, second = _halves(a, b)
    if scipy_stats.ttest_ind(first, second).pvalue >= 0.05:
        return None
    return "slower" if second.mean() > first.mean() else "faster"


def fai_pep(a: Measurement, b: Measurement) -> str | None:
    """FAI-PEP's delay detector: p50 above the p90 of five earlier runs' p90s and a tenth of
    their range. It never says "faster". The five runs are fifths of A's first half."""
    half = len(a.rounds) // 2
    parts = np.array_split(np.arange(half), 5)
    rounds = [np.concatenate([a.rounds[i] for i in part]) for part in parts]
    p90s = sorted(float(np.percentile(values, 90)) for values in rounds)
    p50 = float(np.median(np.concatenate(b.rounds[half:])))
    return "slower" if p50 > p90s[int(len(p90s) * 0.9)] + (p90s[-1] - p90s[0]) / 10 else None


JUDGES: dict[str, Judge] = {
    "edgepack, significant": interval,
    "edgepack, gate > 2%": gate,
    "asv": asv,
    "pyperf": pyperf,
    "FAI-PEP": fai_pep,
}

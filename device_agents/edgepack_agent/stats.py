"""When to stop: a confidence interval of the median that assumes no distribution."""

import math
from typing import Optional, Sequence, Tuple


def median_interval(ordered: Sequence[int]) -> Optional[Tuple[int, int]]:
    """The 95% confidence interval of the median from order statistics.

    [x(k), x(n+1-k)] with the largest k for which P(Binomial(n, 1/2) < k) <= 2.5% (David and
    Nagaraja, Order Statistics, section 7.1); None below six values, which cannot give 95%.

    Args:
        ordered: values in ascending order.
    """
    n = len(ordered)
    if n < 6:
        return None
    if n > 100:
        k = int(n / 2 - 1.96 * math.sqrt(n) / 2)
    else:
        k, below = 0, 1
        while below <= 0.025 * 2**n:
            k += 1
            below += math.comb(n, k)
    return ordered[k - 1], ordered[n - k]


def converged(ordered_medians: Sequence[int], share: float) -> bool:
    """Whether p50 is known to within +-`share` of itself.

    Judged on the medians of the rounds, not on all samples: those of one round are alike
    (same frequency, same neighbours), so that pooled they would claim too much.
    """
    interval = median_interval(ordered_medians)
    if interval is None:
        return False
    p50 = ordered_medians[len(ordered_medians) // 2]
    return (interval[1] - interval[0]) / 2 <= share * p50

"""Statistics of raw samples, computed when they are read and never stored.

Latencies arrive in rounds: every round visits all variants of a job in random order and
takes a batch of single inferences from each. Samples of one round share the board's state
at that moment (frequency, temperature, neighbours), so they are correlated, and an interval
that counts each of them as independent is far too narrow. Here the round is the unit of what is
paired, and a stretch of rounds of 40 ms of what is not: their number, not that of samples, decides
how wide an interval is. Rounds that the agent found
disturbed (`Measurement.excluded`) are kept but do not count.

Where the variants were measured in several processes, one after the other
(`Measurement.launches`), the process is the unit instead: how its memory is laid out decides a
percent or more of a short inference for as long as it lives (Mytkowicz et al. 2009, "Producing
Wrong Data Without Doing Anything Obviously Wrong!"; Kalibera & Jones 2013, "Rigorous
Benchmarking in Reasonable Time", on which level to repeat).

Definitions:

* Percentiles are by nearest rank (the inverse of the empirical distribution; type 1 of
  Hyndman & Fan 1996, "Sample Quantiles in Statistical Packages"). The p90 is then an observed
  time that at least 90% of the inferences did not exceed, which is what a budget asks;
  interpolation would invent a value between two modes and can lie below it.
* The interval of p50 is made of order statistics of the stretches' medians (the sign-test
  interval; Conover 1999, "Practical Nonparametric Statistics", 3.2). It needs no shape, and
  its coverage is at least 95% from six on (97.9% at ten).
* The interval of a speed-up pairs both variants by round, so drift that both saw cancels. It
  is Tukey's interval of the Walsh averages of the rounds' log ratios, the inverse of the
  exact Wilcoxon signed-rank test (Hollander, Wolfe & Chicken 2014, 3.4). Two equal variants
  are exchangeable within a round, so their differences are symmetric and the rate of false
  alarms is at most 5%, whatever the distribution, provided rounds are independent.

A bootstrap over rounds was tried instead: its percentile interval called two equal variants
different in 12% of simulations with six rounds; the signed-rank interval in 3.7%.

Limits: with two to five rounds no distribution-free 95% interval exists, and Student's t on
the logs of the rounds' medians is used, which assumes them roughly log-normal. One round
says nothing of the spread between rounds: the interval is the range of its samples, and
nothing is called significant. Slow drift across rounds makes neighbours alike: p50's interval
then describes this run and not the next one. Every interval is widened, where needed, to
hold the estimate it belongs to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgepack.model import Latency, Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
#: Rounds from which the distribution-free intervals reach 95%: 1 - 2 * 0.5**6 = 96.9%.
EXACT_ROUNDS = 6
#: Nanoseconds of inferences: rounds are short, so that two variants see the same state of the
#: board, and neighbouring ones are too much alike to count as independent looks at it.
STRETCH_NS = 40e6
#: More rounds than this are merged with their neighbours: Walsh averages grow as the square.
MOST_BLOCKS = 400
#: The normal distribution's 97.5% quantile.
Z = 1.959963984540054
#: Student's t: the same quantile by degrees of freedom, up to EXACT_ROUNDS. Here, and not from
#: SciPy, whose import takes longer than a comparison.
STUDENT = {
    1: 12.706204736432095,
    2: 4.302652729696142,
    3: 3.182446305284263,
    4: 2.776445105197793,
}


def latency(measurement: Measurement) -> Latency | None:
    """Statistics of the samples in microseconds; None when there are none."""
    import numpy as np

    units = stretches(measurement)
    if not units:
        return None
    us = np.sort(np.concatenate(units)) / 1e3
    p50 = percentile(us, 50)
    medians = np.sort([_median(values) for values in units]) / 1e3
    low, high = (us[0], us[-1]) if len(units) == 1 else _median_interval(medians)
    return Latency(
        n=len(us),
        min=float(us[0]),
        p50=p50,
        p90=percentile(us, 90),
        p99=percentile(us, 99),
        mean=float(us.mean()),
        stdev=float(us.std(ddof=1)) if len(us) > 1 else 0.0,
        p50_ci95=(min(float(low), p50), max(float(high), p50)),
    )


def percentile(ordered: Sequence[float] | Floats, percent: float) -> float:
    """The nearest-rank percentile of values sorted in ascending order (at least one)."""
    rank = math.ceil(len(ordered) * percent / 100)
    return float(ordered[max(rank, 1) - 1])


def speedup(base: Measurement, other: Measurement) -> tuple[float, tuple[float, float]]:
    """`base` p50 / `other` p50 (above 1: `other` is faster) and its 95% interval.

    Both must come from one job, whose rounds are interleaved: round i is paired with round
    i. Where one has more rounds, the unpaired ones count for the estimate only. Of several
    launches, each counts once, with the median of its rounds' ratios. A single pair gives the
    interval (0, infinity): nothing can be said.

    Raises:
        ValueError: one of them has no samples.
    """
    import numpy as np

    ours, theirs = _rounds(base), _rounds(other)
    if not any(map(len, ours)) or not any(map(len, theirs)):
        raise ValueError("a measurement without samples has no speed-up")
    estimate = _median(np.concatenate(ours)) / _median(np.concatenate(theirs))
    logs = _by_launch(_paired_logs(ours, theirs), base, other)
    if len(logs) < 2:
        return estimate, (0.0, math.inf)
    low, high = centre_interval(logs)
    return estimate, (min(float(np.exp(low)), estimate), max(float(np.exp(high)), estimate))


def centre_interval(differences: Any) -> tuple[float, float]:
    """95% interval of the centre of at least two differences; Student's t below six."""
    few = len(differences) < EXACT_ROUNDS
    return _t_interval(differences) if few else _walsh_interval(differences)


def has_interval(interval: tuple[float, float]) -> bool:
    """Whether a speed-up's interval says anything; that of a single pair of rounds does not."""
    return interval[0] > 0


def significant(interval: tuple[float, float]) -> bool:
    """Whether the interval of a ratio leaves out 1."""
    return not interval[0] <= 1.0 <= interval[1]


def wilson(successes: float, n: int) -> tuple[float, float]:
    """95% interval of a proportion (Wilson 1927): honest near 0 and 1, unlike the normal one."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + Z * Z / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def mcnemar(base: str, other: str) -> float:
    """Exact two-sided p value of paired correctness bits (hex, as `Quality.correct`).

    Under the null hypothesis a sample that only one of both gets right falls to either side
    like a fair coin (McNemar 1947; the exact binomial form), so p is 1 without such samples.

    Raises:
        ValueError: the bits are not hexadecimal, or of different lengths.
    """
    if len(base) != len(other):
        raise ValueError("paired bits must cover the same samples")
    first, second = int(base or "0", 16), int(other or "0", 16)
    lost, won = (first & ~second).bit_count(), (second & ~first).bit_count()
    if lost + won == 0:
        return 1.0
    return min(1.0, 2 * float(_coin_tails(lost + won)[min(lost, won)]))


def observations(measurement: Measurement, *, launches: bool = True) -> list[Floats]:
    """What counts as one observation each: the samples of a launch, or of a round of the only one.

    Each at its place, without the disturbed rounds; so some may be empty. launches: False for
    rounds in every case.
    """
    import numpy as np

    rounds = _rounds(measurement)
    if len(measurement.launches) < 2 or not launches:
        return rounds
    bounds = [*measurement.launches, len(rounds)]
    return [np.concatenate([*rounds[first:end], np.empty(0)]) for first, end in pairwise(bounds)]


def stretches(measurement: Measurement) -> list[Floats]:
    """Observations for an interval that pairs nothing: what `observations` says, but neighbouring
    rounds of the only launch are one until they hold STRETCH_NS. A short rest joins the last one.
    """
    import numpy as np

    units = [values for values in observations(measurement) if len(values)]
    if len(measurement.launches) > 1:
        return units
    found: list[list[Floats]] = []
    length = STRETCH_NS
    for values in units:
        if length >= STRETCH_NS:
            found.append([])
            length = 0.0
        found[-1].append(values)
        length += float(values.sum())
    if len(found) > 1 and length < STRETCH_NS:
        rest = found.pop()
        found[-1] += rest
    return [np.concatenate(own) for own in found]


def _by_launch(logs: dict[int, float], base: Measurement, other: Measurement) -> Floats:
    """One log ratio a launch where both had the same ones, else one a round, at most 400."""
    import numpy as np

    every = np.array(list(logs.values()))
    if base.launches == other.launches and len(base.launches) > 1:
        bounds = [*base.launches, len(base.rounds)]
        inside = [[logs[at] for at in range(*ends) if at in logs] for ends in pairwise(bounds)]
        return np.array([np.median(own) for own in inside if own])
    if len(every) <= MOST_BLOCKS:
        return every
    return np.array([block.mean() for block in np.array_split(every, MOST_BLOCKS)])


def _rounds(measurement: Measurement) -> list[Floats]:
    """The rounds, each at its place; those that were disturbed are empty and so never count."""
    import numpy as np

    excluded = frozenset(measurement.excluded)
    return [
        np.asarray(() if at in excluded else values, dtype=np.float64)
        for at, values in enumerate(measurement.rounds)
    ]


def _paired_logs(base: Sequence[Floats], other: Sequence[Floats]) -> dict[int, float]:
    """The log ratio of medians of each round that both took part in, by its position."""
    pairs = enumerate(zip(base, other, strict=False))
    return {at: math.log(_median(a) / _median(b)) for at, (a, b) in pairs if len(a) and len(b)}


def _median(values: Floats) -> float:
    """The nearest-rank p50 of unsorted nanoseconds, in linear time."""
    import numpy as np

    rank = max(math.ceil(len(values) / 2), 1) - 1
    # A clock too coarse for the model can yield 0; a ratio needs at least one tick of 1 ns.
    return max(float(np.partition(values, rank)[rank]), 1.0)


def _median_interval(ordered: Any) -> tuple[float, float]:
    """Interval of the median of at least two ordered values."""
    import numpy as np

    count = len(ordered)
    if count < EXACT_ROUNDS:
        low, high = _t_interval(np.log(np.maximum(ordered, 1e-3)))
        return math.exp(low), math.exp(high)
    drop = _sign_rank(count)
    return float(ordered[drop - 1]), float(ordered[count - drop])


def _t_interval(values: Any) -> tuple[float, float]:
    """Student's interval of the mean of at least two values."""
    count = len(values)
    half = STUDENT[count - 1] * float(values.std(ddof=1)) / count**0.5
    return float(values.mean()) - half, float(values.mean()) + half


def _walsh_interval(logs: Any) -> tuple[float, float]:
    import numpy as np

    first, second = np.triu_indices(len(logs))
    walsh = np.sort((logs[first] + logs[second]) / 2)
    rank = _signed_rank(len(logs))
    return float(walsh[rank - 1]), float(walsh[len(walsh) - rank])


@lru_cache(maxsize=512)
def _sign_rank(count: int) -> int:
    """The rank whose order statistics bound the median of `count` values with ≥95%."""
    tail = _coin_tails(count)[: count // 2]
    return max(int((tail <= (1 - CONFIDENCE) / 2).sum()), 1)


def _coin_tails(count: int) -> Floats:
    """P(at most k heads in `count` throws of a fair coin) for k = 0..count // 2.

    From the logarithms of the binomial coefficients, each made of the one before: good to
    1e-11 for a million throws, where the chances themselves would leave the floats.
    """
    import numpy as np

    heads = np.arange(1, count // 2 + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((count - heads + 1) / heads))])
    return np.cumsum(np.exp(logs - count * math.log(2)))


@lru_cache(maxsize=512)
def _signed_rank(count: int) -> int:
    """The rank whose Walsh averages bound the centre of `count` differences with ≥95%.

    The null distribution of the signed-rank sum is that of a sum over i = 1..count of i or
    0, each with probability one half.
    """
    import numpy as np

    weights = np.ones(1)
    for rank in range(1, count + 1):
        grown = np.zeros(len(weights) + rank)
        grown[: len(weights)] = weights / 2
        grown[rank:] += weights / 2
        weights = grown
    return max(int((np.cumsum(weights) <= (1 - CONFIDENCE) / 2).sum()), 1)

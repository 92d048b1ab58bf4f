"""Ratios of latency percentiles, with intervals, within one session and between two.

Any percentile is compared by blocks of whole rounds (of whole launches, where the variants were
measured in several processes: see `stats`): neighbours are joined until a block holds enough
samples for the percentile to be one of them (10 for p90, 100 for p99), and each block gives one
value. Blocks of one session are paired, as its rounds are interleaved
(`stats.speedup` does the same for p50). Blocks of two sessions have nothing to be paired by:
their interval is the Hodges-Lehmann one, the inverse of the Wilcoxon rank-sum test
(Hollander, Wolfe & Chicken 2014, 4.3), exact for few blocks and by the normal approximation
from there. Below four blocks on either side Welch's t on the logs is used.

Limits: an interval between sessions holds what changed within them; where the loader put the
pages only with several launches. What changes from one session to the next (a reboot, the room's
temperature) is not in it, so a small significant change may belong to the day and not to the
model; a gate therefore asks for a margin as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from edgepack.analysis import stats
from edgepack.model import Measurement

#: More blocks than this are joined further: the differences of all pairs grow as the square.
MOST_BLOCKS = 200
_EXACT_BLOCKS = 25
_FEWEST_FOR_RANKS = 4

#: One observation: the samples of each side.
Sides = tuple[Any, ...]
Ratio = tuple[float, tuple[float, float] | None]


def ratio(base: Measurement, other: Measurement, percent: int, *, paired: bool) -> Ratio:
    """`base`'s percentile / `other`'s (above 1: `other` is faster) and its 95% interval.

    paired: both come from one job. The interval is None where there are not two blocks on
    either side: then nothing can be said about chance.

    Raises:
        ValueError: one of them has no samples.
    """
    estimate = _overall(base, percent) / _overall(other, percent)
    if paired:
        ours, theirs = _paired(base, other, percent)
    else:
        ours, theirs = _blocks(base, percent), _blocks(other, percent)
    if len(ours) < 2 or len(theirs) < 2:
        return estimate, None
    if paired:
        low, high = stats.centre_interval(ours - theirs)
    else:
        low, high = _shift_interval(ours, theirs)
    return estimate, (min(math.exp(low), estimate), max(math.exp(high), estimate))


def samples_a_block(percent: int) -> int:
    """How many samples it takes for the percentile to be one of them: 2, 10 or 100."""
    return math.ceil(100 / (100 - percent))


def _overall(measurement: Measurement, percent: int) -> float:
    import numpy as np

    every = np.sort(np.concatenate([np.empty(0), *stats.observations(measurement)]))
    if not len(every):
        raise ValueError("a measurement without samples has no percentile")
    return max(stats.percentile(every, percent), 1.0)


def _blocks(measurement: Measurement, percent: int) -> Any:
    """One log percentile a block; the last, short block joins its neighbour."""
    own = [(values,) for values in stats.stretches(measurement)]
    return _logs(_joined(own, samples_a_block(percent)), 0, percent)


def _paired(base: Measurement, other: Measurement, percent: int) -> tuple[Any, Any]:
    """The logs of both sides' blocks, made of the same rounds."""
    alike = base.launches == other.launches
    sides = (stats.observations(side, launches=alike) for side in (base, other))
    both = [pair for pair in zip(*sides, strict=False) if len(pair[0]) and len(pair[1])]
    blocks = _joined(both, samples_a_block(percent))
    return _logs(blocks, 0, percent), _logs(blocks, 1, percent)


def _joined(observations: Iterable[Sides], wanted: int) -> list[Sides]:
    """Neighbours joined until every side of each has so many samples; a short last one joins
    its neighbour."""
    blocks: list[Sides] = []
    for one in observations:
        if blocks and _short(blocks[-1], wanted):
            blocks[-1] = _both(blocks[-1], one)
        else:
            blocks.append(one)
    if len(blocks) > 1 and _short(blocks[-1], wanted):
        last = blocks.pop()
        blocks[-1] = _both(blocks[-1], last)
    return blocks


def _short(block: Sides, wanted: int) -> bool:
    return min(map(len, block)) < wanted


def _both(first: Sides, second: Sides) -> Sides:
    import numpy as np

    return tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))


def _logs(blocks: list[Sides], side: int, percent: int) -> Any:
    import numpy as np

    ordered = (np.sort(block[side]) for block in blocks)
    logs = np.array([math.log(max(stats.percentile(values, percent), 1.0)) for values in ordered])
    if len(logs) <= MOST_BLOCKS:
        return logs
    return np.array([block.mean() for block in np.array_split(logs, MOST_BLOCKS)])


def _shift_interval(ours: Any, theirs: Any) -> tuple[float, float]:
    """95% interval of the shift between two independent sets of logs."""
    import numpy as np

    few = min(len(ours), len(theirs))
    if few < _FEWEST_FOR_RANKS:
        return _welch(ours, theirs)
    between = np.sort(np.subtract.outer(ours, theirs), axis=None)
    rank = _rank_sum(len(ours), len(theirs))
    return float(between[rank - 1]), float(between[len(between) - rank])


def _welch(ours: Any, theirs: Any) -> tuple[float, float]:
    from scipy.special import stdtrit

    parts = [float(side.var(ddof=1)) / len(side) for side in (ours, theirs)]
    spread = sum(parts)
    centre = float(ours.mean() - theirs.mean())
    if spread == 0:
        return centre, centre
    freedom = spread**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (ours, theirs), strict=True)
    )
    half = float(stdtrit(freedom, (1 + stats.CONFIDENCE) / 2)) * math.sqrt(spread)
    return centre - half, centre + half


@lru_cache(maxsize=512)
def _rank_sum(first: int, second: int) -> int:
    """The rank whose ordered differences bound the shift with at least 95%.

    The null distribution of the Mann-Whitney count: its generating function is the Gaussian
    binomial coefficient, built here by one factor (1 - q^(second+i)) / (1 - q^i) at a time.
    """
    import numpy as np

    if max(first, second) > _EXACT_BLOCKS:
        mean, spread = first * second / 2, first * second * (first + second + 1) / 12
        return max(math.floor(mean - stats.Z * math.sqrt(spread)), 1)
    ways = np.zeros(first * second + 1)
    ways[0] = 1.0
    for step in range(1, first + 1):
        for at in range(len(ways) - 1, second + step - 1, -1):
            ways[at] -= ways[at - second - step]
        for at in range(step, len(ways)):
            ways[at] += ways[at - step]
    tail = np.cumsum(ways) / math.comb(first + second, first)
    return max(int((tail <= (1 - stats.CONFIDENCE) / 2).sum()), 1)

"""Where a trace of times changes its level, and from where on it is steady.

Pure functions over lists of numbers, without NumPy: the agent's own process judges rounds with
them, and a small board has no memory for NumPy there.

Steady is what Barrett et al. ("Virtual Machine Warmup Blows Hot and Cold", 2017) call it: from
some change point on, no further change of level until the end. As there, "no steady state" is
an answer. The change points are those of optimal partitioning (Jackson et al. 2005) with a
least-squares cost on the logarithms, and BIC's price of a change point.
"""

import math
from statistics import median
from typing import List, NamedTuple, Optional, Sequence, Tuple

BLOCKS = 96  # a trace is cut into so many medians: bounds the time of the partitioning
SHORTEST = 3  # blocks of a segment: fewer are a spike, not a level
TOLERANCE = 0.02  # levels closer than this, as a share, count as one
STEADY_SHARE = 0.25  # of the trace that must be steady at its end
NOISE_FLOOR = 1e-3  # of a level: no clock and no board are quieter for long


class Segment(NamedTuple):
    """Blocks [start, end) of one level, in the unit of the values given."""

    start: int
    end: int
    level: float


def blocks(values: Sequence[float], most: int = BLOCKS) -> Tuple[List[float], int]:
    """The medians of at most `most` equal stretches of the trace, and the stretch's length.

    What is left over at the beginning is dropped, the end counts.
    """
    size = -(-len(values) // most)
    count = len(values) // size if size else 0
    first = len(values) - count * size
    return [median(values[first + i * size : first + (i + 1) * size]) for i in range(count)], size


def noise(logs: Sequence[float]) -> float:
    """Standard deviation of the logs about their level: from differences of neighbours.

    The median of absolute differences ignores the few that span a change of level.
    """
    steps = [abs(logs[i] - logs[i - 1]) for i in range(1, len(logs))]
    return max(1.4826 * median(steps) / math.sqrt(2), NOISE_FLOOR) if steps else NOISE_FLOOR


def _without_spikes(logs: Sequence[float], sigma: float) -> List[float]:
    """Values far off the median of their neighbourhood (Hampel's filter) replaced by it."""
    kept = []
    for i, value in enumerate(logs):
        around = median(logs[max(0, i - 3) : i + 4])
        kept.append(value if abs(value - around) <= 4 * sigma else around)
    return kept


def segments(values: Sequence[float], shortest: int = SHORTEST) -> List[Segment]:
    """The levels that a trace of at most a few hundred positive values goes through."""
    logs = [math.log(max(value, 1e-9)) for value in values]
    if len(logs) < 2 * shortest:
        return [Segment(0, len(logs), median(values))] if logs else []
    sigma = noise(logs)
    cleaned = _without_spikes(logs, sigma)
    found = []
    for start, end in _partition(cleaned, 3 * sigma**2 * math.log(len(logs)), shortest):
        found.append(Segment(start, end, math.exp(median(cleaned[start:end]))))
    return found


def _partition(logs: Sequence[float], price: float, shortest: int) -> List[Tuple[int, int]]:
    """Optimal partitioning: the least sum of squares about the means, plus `price` a cut."""
    sums, squares = [0.0], [0.0]
    for value in logs:
        sums.append(sums[-1] + value)
        squares.append(squares[-1] + value * value)
    best = [-price] + [math.inf] * len(logs)
    cut = [0] * (len(logs) + 1)
    for end in range(shortest, len(logs) + 1):
        for start in range(end - shortest + 1):
            total = sums[end] - sums[start]
            cost = squares[end] - squares[start] - total * total / (end - start)
            if best[start] + cost + price < best[end]:
                best[end], cut[end] = best[start] + cost + price, start
    pieces = []
    end = len(logs)
    while end:
        pieces.append((cut[end], end))
        end = cut[end]
    return pieces[::-1]


def _drift(values: Sequence[float]) -> Tuple[float, float]:
    """How far the trace's line climbs from end to end, as a share, and its standard error."""
    n = len(values)
    logs = [math.log(max(value, 1e-9)) for value in values]
    middle = (n - 1) / 2
    spread = sum((i - middle) ** 2 for i in range(n))
    mean = sum(logs) / n
    slope = sum((i - middle) * value for i, value in enumerate(logs)) / spread
    rest = sum((value - mean - slope * (i - middle)) ** 2 for i, value in enumerate(logs))
    error = math.sqrt(max(rest / max(n - 2, 1), NOISE_FLOOR**2) / spread)
    return slope * (n - 1), error * (n - 1)


def steady_from(values: Sequence[float]) -> Optional[int]:
    """The index from which the trace keeps its level up to its end; None: no steady state.

    Levels within TOLERANCE of the last one (or within the blocks' noise) count as it. Spikes do
    not end a steady state; a slow climb over more than TOLERANCE does. The steady part must be
    the last quarter of the trace at least.
    """
    if len(values) < 2 * SHORTEST:
        return None
    reduced, size = blocks(values)
    found = segments(reduced)
    logs = [math.log(max(value, 1e-9)) for value in reduced]
    near = max(TOLERANCE, 2 * noise(logs) / math.sqrt(SHORTEST))
    last = found[-1].level
    start = len(reduced)
    for segment in reversed(found):
        if abs(math.log(segment.level / last)) > near:
            break
        start = segment.start
    if len(reduced) - start < max(2 * SHORTEST, STEADY_SHARE * len(reduced)):
        return None
    sigma = noise(logs[start:])
    cleaned = [math.exp(value) for value in _without_spikes(logs[start:], sigma)]
    climb, error = _drift(cleaned)
    if abs(climb) > TOLERANCE and abs(climb) > 4 * error:
        return None
    return len(values) - (len(reduced) - start) * size

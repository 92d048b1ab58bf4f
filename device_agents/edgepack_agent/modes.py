"""What a job asks of the measuring: how large a turn is, and when a variant was measured enough.

latency: single inferences until p50 is known. offline: inferences back to back, the bringing in
of the input included, until its p50 is known. single-stream: MLPerf LoadGen's scenario, by a
least duration and number of queries. sustained: all the time there is, the board never idle.
"""

from statistics import median
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Sequence

from edgepack_agent import stats
from edgepack_agent.job import Settings

if TYPE_CHECKING:
    from edgepack_agent.subject import Visit

# A variant's turn within a round. Short, so that two variants see the same state of the board:
# beside a neighbour that comes and goes, the ratios of 10 ms turns were seen to be known twice as
# well in the same time as those of 50 ms.
TURN_NS = 10_000_000
LEAST_TURN = 3  # inferences, as far as they fit in LONG_NS: the first finds cold caches
LONG_NS = 50_000_000  # a turn of a sustained job, which leaves no pauses, or of few inferences
STRETCH_NS = 40_000_000  # of neighbouring turns, alike as they are, that count as one observation
MAX_TURN = 1000  # inferences in a turn, so that fast models do not flood the link
MAX_SAMPLES = 2 << 20  # of one job, 16 MiB: half of what the host takes, outputs included
SHORT_NS = 50_000  # p50 below which where a process has its memory is seen in its times
LAUNCHES = 6  # the fewest whose medians have a distribution-free 95% interval
SETTLE_SHARE = 10  # one untimed inference (at least) for so many timed ones, to refill the caches


class Turn(NamedTuple):
    """`settle` inferences that do not count, then `n` that do."""

    n: int
    settle: int


def turn(settings: Settings, p50_ns: int, parts: int) -> Turn:
    """The turn of a variant whose inference takes about `p50_ns`.

    A long job takes fewer samples a turn, so that all of its time can be measured. In a
    sustained one the rest of the turn is filled with inferences that are not timed: the heat
    comes from those as well. parts: variants times launches, each of which measures at least one
    round, whatever the others took.
    """
    sustained = settings.mode == "sustained"
    length = LONG_NS if sustained else TURN_NS
    full = max(1, length // max(1, p50_ns), min(LEAST_TURN, LONG_NS // max(1, p50_ns)))
    share = MAX_SAMPLES * length // max(1, int(settings.max_s * 1e9))
    n = max(1, min(MAX_TURN, full, share, MAX_SAMPLES // (2 * parts)))
    settle = max(n // SETTLE_SHARE, int(n > 1))
    return Turn(n, max(settle, full - n) if sustained else settle)


def launches(settings: Settings, p50s_ns: Sequence[int]) -> int:
    """How many processes each variant is measured in, given about what they all take."""
    if settings.launches is not None or settings.mode != "latency":
        return settings.launches or 1
    return LAUNCHES if p50s_ns and min(p50s_ns) < SHORT_NS else 1


def medians(visits: "Sequence[Visit]") -> List[int]:
    """In ascending order, of stretches; of whole launches where there are as many as that takes."""
    by_launch: Dict[int, List[int]] = {}
    for visit in visits:
        by_launch.setdefault(visit.launch, []).append(visit.p50_ns)
    if len(by_launch) < LAUNCHES:
        return sorted(stretches(visits))
    return sorted(int(median(values)) for values in by_launch.values())


def stretches(visits: "Sequence[Visit]") -> List[int]:
    """The median of each stretch of neighbouring turns."""
    parts = joined([visit.span_ns for visit in visits])
    return [int(median(visits[at].p50_ns for at in part)) for part in parts]


def joined(lengths_ns: Sequence[int]) -> List[List[int]]:
    """The places of neighbours that count as one: together STRETCH_NS long and more. What they
    share (a neighbour, a frequency) they do not tell anew. A short rest belongs to the last."""
    found: List[List[int]] = []
    length = STRETCH_NS
    for at, own in enumerate(lengths_ns):
        if length >= STRETCH_NS:
            found.append([])
            length = 0
        found[-1].append(at)
        length += own
    if len(found) > 1 and length < STRETCH_NS:
        rest = found.pop()
        found[-1] += rest
    return found


def enough(settings: Settings, ordered_medians: List[int], queries: int, spent_ns: int) -> bool:
    """Whether a variant needs no more rounds.

    Args:
        ordered_medians: see `medians`, in nanoseconds.
        queries: inferences that count.
        spent_ns: time that those took in all.
    """
    if settings.mode == "sustained":
        return False
    if settings.mode == "single-stream":
        return queries >= settings.min_queries and spent_ns >= settings.min_s * 1e9
    return stats.converged(ordered_medians, settings.ci)


def shortfall(settings: Settings, ordered_medians: List[int], queries: int, spent_ns: int) -> str:
    """The flag of a variant that was not measured enough when the time was up; "" for none."""
    if settings.mode == "sustained" or enough(settings, ordered_medians, queries, spent_ns):
        return ""
    return "too-few-queries" if settings.mode == "single-stream" else "not-converged"

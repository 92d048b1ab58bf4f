"""What disturbed a run, when, and which rounds it touched.

Pure functions over the sampler's time line and the visits. A disturbance is a departure from
the run's own normal state for less than half of it: a neighbour that is there all the time is
the flag `busy`, not a disturbance. Evidence is either the board's own word (a throttle bit,
stolen time, time spent waiting for a core) or a level of the rounds that is not the usual one.
A single slow round is no level: it belongs to the tail that p99 is there to show.
"""

import math
from statistics import mean, median
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from edgepack_agent import modes, steady

COLUMNS = (
    "t_s", "frequency_mhz", "temperature_c", "throttled", "quota", "others", "steal", "waiting",
    "memory_mb", "power_w", "gpu",
)  # fmt: skip
SLOWER = 0.95  # of the usual frequency: below it is a change
OTHERS = 0.5  # cores that others use beyond the usual
SHARE = 0.04  # of the time stolen, cut by a quota or spent waiting for a core, beyond the usual
SHIFT = 0.03  # of a level: less is within what p50's interval tells
LASTING = 2  # rows of the time line that load or frequency must last
LEVEL = "level-shift"
MOST = 0.5  # of the rounds: more than these is not a disturbance of the run but its state


class Disturbance(NamedTuple):
    """kind: throttled, quota, frequency, neighbour, steal, stalled, stopped or level-shift."""

    kind: str
    from_ns: int
    to_ns: int


Row = Sequence[Optional[float]]
Span = Tuple[int, int]


def in_time_line(rows: Sequence[Row], start_ns: int, period_s: float) -> List[Disturbance]:
    """Disturbances that the board itself tells of. A row speaks for the time since the last."""
    found = []
    for kind, bad in _evidence(rows, period_s):
        for first, last in _runs(bad):
            begins = rows[first - 1][0] if first else rows[first][0]
            found.append(Disturbance(kind, _ns(begins, start_ns), _ns(rows[last][0], start_ns)))
    return found


def _ns(seconds: Optional[float], start_ns: int) -> int:
    return start_ns + int((seconds or 0.0) * 1e9)


def _evidence(rows: Sequence[Row], period_s: float) -> List[Tuple[str, List[bool]]]:
    """Each kind with the rows that show it."""

    def column(name: str) -> List[Optional[float]]:
        return [row[COLUMNS.index(name)] for row in rows]

    def above(name: str, by: float) -> List[bool]:
        return _above(column(name), by)

    usual_mhz, _ = _usual(column("frequency_mhz"))
    slow = [mhz is not None and mhz < SLOWER * usual_mhz for mhz in column("frequency_mhz")]
    times = [row[0] or 0.0 for row in rows]
    gaps = [b - a > 4 * period_s + 0.5 for a, b in zip(times[:1] + times, times)]
    return [
        ("throttled", [bool(bit) for bit in column("throttled")]),
        ("quota", above("quota", SHARE)),
        ("steal", above("steal", SHARE)),
        ("neighbour", _either(above("waiting", SHARE), _lasting(above("others", OTHERS)))),
        ("frequency", _lasting(slow)),
        ("stalled", gaps),
    ]


def _above(values: Sequence[Optional[float]], by: float) -> List[bool]:
    usual, spread = _usual(values)
    return [value is not None and value > usual + by + 4 * spread for value in values]


def in_idle_time(visits: Sequence[Any], period_s: float) -> List[Disturbance]:
    """Periods in which the workers, in the middle of their turns, did not run: stopped, out of a
    quota that nothing tells of, or behind others."""
    period_ns = int(period_s * 1e9)
    spent: Dict[int, List[int]] = {}
    for visit in visits:
        idle = spent.setdefault(visit.start_ns // period_ns, [0, 0])
        idle[0] += visit.idle_ns
        idle[1] += visit.span_ns
    periods = sorted(spent)
    bad = _above([spent[p][0] / max(1, spent[p][1]) for p in periods], SHARE)
    return [
        Disturbance("stopped", periods[first] * period_ns, (periods[last] + 1) * period_ns)
        for first, last in _runs(bad)
    ]


def _usual(values: Sequence[Optional[float]]) -> Tuple[float, float]:
    """The median and the spread (scaled median absolute deviation) of those that are known."""
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 0.0
    middle = median(known)
    return middle, 1.4826 * median(abs(value - middle) for value in known)


def _either(a: Sequence[bool], b: Sequence[bool]) -> List[bool]:
    return [one or other for one, other in zip(a, b)]


def _runs(bad: Sequence[bool]) -> List[Span]:
    """(first, last) of every stretch of true values."""
    found: List[Span] = []
    for i, value in enumerate(bad):
        if value and found and found[-1][1] == i - 1:
            found[-1] = (found[-1][0], i)
        elif value:
            found.append((i, i))
    return found


def _lasting(bad: Sequence[bool]) -> List[bool]:
    kept = [False] * len(bad)
    for first, last in _runs(bad):
        if last - first + 1 >= LASTING:
            kept[first : last + 1] = [True] * (last - first + 1)
    return kept


def in_rounds(times: Sequence[Span], levels: Sequence[float]) -> List[Disturbance]:
    """Times on another level than most, from those of rounds, or of stretches of them, in order.

    Args:
        times: begin and end of each, monotonic nanoseconds.
        levels: of each against the usual one: 1.0 is as usual.
    """
    size = -(-len(levels) // steady.BLOCKS) if levels else 1
    reduced = [median(levels[i : i + size]) for i in range(0, len(levels), size)]
    pieces = steady.segments(reduced)
    if len(pieces) < 2:
        return []
    sigma = steady.noise([math.log(max(level, 1e-9)) for level in reduced])
    usual = _majority(pieces)
    found = []
    for piece in pieces:
        least = max(SHIFT, 4 * sigma / math.sqrt(piece.end - piece.start))
        if abs(math.log(piece.level / usual)) > least:
            last = min(piece.end * size, len(times)) - 1
            found.append(Disturbance(LEVEL, times[piece.start * size][0], times[last][1]))
    return found


def _majority(pieces: Sequence[steady.Segment]) -> float:
    """The level at which most of the rounds are, levels within SHIFT of each other as one."""

    def held(level: float) -> int:
        near = (p for p in pieces if abs(math.log(p.level / level)) <= SHIFT)
        return sum(p.end - p.start for p in near)

    return max((p.level for p in pieces), key=lambda level: (held(level), -level))


def levels(rounds: Sequence[Dict[Any, float]]) -> List[float]:
    """One level a round: the mean over its variants of the log ratio to each one's usual time.

    Args:
        rounds: by round, the time of each variant that took part (at least one).
    """
    by: Dict[Any, List[float]] = {}
    for times in rounds:
        for name, value in times.items():
            by.setdefault(name, []).append(math.log(max(value, 1e-9)))
    usual = {name: median(values) for name, values in by.items()}
    return [
        math.exp(
            sum(math.log(max(v, 1e-9)) - usual[name] for name, v in times.items()) / len(times)
        )
        for times in rounds
    ]


def touched(found: Sequence[Disturbance], times: Sequence[Span]) -> List[List[int]]:
    """By disturbance, the positions of the rounds that overlap it."""
    return [
        [i for i, (begin, end) in enumerate(times) if begin < one.to_ns and end > one.from_ns]
        for one in found
    ]


class Found(NamedTuple):
    """All disturbances, the rounds that each touched, and those that are not to count."""

    disturbances: List[Disturbance]
    rounds: List[List[int]]
    excluded: Set[int]

    def told(self, start_ns: int) -> List[Dict[str, Any]]:
        """As the event says it; seconds count from `start_ns`."""
        return [
            {
                "kind": one.kind,
                "from_s": round((one.from_ns - start_ns) / 1e9, 3),
                "to_s": round((one.to_ns - start_ns) / 1e9, 3),
                "rounds": rounds,
            }
            for one, rounds in zip(self.disturbances, self.rounds)
        ]


def judge(
    visits: Sequence[Sequence[Any]], rows: Sequence[Row], start_ns: int, period_s: float
) -> Found:
    """What disturbed the rounds.

    Args:
        visits: `subject.Visit`s by variant, of those that can still be measured.
        rows, start_ns, period_s: the time line, see `in_time_line`.
    """
    # Each process of a variant has a level of its own, which is no disturbance.
    by_round: Dict[int, Dict[Any, Any]] = {}
    for variant, own in enumerate(visits):
        for visit in own:
            by_round.setdefault(visit.round, {})[variant, visit.launch] = visit
    numbers = sorted(by_round)
    times = [_span(list(by_round[number].values())) for number in numbers]
    found = in_time_line(rows, start_ns, period_s)
    found += in_idle_time([visit for own in visits for visit in own], period_s)
    # Of a process that is stopped ten times a second a single turn shows nothing, or all of it.
    rounds = [by_round[number] for number in numbers]
    parts = modes.joined([max(v.span_ns for v in own.values()) for own in rounds])
    spans = [(times[part[0]][0], times[part[-1]][1]) for part in parts]
    # The mean shows what the median hides: a quota stops few inferences, each for long.
    for key, middle in (("p50_ns", median), ("mean_ns", mean)):
        merged = [_merged([rounds[at] for at in part], key, middle) for part in parts]
        found += in_rounds(spans, levels(merged))
    hit = touched(found, times)
    told: List[Tuple[Disturbance, List[int]]] = []
    excluded: Set[int] = set()
    for one, at in zip(found, hit):
        rounds = [numbers[i] for i in at]
        if rounds and not (one.kind == LEVEL and excluded.issuperset(rounds)):  # told already
            told.append((one, rounds))
            excluded.update(rounds)
    # Of every variant more must stay: one whose turns came late has few rounds, all of them hit.
    if any(_hit(own, excluded) > MOST * len(own) for own in visits if own):
        excluded = set()
    return Found([one for one, _ in told], [rounds for _, rounds in told], excluded)


def _merged(
    rounds: Sequence[Dict[Any, Any]], key: str, middle: Callable[[List[float]], float]
) -> Dict[Any, float]:
    """By variant and launch, one number for that field of its visits."""
    values: Dict[Any, List[float]] = {}
    for visits in rounds:
        for name, visit in visits.items():
            values.setdefault(name, []).append(getattr(visit, key))
    return {name: middle(own) for name, own in values.items()}


def _hit(visits: Sequence[Any], excluded: Set[int]) -> int:
    return sum(visit.round in excluded for visit in visits)


def _span(visits: Sequence[Any]) -> Span:
    return min(v.start_ns for v in visits), max(v.start_ns + v.span_ns for v in visits)

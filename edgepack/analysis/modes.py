"""What the modes of measuring are for: tails, throughput, minutes under load, threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from edgepack.analysis import loadgen, stats
from edgepack.model import Latency, Measurement, Status

MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples a second with inferences back to back, and its 95% interval."""

    per_s: float
    ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Minute:
    """One minute of a sustained run; number: from 1."""

    number: int
    latency: Latency


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Two variants of which the first was faster in one minute and slower in a later one."""

    faster: str
    slower: str
    minute: int
    flipped: int


@dataclass(frozen=True, kw_only=True)
class Swept:
    """p50 in microseconds with `threads` threads, and its 95% interval."""

    threads: int
    p50: float
    ci95: tuple[float, float]


def early_stopping(measurement: Measurement) -> dict[str, loadgen.Estimate | None]:
    """LoadGen's estimates of p90 and p99 in microseconds, by name; None: too few queries.

    As LoadGen does, every query counts, those of disturbed rounds too: a rule for tails that
    left out slow ones would promise too much.
    """
    import numpy as np

    rounds = [np.asarray(values, dtype=np.float64) for values in measurement.rounds]
    us = np.sort(np.concatenate(rounds)) / 1e3 if rounds else np.zeros(0)
    return {"p90": loadgen.estimate(us, 0.90), "p99": loadgen.estimate(us, 0.99)}


def throughput(measurement: Measurement) -> Throughput | None:
    """Samples a second of a measurement in mode "offline"; None for another or without rounds.

    Each round gives batch / mean time an inference; the estimate is over all inferences, the
    interval that of the rounds' median.
    """
    if measurement.mode != "offline" or measurement.status is not Status.OK:
        return None
    means = [
        sum(values) / len(values)
        for at, values in enumerate(measurement.rounds)
        if values and at not in measurement.excluded
    ]
    # Statistics of the rounds as if each were one inference of its mean length.
    as_rounds = tuple((max(1, round(mean)),) for mean in means)
    found = stats.latency(
        dataclasses.replace(measurement, rounds=as_rounds, excluded=(), launches=(0,))
    )
    if found is None:
        return None
    samples = measurement.batch * 1e6
    per_s = samples / found.mean
    low, high = (samples / found.p50_ci95[1], samples / found.p50_ci95[0])
    return Throughput(per_s=per_s, ci95=(min(low, per_s), max(high, per_s)))


def minutes(measurement: Measurement) -> tuple[Minute, ...]:
    """The minutes of a measurement in mode "sustained", each with its own statistics."""
    if measurement.mode != "sustained" or measurement.status is not Status.OK:
        return ()
    found = []
    for number, part in sorted(_by_minute(measurement).items()):
        latency = stats.latency(part)
        if latency is not None:
            found.append(Minute(number=number, latency=latency))
    return tuple(found)


def flips(measurements: Sequence[Measurement]) -> tuple[Flip, ...]:
    """Pairs of variants of one device whose order changes under load.

    Both orders must be significant in their minutes (`stats.speedup`), rounds paired.
    """
    parts = {
        m.variant: _by_minute(m)
        for m in measurements
        if m.mode == "sustained" and m.status is Status.OK
    }
    found = []
    for one, other in combinations(parts, 2):
        orders = {
            number: _order(parts[one][number], parts[other][number])
            for number in sorted(parts[one].keys() & parts[other].keys())
        }
        first = next(((n, order) for n, order in orders.items() if order), None)
        if first is None:
            continue
        later = next((n for n, order in orders.items() if order == -first[1]), None)
        if later is not None:
            faster, slower = (one, other) if first[1] > 0 else (other, one)
            found.append(Flip(faster=faster, slower=slower, minute=first[0], flipped=later))
    return tuple(found)


def swept(measurement: Measurement) -> tuple[Swept, ...]:
    """The thread counts that were measured, the measurement's own first; () without a sweep."""
    own = stats.latency(measurement) if measurement.status is Status.OK else None
    if own is None or not measurement.sweep:
        return ()
    found = [Swept(threads=measurement.threads, p50=own.p50, ci95=own.p50_ci95)]
    for point in measurement.sweep:
        rounds = tuple((median,) for median in point.medians_ns)
        # Each is an observation of its own, as the median of a launch is.
        own_units = tuple(range(len(rounds)))
        latency = stats.latency(
            dataclasses.replace(measurement, rounds=rounds, excluded=(), launches=own_units)
        )
        if latency is not None:
            found.append(Swept(threads=point.threads, p50=latency.p50, ci95=latency.p50_ci95))
    return tuple(found)


def _by_minute(measurement: Measurement) -> dict[int, Measurement]:
    """The measurement cut into minutes from its first round on, without incomplete rounds."""
    if len(measurement.started_ns) != len(measurement.rounds) or not measurement.rounds:
        return {}
    begin = measurement.started_ns[0]
    places: dict[int, list[int]] = {}
    for at, started in enumerate(measurement.started_ns):
        places.setdefault(1 + max(0, started - begin) // MINUTE_NS, []).append(at)
    return {
        number: dataclasses.replace(
            measurement, rounds=tuple(measurement.rounds[at] for at in own), excluded=()
        )
        for number, own in places.items()
    }


def _order(one: Measurement, other: Measurement) -> int:
    """1: `one` is significantly faster; -1: slower; 0: cannot be said."""
    ratio, interval = stats.speedup(other, one)
    if not stats.significant(interval):
        return 0
    return 1 if ratio > 1 else -1

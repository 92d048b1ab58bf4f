"""Statistics: known answers, and the error rates that the docstring promises."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, wilcoxon

from edgepack.analysis import stats
from edgepack.model import Measurement, Status
from tests import builders


def measured(*rounds: tuple[int, ...]) -> Measurement:
    return Measurement(variant="v", device="d", profile="p", status=Status.OK, rounds=rounds)


def pair(rng: random.Random, *, rounds: int = 12, slower: float = 1.0, batch: int = 25):
    """Two variants of one job: shared drift, own round effects, a heavy tail, rare bursts."""
    drift, ours, theirs = 1.0, [], []
    for _ in range(rounds):
        drift *= math.exp(rng.gauss(0, 0.02))
        for made, factor in ((ours, 1.0), (theirs, slower)):
            own = math.exp(rng.gauss(0, 0.01) * (6 if rng.random() < 0.05 else 1))
            made.append(
                tuple(
                    int(1e6 * factor * drift * own * (1 + rng.expovariate(30)))
                    for _ in range(batch)
                )
            )
    return measured(*ours), measured(*theirs)


def test_known_answers_in_microseconds() -> None:
    ms = 1_000_000
    found = stats.latency(measured(*(tuple(range(ms, 11 * ms, ms)) for _ in range(10))))
    assert found is not None
    assert (found.n, found.min, found.mean) == (100, 1000.0, 5500.0)
    assert (found.p50, found.p90, found.p99) == (5000.0, 9000.0, 10_000.0)
    assert found.stdev == pytest.approx(2886.7513)
    assert found.p50_ci95 == (5000.0, 5000.0)


def test_neighbouring_rounds_count_once_until_they_hold_forty_milliseconds() -> None:
    """Rounds of 10 ms beside a neighbour that is there half of the time, for 80 ms each time."""
    levels = [1_000_000 if (at // 8) % 2 else 1_600_000 for at in range(64)]
    short = measured(*((level,) * 10 for level in levels))
    found = stats.stretches(short)
    assert all(sum(values) >= stats.STRETCH_NS for values in found)
    assert sum(map(len, found)) == 640, "every sample counts"
    assert 16 <= len(found) < 64
    uneven = measured(*((20_000_000,) for _ in range(5)))
    assert [len(values) for values in stats.stretches(uneven)] == [2, 3], "a rest joins the last"
    whole = dataclasses.replace(short, launches=(0, 32))
    assert [len(values) for values in stats.stretches(whole)] == [320, 320]


def test_no_samples_is_none_and_no_speedup() -> None:
    empty = measured((), ())
    assert stats.latency(empty) is None
    with pytest.raises(ValueError, match="without samples"):
        stats.speedup(empty, measured((1, 2)))


@given(st.lists(st.lists(st.integers(1, 10**12), min_size=1, max_size=30), min_size=1, max_size=40))
def test_latency_is_ordered_and_percentiles_were_observed(rounds) -> None:
    found = stats.latency(measured(*map(tuple, rounds)))
    assert found is not None
    observed = {sample / 1e3 for values in rounds for sample in values}
    assert {found.min, found.p50, found.p90, found.p99} <= observed
    assert found.min <= found.p50 <= found.p90 <= found.p99 <= max(observed)
    assert found.p50_ci95[0] <= found.p50 <= found.p50_ci95[1]
    for percent, value in ((50, found.p50), (90, found.p90), (99, found.p99)):
        within = sum(s / 1e3 <= value for values in rounds for s in values)
        assert within * 100 >= percent * found.n, "at least that share is no slower"


@given(st.integers(6, 60))
def test_the_interval_of_p50_is_the_exact_sign_interval(count: int) -> None:
    values = [100_000_000 * (n + 1) for n in range(count)]
    found = stats.latency(measured(*((value,) for value in values)))
    assert found is not None
    below = values.index(round(found.p50_ci95[0] * 1000))
    above = count - 1 - values.index(round(found.p50_ci95[1] * 1000))
    assert below == above
    assert binomtest(below, count).pvalue <= 0.05
    assert below + 1 > count // 2 or binomtest(below + 1, count).pvalue > 0.05


@given(st.integers(6, 25), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_interval_of_a_speedup_agrees_with_the_exact_signed_rank_test(count, seed) -> None:
    rng = random.Random(seed)
    base = [rng.randrange(900_000, 1_000_000) for _ in range(count)]
    other = [rng.randrange(880_000, 980_000) for _ in range(count)]
    logs = np.log(np.array(base) / np.array(other))
    low, high = stats._walsh_interval(logs)
    p = wilcoxon(logs, method="exact").pvalue
    assert (p <= 0.05) == (not low <= 0 <= high)


def test_equal_variants_are_called_different_in_at_most_five_percent() -> None:
    rng = random.Random(11)
    for rounds in (6, 12, 40):
        wrong = sum(
            stats.significant(stats.speedup(*pair(rng, rounds=rounds))[1]) for _ in range(400)
        )
        # Binomial(400, 5%) exceeds 32 in less than 1% of cases.
        assert wrong <= 32, (rounds, wrong)


def test_two_to_five_rounds_are_not_more_often_wrong() -> None:
    rng = random.Random(12)
    for rounds in (2, 3, 5):
        wrong = sum(
            stats.significant(stats.speedup(*pair(rng, rounds=rounds))[1]) for _ in range(400)
        )
        assert wrong <= 32, (rounds, wrong)


def test_a_slowdown_of_five_percent_is_found() -> None:
    rng = random.Random(13)
    found = [stats.speedup(*pair(rng, rounds=20, slower=1.05)) for _ in range(100)]
    assert sum(stats.significant(interval) for _, interval in found) >= 95
    inside = sum(low <= 1 / 1.05 <= high for _, (low, high) in found)
    assert inside >= 88  # Binomial(100, 95%) is below 88 in 0.2% of cases


def test_drift_that_both_saw_cancels() -> None:
    drift = [1.0 + 0.04 * number for number in range(20)]  # throttling: 76% slower at the end
    base = measured(*builders.rounds(100, drift=drift, seed=1))
    other = measured(*builders.rounds(95, drift=drift, seed=2))
    estimate, (low, high) = stats.speedup(base, other)
    assert low > 1.03 and high < 1.08 and 1.02 < estimate < 1.09
    alone = stats.latency(base)
    assert alone is not None
    assert alone.p50_ci95[1] / alone.p50_ci95[0] > 1.2, "unpaired, the drift is in the interval"


def test_correlated_samples_do_not_make_the_interval_narrow() -> None:
    # Two states of a board, a hundred equal samples in each round: p50 is not known to 1%.
    rounds = [(100_000,) * 500 if n % 2 else (130_000,) * 500 for n in range(10)]
    found = stats.latency(measured(*rounds))
    assert found is not None
    assert found.p50_ci95 == (100.0, 130.0)


def test_one_round_says_nothing() -> None:
    one = measured(tuple(range(1000, 2000)))
    estimate, interval = stats.speedup(one, measured(tuple(range(3000, 4000))))
    assert estimate == pytest.approx(1499 / 3499)
    assert not stats.significant(interval)
    found = stats.latency(one)
    assert found is not None
    assert found.p50_ci95 == (1.0, 1.999)


def test_rounds_that_one_of_both_missed_are_not_paired() -> None:
    base = measured(*[(100, 100)] * 9, (), (5000, 5000))
    other = measured(*[(50, 50)] * 9, (9, 9), ())
    estimate, (low, high) = stats.speedup(base, other)
    assert (low, high) == (2.0, 2.0) and estimate == 2.0


def test_a_clock_that_yields_zero_is_no_crash() -> None:
    zero, some = measured(*[(0, 0)] * 8), measured(*[(10, 12)] * 8)
    estimate, (low, high) = stats.speedup(zero, some)
    assert math.isfinite(estimate) and low <= estimate <= high


def test_many_rounds_are_merged_not_dropped() -> None:
    rng = random.Random(3)
    base = measured(*((rng.randrange(1000, 1100),) for _ in range(5000)))
    other = measured(*((rng.randrange(900, 1000),) for _ in range(5000)))
    _, (low, high) = stats.speedup(base, other)
    assert 1.10 < low < high < 1.11


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29 (method 3).
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert stats.wilson(hits, n) == (
            pytest.approx(low, abs=1e-4),
            pytest.approx(high, abs=1e-4),
        )
    assert stats.wilson(20, 20)[1] == 1.0
    assert stats.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant(lost, won, both) -> None:
    base = "1" * lost + "0" * won + "1" * both
    other = "0" * lost + "1" * won + "1" * both
    digits = -(-len(base) // 4)

    def hexed(bits: str) -> str:
        return f"{int(bits.ljust(4 * digits, '0') or '0', 2):0{digits}x}" if digits else ""

    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert stats.mcnemar(hexed(base), hexed(other)) == pytest.approx(expected)


def test_mcnemar_refuses_what_is_not_paired() -> None:
    with pytest.raises(ValueError):
        stats.mcnemar("ff", "fff")
    with pytest.raises(ValueError):
        stats.mcnemar("zz", "ff")

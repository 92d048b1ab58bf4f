"""LoadGen's early-stopping rule, held against its published totals and its own promise."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.analysis import loadgen


@pytest.mark.parametrize(
    ("percentile", "totals"),
    [(0.9, [64, 81, 97, 113, 127]), (0.99, [662, 838, 1001, 1157, 1307])],
)
def test_totals_are_those_of_loadgen(percentile: float, totals: list[int]) -> None:
    assert [loadgen.min_queries(t, percentile) for t in range(1, 6)] == totals


def test_the_estimate_discards_what_the_queries_allow() -> None:
    assert loadgen.estimate(range(63), 0.9) is None
    for queries, discarded, value in ((64, 0, 63), (80, 0, 79), (81, 1, 79), (127, 4, 122)):
        found = loadgen.estimate(range(queries), 0.9)
        assert found == loadgen.Estimate(value=value, discarded=discarded, queries=queries)


def test_the_bound_holds_99_percent_of_the_time() -> None:
    rng = np.random.default_rng(1)
    true_p90 = float(np.exp(1.2815515655446004))
    held = 0
    for _ in range(2000):
        found = loadgen.estimate(np.sort(rng.lognormal(size=300)), 0.9)
        assert found is not None
        held += found.value >= true_p90
    assert held / 2000 >= 0.985


def test_many_queries_approach_the_percentile() -> None:
    found = loadgen.estimate(range(100_000), 0.99)
    assert found is not None
    assert 99_000 < found.value < 99_100

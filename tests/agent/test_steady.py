"""The steady-state detector on traces whose truth is known."""

from __future__ import annotations

from collections import Counter

from edgepack_agent import steady

from benchmarks import traces


def test_right_on_95_percent_of_known_traces() -> None:
    right: Counter[str] = Counter()
    count = 50
    for trace in traces.traces(count, seed=3):
        right[trace.kind] += traces.judged_right(steady.steady_from(trace.values), trace)
    assert sum(right.values()) >= 0.95 * count * len(traces.KINDS)
    assert min(right[kind] for kind in traces.KINDS) >= 0.85 * count, right


def test_too_few_samples_have_no_steady_state() -> None:
    assert steady.steady_from([100.0] * 5) is None
    assert steady.steady_from([100.0] * 6) == 0
    assert steady.steady_from([]) is None


def test_a_warm_up_that_has_not_ended_is_not_steady() -> None:
    assert steady.steady_from([200.0] * 90 + [100.0] * 10) is None
    assert steady.steady_from([200.0] * 40 + [100.0] * 60) == 40


def test_segments_are_cut_where_the_level_changes() -> None:
    noisy = [100 + i % 3 for i in range(30)] + [120 + i % 3 for i in range(20)]
    assert [(s.start, s.end) for s in steady.segments(noisy)] == [(0, 30), (30, 50)]


def test_one_spike_is_no_level() -> None:
    assert len(steady.segments([100.0 + i % 2 for i in range(20)] + [500.0] + [100.0] * 20)) == 1

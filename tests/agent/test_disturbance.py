"""Disturbances in known traces: found where they are, and none where there is none."""

from __future__ import annotations

import random
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

from edgepack_agent.measure import Bench
from edgepack_agent.subject import Visit

from benchmarks import disturbances, disturbed


def test_found_and_no_false_alarm() -> None:
    recall, false_alarms = disturbed.score(count=25, seed=5)
    assert min(recall.values()) >= 0.9, recall
    assert sum(recall.values()) / len(recall) >= 0.95, recall
    assert false_alarms <= 0.02


def test_a_disturbance_is_located_in_rounds_and_time() -> None:
    case = disturbed.case("throttled", seed=2)
    found = disturbed.judged(case)
    assert found.disturbances[0].kind == "throttled"
    first, last = case.rounds[0], case.rounds[-1]
    assert abs(min(found.excluded) - first) <= 5 and abs(max(found.excluded) - last) <= 5


def test_what_is_there_all_the_time_is_no_disturbance() -> None:
    case = disturbed.case("clean", seed=3)
    busy = [[*row[:5], 1.8, *row[6:]] for row in case.rows]
    assert disturbed.judged(case._replace(rows=busy)).excluded == set()


def test_a_variant_that_came_late_keeps_its_rounds() -> None:
    """Time was up soon after its first turn, and its only rounds are the disturbed ones."""
    case = disturbed.case("throttled", seed=2)
    late = [visit for visit in case.visits[0] if visit.round in case.rounds]
    assert disturbed.judged(case).excluded
    assert disturbed.judged(case._replace(visits=[*case.visits, late])).excluded == set()


def test_a_variant_that_crashed_does_not_keep_the_others_rounds() -> None:
    case = disturbed.case("throttled", seed=2)
    crashed = SimpleNamespace(alive=False, visits=[case.visits[0][case.rounds[0]]])
    subjects = [SimpleNamespace(alive=True, visits=visits) for visits in case.visits]
    bench: Any = SimpleNamespace(
        _visited=[*subjects, crashed],
        _sampler=SimpleNamespace(rows=case.rows, start_ns=disturbed.START_NS),
        _job=SimpleNamespace(settings=SimpleNamespace(mode="latency")),
    )
    Bench._judge(bench)
    assert bench.excluded == disturbed.judged(case).excluded != set()


def test_a_replayed_throttling_is_found_where_it_was_and_nowhere_else() -> None:
    """The sampler, in real time, on the files of a Raspberry Pi that becomes hot once."""
    found = disturbances.on_a_root(6.0, random.Random(2))
    assert (found.found, found.planted) == (1, 1)
    assert found.alarms <= found.quiet / 4, "only where this machine itself stood still"


def test_what_a_benchmark_counts_as_found_and_as_a_false_alarm() -> None:
    second = 10**9
    rounds = [(i * second, (i + 1) * second) for i in range(10)]
    spans = [(2 * second + 1, 4 * second)]  # rounds 2 and 3; 1 and 4 are its edge

    def judged(alarms: list[list[int]], seen: list[int], witness: set[int]) -> Any:
        def beside(places: Collection[int]) -> bool:
            return not witness.isdisjoint(places)

        return disturbances.outcome(rounds, alarms, spans, seen, 0.0, beside)

    both = judged([[2, 3], [8, 9]], [9 * second], set())
    assert (both.found, both.alarms, both.quiet) == (1, 2, 6)
    assert both.unseen == 0, "the machine was seen disturbed beside 8 and 9"
    assert judged([[8, 9]], [], {8}).unseen == 0, "the witness was slower as well"
    missed = judged([[8]], [], {9})
    assert (missed.found, missed.unseen) == (0, 1)
    assert judged([[8]], [], {0, 5, 6, 7, 9}).elsewhere == 1, "a witness that is never calm"


def test_a_witness_is_on_another_level_when_half_of_its_rounds_are() -> None:
    levels = [1000] * 20 + [1050] * 10 + [1000] * 20
    visits = [Visit(at, 0, ns, 1, ns, float(ns)) for at, ns in enumerate(levels)]
    beside = disturbances.Beside(visits, list(range(50)))
    assert beside(range(20, 30)) and beside(range(18, 26))
    assert not beside(range(10)) and not beside(range(10, 24)) and not beside([])

"""What is concluded from measurements of the other modes, and from disturbed rounds."""

from __future__ import annotations

import dataclasses
import math

import pytest

from edgepack.analysis import modes, stats
from edgepack.model import Measurement, Status, SweepPoint
from edgepack.report import modes as told

SECOND = 10**9


def measured(*rounds: tuple[int, ...], **fields: object) -> Measurement:
    return Measurement(
        **{"variant": "v", "device": "d", "profile": "p", "status": Status.OK, "rounds": rounds}
        | fields
    )


def sustained(variant: str, by_minute: list[int]) -> Measurement:
    """Twelve rounds a minute, with a little spread."""
    rounds, started = [], []
    for minute, ns in enumerate(by_minute):
        for i in range(12):
            rounds.append((ns + i % 3, ns + 1 + i % 3))
            started.append(minute * 60 * SECOND + i * 5 * SECOND + 7)
    return measured(*rounds, variant=variant, mode="sustained", started_ns=tuple(started))


def test_disturbed_rounds_are_kept_and_do_not_count() -> None:
    rounds = [(100_000 + i, 100_001 + i) for i in range(10)]
    rounds[4] = (900_000, 900_001)
    clean = stats.latency(measured(*rounds, excluded=(4,)))
    assert clean is not None
    assert clean.n == 18
    assert clean.p99 < 101
    assert stats.latency(measured(*rounds)).p99 > 800  # type: ignore[union-attr]


def test_disturbed_rounds_leave_the_others_paired() -> None:
    base = [(1000 + 20 * i,) for i in range(12)]
    other = [(ns[0] // 2,) for ns in base]
    base[3] = other[3] = (10**9,)
    ratio, (low, high) = stats.speedup(measured(*base, excluded=(3,)), measured(*other))
    assert ratio == pytest.approx(2, rel=0.05)
    assert low == pytest.approx(2, rel=0.05) and high == pytest.approx(2, rel=0.05)


def test_throughput_counts_the_samples_of_a_batch() -> None:
    found = modes.throughput(measured(*[(2_000_000, 4_000_000)] * 8, mode="offline", batch=6))
    assert found is not None
    assert found.per_s == pytest.approx(2000)
    assert found.ci95 == (pytest.approx(2000), pytest.approx(2000))
    assert modes.throughput(measured((1, 2))) is None


def test_minutes_tell_how_a_board_slows_down() -> None:
    found = modes.minutes(sustained("a", [1000, 1000, 1500]))
    assert [minute.number for minute in found] == [1, 2, 3]
    assert [math.floor(minute.latency.p50 * 10) for minute in found] == [10, 10, 15]


def test_one_minute_alone_is_no_change_over_time() -> None:
    both = [sustained("a", [129_000]), sustained("b", [200_000])]
    assert told.notes(both) == (
        "a: p50 129 µs in minute 1; one minute cannot show a change over time",
        "b: p50 200 µs in minute 1; one minute cannot show a change over time",
    )
    longer = told.notes([sustained("a", [129_000] * 2), sustained("b", [200_000] * 2)])
    assert longer[0] == "a: p50 129 µs in minute 1, 129 µs in minute 2 (+0.0%)"
    assert longer[-1] == "the ranking of the variants does not change under load"


def test_a_flip_of_the_ranking_is_found_with_its_minutes() -> None:
    heats, stays = sustained("heats", [1000, 1100, 1600]), sustained("stays", [1300] * 3)
    assert modes.flips([heats, stays]) == (
        modes.Flip(faster="heats", slower="stays", minute=1, flipped=3),
    )
    assert modes.flips([heats, sustained("slow", [2000] * 3)]) == ()
    assert any("slower in minute 3" in line for line in told.notes([heats, stays]))


def test_tails_need_enough_queries() -> None:
    few = measured(tuple(range(1000, 1100)), mode="single-stream")
    found = modes.early_stopping(few)
    assert found["p90"] is not None and found["p99"] is None
    assert told.notes([few])[0].endswith(
        " with 99% confidence (100 queries, LoadGen's rule); "
        "p99 not determined: 100 queries are too few for 99% confidence"
    )
    assert told.fields(few)["early_stopping"]["p99_us"] is None
    fewest = told.notes([measured((1000,), mode="single-stream")])
    assert fewest[0] == (
        "v: p90 and p99 not determined: 1 query is too few for 99% confidence (LoadGen's rule)"
    )


def test_a_sweep_begins_with_the_measured_thread_count() -> None:
    swept = measured(
        *[(1000, 1001)] * 8, sweep=(SweepPoint(threads=2, medians_ns=(500, 501, 502)),)
    )
    found = modes.swept(swept)
    assert [(point.threads, round(point.p50, 2)) for point in found] == [(1, 1.0), (2, 0.5)]
    assert "2 threads 0.50 µs" in told.notes([swept])[0]


def test_each_median_of_a_sweep_is_an_observation_of_its_own() -> None:
    medians = tuple(range(500, 520))  # of microseconds: all together less than a stretch
    swept = measured(*[(1000,)] * 8, sweep=(SweepPoint(threads=2, medians_ns=medians),))
    assert modes.swept(swept)[1].ci95 == pytest.approx((0.505, 0.514))


def test_disturbances_are_told_once_a_device() -> None:
    environment = {
        "timeline": {"disturbances": [{"kind": "quota", "from_s": 1.0, "to_s": 2.5, "rounds": [1]}]}
    }
    rounds = [(1000,)] * 4
    both = [measured(*rounds, variant=v, environment=environment, excluded=(1,)) for v in "ab"]
    assert told.notes(both) == ("disturbed: quota 1.0–2.5 s; 1 of 4 rounds are left out",)


def test_stolen_time_is_told_with_its_share() -> None:
    timeline = {"columns": ["t_s", "steal"], "rows": [[0.25, 0.2], [0.5, 0.4], [0.75, None]]}
    rounds = [(1000,)] * 4
    one = measured(*rounds, environment={"timeline": timeline}, flags=("steal",))
    (note,) = told.notes([one])
    assert "the hypervisor took 30% of the processor time" in note
    assert told.notes([dataclasses.replace(one, flags=())]) == ()
    assert told.notes([dataclasses.replace(one, environment={"timeline": 3})]) == ()


def test_stolen_time_that_rounds_to_nothing_is_not_told() -> None:
    timeline = {"columns": ["t_s", "steal"], "rows": [[0.25, 0.004], [0.5, 0.0]]}
    one = measured(*[(1000,)] * 4, environment={"timeline": timeline}, flags=("steal",))
    assert told.notes([one]) == ()

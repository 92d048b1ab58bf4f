"""Variants measured in several processes: the process is the unit of every interval."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgepack.analysis import sessions, stats
from edgepack.cli.main import cli
from edgepack.cli.measuring import Measuring
from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Status
from tests import documents

DATA = Path(__file__).parents[1] / "data"
LAUNCHES = 6
ROUNDS = 8  # of a launch


def measured(rng: random.Random, factor: float, *, told: bool = True) -> Measurement:
    """A variant whose processes are 2% apart, and whose rounds within one are 0.2% apart."""
    rounds = []
    for _ in range(LAUNCHES):
        level = 2_000_000 * factor * math.exp(rng.gauss(0, 0.02))
        rounds += [
            tuple(int(level * math.exp(rng.gauss(0, 0.002))) for _ in range(21))
            for _ in range(ROUNDS)
        ]
    launches = tuple(range(0, LAUNCHES * ROUNDS, ROUNDS)) if told else (0,)
    return Measurement(
        variant="v",
        device="d",
        profile="p",
        status=Status.OK,
        rounds=tuple(rounds),
        launches=launches,
    )


def called_different(slower: float, *, told: bool = True, paired: bool = True) -> float:
    rng = random.Random(5)
    times = 200
    hits = unlike = 0
    for _ in range(times):
        base, other = measured(rng, 1.0, told=told), measured(rng, slower, told=told)
        _, interval = sessions.ratio(base, other, 50, paired=paired)
        assert interval is not None
        if paired:
            alike = stats.speedup(base, other)[1]
            unlike += stats.significant(alike) != stats.significant(interval)
        hits += stats.significant(interval)
    assert unlike <= times // 100, "the two ways to the ratio of medians agree but at the edge"
    return hits / times


@pytest.mark.parametrize("paired", [True, False], ids=["one run", "two runs"])
def test_equal_files_in_unequal_processes_are_rarely_called_different(paired: bool) -> None:
    # Binomial(200, 5%) exceeds 9% in less than 1% of cases.
    assert called_different(1.0, paired=paired) <= 0.09
    assert called_different(1.0, told=False, paired=paired) > 0.2, "rounds alone say too much"
    assert called_different(1.1, paired=paired) >= 0.95, "and what is slower is found"


def test_the_interval_of_p50_holds_the_spread_of_the_processes() -> None:
    rng = random.Random(1)
    one = measured(rng, 1.0)
    told, rounds_alone = stats.latency(one), stats.latency(measured(rng, 1.0, told=False))
    assert told is not None and rounds_alone is not None
    medians = [
        sorted(x for values in one.rounds[at : at + ROUNDS] for x in values) for at in one.launches
    ]
    middles = [values[(len(values) - 1) // 2] / 1e3 for values in medians]
    assert told.p50_ci95 == pytest.approx((min(middles), max(middles)), rel=1e-3)


def test_disturbed_rounds_count_in_no_launch() -> None:
    one = measured(random.Random(2), 1.0)
    spoilt = [*one.rounds]
    spoilt[3] = tuple(10 * x for x in spoilt[3])
    kept = dataclasses.replace(one, rounds=tuple(spoilt), excluded=(3,))
    found, clean = stats.latency(kept), stats.latency(one)
    assert found is not None and clean is not None
    assert found.n == clean.n - 21
    assert found.p50_ci95[1] < 1.1 * clean.p50_ci95[1]
    assert stats.speedup(kept, one)[1][0] <= 1.0 <= stats.speedup(kept, one)[1][1]


def test_a_variant_with_other_launches_is_compared_by_rounds() -> None:
    """One that crashed in its third process still has its rounds."""
    rng = random.Random(3)
    whole, cut = measured(rng, 1.0), measured(rng, 1.2)
    cut = dataclasses.replace(cut, rounds=cut.rounds[:20], launches=cut.launches[:3])
    ratio, (low, high) = stats.speedup(whole, cut)
    assert low <= ratio <= high < 1.0
    assert sessions.ratio(whole, cut, 90, paired=True)[1] is not None


def test_launches_are_of_mode_latency_alone() -> None:
    values = {field.name: None for field in dataclasses.fields(Measuring)}
    values |= {"mode": "sustained", "launches": 3, "threads": (), "max_seconds": 5.0}
    with pytest.raises(EdgepackError) as caught:
        Measuring(**values).settings()  # type: ignore[arg-type]
    assert caught.value.code == "EP105"


def test_microseconds_are_measured_in_six_processes_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEPACK_RUN_LAUNCHES")
    asked = ["run", str(DATA / "classifier_float.tflite"), "--max-seconds", "3", "--json"]
    done = CliRunner().invoke(cli, asked, standalone_mode=False)
    (one,) = documents.parsed(done.stdout)["measurements"]
    assert len(one["rounds"]["launches"]) == 6
    low, high = one["latency_us"]["p50_ci95"]
    assert low <= one["latency_us"]["p50"] <= high
    shown = CliRunner().invoke(cli, ["runs", "show", "latest"], standalone_mode=False)
    assert "in 6 processes" in " ".join(shown.stdout.split())

"""Trends: only like with like, and steps told from noise."""

from __future__ import annotations

import dataclasses
import random

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.analysis import trends
from edgepack.cli.main import cli
from edgepack.model import Quality, RuntimeSpec
from edgepack.report import trend as report
from edgepack.store import Store, open_store
from tests import builders
from tests.builders import numbered
from tests.documents import parsed


def noise(count: int, level: float = 100.0, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [level * rng.lognormvariate(0, 0.02) for _ in range(count)]


def test_steps_are_found_where_they_are() -> None:
    values = [*noise(20), *noise(15, 120.0, 1), *noise(15, 90.0, 2)]
    found = trends.change_points(values)
    assert [abs(at - true) <= 1 for (at, _), true in zip(found, (20, 35), strict=True)] == [
        True
    ] * 2
    assert all(p <= trends.LEVEL for _, p in found)


def test_three_slow_runs_at_the_end_are_a_change() -> None:
    assert [at for at, _ in trends.change_points([*noise(30), *noise(3, 130.0, 1)])] == [30]


def test_a_single_bad_run_is_none() -> None:
    values = noise(30)
    for at in (0, 14, 29):
        assert trends.change_points([*values[:at], 1e6, *values[at:]]) == []


def test_noise_alone_is_rarely_called_a_change() -> None:
    """At the 1% level, of 150 series about 1.5; more than 7 has a chance below 0.1%."""
    alarms = sum(bool(trends.change_points(noise(25, seed=seed))) for seed in range(150))
    assert alarms <= 7


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 40, [1.0, 9.0, 1.0, 9.0, 1.0]])
def test_too_little_or_nothing_to_tell(values: list[float]) -> None:
    assert trends.change_points(values) == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40))
@settings(max_examples=40, deadline=None)
def test_any_finite_history_has_an_answer(values: list[float]) -> None:
    found = trends.change_points(values)
    assert all(trends.SHORTEST <= at <= len(values) - trends.SHORTEST for at, _ in found)
    spark = report.sparkline(values)
    assert len(spark) == len(values)


@pytest.fixture
def store(store_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEPACK_STORE", store_url)
    with open_store(store_url) as opened:
        yield opened


def fill(store: Store, count: int = 24) -> None:
    """float stays; int8 is a third slower from run 14 on; a new runtime from run 18 on."""
    runs = []
    for second in range(count):
        run = numbered(second, git_commit=f"{second:040x}")
        version = "2.3.0" if second < 18 else "2.4.0"
        slow = {"float": 168.0, "int8": 61.0 if second < 14 else 81.0}
        measured = tuple(
            dataclasses.replace(
                each,
                rounds=builders.rounds(slow[each.variant], count=4, batch=5, seed=second),
                runtime=RuntimeSpec(name="ai-edge-litert", version=version),
            )
            for each in run.measurements
        )
        runs.append(dataclasses.replace(run, measurements=measured))
    store.save_all(runs)


def test_a_history_is_cut_where_the_runtime_changes(store: Store) -> None:
    fill(store)
    found = {
        (one.conditions.variant, one.conditions.runtime_version): one
        for one in trends.series(store.history(100))
    }
    assert {key: len(one.points) for key, one in found.items()} == {
        ("float", "2.3.0"): 18,
        ("int8", "2.3.0"): 18,
        ("float", "2.4.0"): 6,
        ("int8", "2.4.0"): 6,
    }
    (change,) = found["int8", "2.3.0"].changes
    assert (change.quantity, change.run_id) == ("p50_us", numbered(14).run_id)
    assert change.git_commit == f"{14:040x}"
    assert change.ratio == pytest.approx(81 / 61, rel=0.05)
    assert not found["float", "2.3.0"].changes
    assert found["int8", "2.3.0"].points[0].bytes == 104_352


def test_the_command(store: Store) -> None:
    fill(store)
    said = CliRunner().invoke(cli, ["runs", "trend", "--variant", "int8", "--device", "local"])
    assert said.exit_code == 0, said.output
    assert "fashion.keras on local (desktop)" in said.output
    assert f"since {numbered(14).run_id}" in said.output
    assert "ai-edge-litert 2.4.0, cpu, 1 thread, performance" in said.output
    assert "float" not in said.output
    assert all(len(line) <= 80 for line in said.output.splitlines())
    said = CliRunner().invoke(cli, ["runs", "trend", "--json", "-n", "5"])
    document = parsed(said.output)
    assert document["schema"] == "edgepack.trend/1"
    assert [len(one["points"]) for one in document["series"]] == [5, 5]


def test_a_limit_counts_runs_that_have_it(store: Store) -> None:
    fill(store, 5)
    store.save(builders.run(["float"], ["pi4"], run_id="20261123T000000-aaaaaa"))
    assert len(store.history(3, device="local")) == 6
    assert store.history(3, variant="nothing") == []


def test_hostile_names_do_not_reach_the_terminal(store: Store) -> None:
    evil = "\x1b]0;x\x07\x1b[31mint8\u202e" + "A" * 100_000
    measured = builders.measurement(
        evil, evil, profile=evil, quality=Quality(metric=evil, value=float("nan"), n=1)
    )
    store.save(dataclasses.replace(numbered(1), measurements=(measured,), note=evil))
    for command in (["runs", "trend"], ["runs", "ls"]):
        said = CliRunner().invoke(cli, command)
        assert said.exit_code == 0, said.output
        assert not {"\x1b", "\x07", "\u202e"} & set(said.output)
        assert len(said.output) < 2000
    said = CliRunner().invoke(cli, ["runs", "trend", "--json"])
    assert parsed(said.output)["series"][0]["points"][0]["quality"] is None


def test_a_list_says_what_is_unfinished_and_names_few_devices(store: Store) -> None:
    devices = [f"pi{number}" for number in range(9)]
    lost = {("pi3", "int8"): builders.failed("int8", "pi3")}
    run = builders.run(["float", "int8"], devices, replace=lost, tags=("v1",), note="after " * 30)
    store.save(run)
    line = CliRunner().invoke(cli, ["runs", "ls"]).output
    assert line.startswith(f"{run.run_id}  fashion.keras  on pi0, pi1, pi2 and 6 more  (17 of 18")
    assert "  [v1]  after after" in line and line.count("\n") == 1

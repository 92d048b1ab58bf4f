"""Runs against runs: only like with like, words where chance could be it, one for all boards."""

from __future__ import annotations

import dataclasses
import io

import jsonschema
import pytest
from rich.console import Console

from edgepack.analysis import sessions, stats
from edgepack.analysis.across import Baseline, pairs
from edgepack.analysis.compare import compare
from edgepack.analysis.gains import by_profile
from edgepack.model import EvalData, Measurement, Run, RuntimeSpec
from edgepack.report import pairs as shown
from edgepack.report import terminal_runs
from tests import builders


def slowed(run: Run, factor: float, run_id: str = "20261123T000000-other1", **fields) -> Run:
    """The run again, on another day: other noise, every time `factor` longer."""
    measured = []
    for number, one in enumerate(run.measurements):
        found = stats.latency(one)
        if found is not None:
            again = builders.rounds(found.p50 * factor, seed=900 + number)
            one = dataclasses.replace(one, rounds=again)
        measured.append(dataclasses.replace(one, **fields))
    return dataclasses.replace(run, run_id=run_id, tags=(), measurements=tuple(measured))


def only(run: Run, base: Run, across=()) -> dict:
    found = pairs([run], Baseline(run=base), across)
    return {(pair.device, pair.entry.name): pair for pair in found}


def test_a_run_against_another_finds_what_changed_and_only_that() -> None:
    base = builders.run()
    found = only(slowed(base, 1.2), base)
    assert len(found) == len(base.measurements)
    for pair in found.values():
        assert pair.speedup == pytest.approx(1 / 1.2, rel=0.03)
        assert pair.significant and pair.note == ""
        assert pair.change.p == 1.0, "the same decisions, by McNemar's test"
    same = only(slowed(base, 1.0), base)
    assert sum(pair.significant for pair in same.values()) <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"profile": "raspberry-pi-5"}, "profile raspberry-pi-5 instead of"),
        ({"runtime": RuntimeSpec(name="tflite-runtime", version="2.14")}, "runtime tflite-runtime"),
        ({"environment": {"governor": "powersave"}}, "governor powersave instead of performance"),
        ({"environment": {"governor": "performance", "emulator": "qemu-user"}}, "emulator qemu"),
        ({"threads": 4}, "threads 4 instead of 1"),
        ({"inputs_sha256": "0" * 64}, "other inputs"),
    ],
)
def test_what_is_not_alike_is_said_and_not_compared(change: dict, said: str) -> None:
    base = builders.run(["float", "int8"], ["pi4"])
    for pair in only(slowed(base, 1.0, **change), base).values():
        assert pair.speedup is None and pair.change is None and pair.size_ratio is None
        assert pair.note.startswith("not compared: ") and said in pair.note


def test_another_evaluation_set_is_not_compared() -> None:
    base = builders.run(["float"], ["pi4"])
    data = EvalData(sha256="f" * 64, bytes=1, samples=2000, task="classification")
    other = slowed(base, 1.0)
    other = dataclasses.replace(other, package=dataclasses.replace(other.package, data=data))
    (pair,) = only(other, base).values()
    assert pair.note == "not compared: other evaluation set"


def test_a_difference_that_is_asked_for_is_compared_and_still_said() -> None:
    base = builders.run(["float"], ["pi4"])
    four = slowed(base, 0.4, threads=4)
    (pair,) = only(four, base, {"threads"}).values()
    assert pair.speedup == pytest.approx(2.5, rel=0.03) and pair.significant
    assert pair.note == "threads 4 instead of 1"
    powersave = slowed(base, 0.4, threads=4, environment={"governor": "powersave"})
    (pair,) = only(powersave, base, {"threads"}).values()
    assert pair.speedup is None and "governor" in pair.note


def test_what_has_no_counterpart_is_said() -> None:
    base = builders.run(["float"], ["local"])
    found = only(builders.run(["float", "int8"], ["local"], run_id="20261123T000000-other1"), base)
    assert found["local", "int8"].note == f"not compared: no counterpart in run {base.run_id}"
    gone = builders.run(
        ["float"], ["pi4"], replace={("pi4", "float"): builders.failed("float")}, run_id="x"
    )
    (pair,) = only(builders.run(["float"], ["pi4"]), gone).values()
    assert "the baseline was not measured (unreachable)" in pair.note


def test_equal_percentiles_of_two_sessions_are_rarely_called_different() -> None:
    def one(seed: int) -> Measurement:
        return builders.measurement("float", rounds=builders.rounds(100, count=12, seed=seed))

    for percent in (50, 90, 99):
        wrong = 0
        for seed in range(60):
            _, interval = sessions.ratio(one(seed), one(seed + 1000), percent, paired=False)
            wrong += interval is not None and stats.significant(interval)
        assert wrong <= 7, percent  # 3 are expected; more than 7 has a chance of 1%


def test_a_percentile_needs_blocks_that_hold_it() -> None:
    few = builders.measurement("float", rounds=builders.rounds(1500, count=4, batch=30))
    assert sessions.ratio(few, few, 99, paired=True) == (1.0, None), "120 samples: one block"
    assert sessions.ratio(few, few, 90, paired=True)[1] is not None


def test_disturbed_rounds_do_not_count() -> None:
    clean = builders.measurement("float", rounds=builders.rounds(100, count=12, seed=1))
    hit = tuple(tuple(ns * 3 for ns in r) if at < 4 else r for at, r in enumerate(clean.rounds))
    disturbed = dataclasses.replace(clean, rounds=hit, excluded=(0, 1, 2, 3))
    for paired in (True, False):
        value, interval = sessions.ratio(clean, disturbed, 90, paired=paired)
        assert value == pytest.approx(1.0, abs=0.02) and not stats.significant(interval)


def test_another_mode_or_batch_is_not_alike() -> None:
    base = builders.run(["float"], ["pi4"])
    (pair,) = only(slowed(base, 1.0, mode="offline", batch=8), base).values()
    assert pair.note == "not compared: mode offline instead of latency, batch 8 instead of 1"


def test_the_rank_sum_interval_is_the_exact_test_turned_around() -> None:
    from scipy.stats import mannwhitneyu

    for first, second in ((4, 4), (5, 9), (12, 12)):
        rank = sessions._rank_sum(first, second)
        # Two sets where exactly `count` of the pairs are the other way round.
        for count, reject in ((rank - 1, True), (rank, False)):
            above = [100.0 + at for at in range(first)]
            below = [float(at) for at in range(second)]
            whole, rest = divmod(count, second)
            above[:whole] = [-1.0 - at for at in range(whole)]
            if rest:
                above[whole] = second - rest - 0.5
            p = mannwhitneyu(above, below, method="exact").pvalue
            assert (p <= 0.05) == reject, (first, second, count, p)


def test_one_variant_for_all_boards_and_what_it_costs() -> None:
    slow_there = builders.measurement(
        "int8", "pi4", rounds=builders.rounds(131 * 14 * 1.2, seed=3), quality=builders.top1(0.911)
    )
    found = compare(builders.run(replace={("pi4", "int8"): slow_there}))
    assert found.recommended == {"local": "int8", "pi4": "dynamic"}
    fleet = found.fleet
    assert fleet.variant == "int8"
    assert list(fleet.costs) == ["pi4"] and fleet.costs["pi4"] == pytest.approx(0.2, abs=0.03)
    assert fleet.reason.startswith("one variant for all boards, int8, costs ")
    assert "on pi4 and nothing elsewhere" in fleet.reason
    assert "costs 11" in fleet.lost["dynamic"] and "on local" in fleet.lost["dynamic"]
    assert "lower quality" in fleet.lost["prune50-int8"]
    assert compare(builders.run(devices=["pi4"])).fleet is None, "one board is no fleet"


def test_boards_that_share_their_best_pay_nothing() -> None:
    lost = {("pi-zero", name): builders.failed(name, "pi-zero") for name in builders.SHAPES}
    fleet = compare(builders.run(devices=["local", "pi4", "pi-zero"], replace=lost)).fleet
    assert fleet.variant == "int8" and not fleet.costs
    assert fleet.reason == (
        "one variant for all boards, int8, costs nothing (without a say: pi-zero)"
    )


def test_gains_by_profile_are_ranges_and_leave_emulators_out() -> None:
    emulated = {
        ("pi-zero", name): builders.measurement(name, "pi-zero", 50, flags=("emulated",))
        for name in builders.SHAPES
    }
    run = builders.run(devices=["local", "pi4", "pi5", "pi-zero"], replace=emulated)
    found = {(g.profile, g.variant): g for g in by_profile([run], "float")}
    assert ("desktop", "float") not in found
    int8 = found["raspberry-pi-4", "int8"]
    assert int8.boards == 2 and len(int8.speedups) == 2
    assert shown.spread(int8).endswith("× (2 boards)")
    assert any("1 emulated" in note for note in int8.notes)
    assert shown.changes(int8).startswith("−") and int8.size_ratio == pytest.approx(0.274, abs=1e-3)
    made = shown.gains_document("float", list(found.values()))
    jsonschema.Draft202012Validator(shown.schema("gains")).validate(made)


def test_side_by_side_fits_80_columns_and_obeys_its_schema() -> None:
    base = builders.run(replace={("pi4", "dynamic"): builders.failed("dynamic")})
    runs = [slowed(base, 1.2), slowed(base, 1.0, "20261124T000000-other2", threads=4)]
    baseline = Baseline(run=base)
    rows = pairs(runs, baseline)
    made = shown.document(runs, baseline, rows, {})
    jsonschema.Draft202012Validator(shown.schema("comparison")).validate(made)
    out = io.StringIO()
    terminal_runs.render(runs, baseline, shown.groups(rows), Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.split())
    assert "#2 int8" in joined and "not compared: threads 4 instead of 1" in joined
    assert "0.83× (0.8" in joined

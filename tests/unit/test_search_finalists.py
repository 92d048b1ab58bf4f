"""What a search ends with: the finalists, what is best, and which limit binds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgepack import package as packages
from edgepack.cli import searching
from edgepack.fleet import DeviceReport
from edgepack.model import Budget, Device, Event, Profile, Recipe, SweepPoint, Transfer, Variant
from edgepack.plan import Target
from edgepack.searching import asking, conclusion, telling
from edgepack.searching.answers import Binding, Conclusion, Final
from edgepack.searching.conclusion import answer, built
from edgepack.searching.duel import duel
from edgepack.searching.finalists import finalists, front
from edgepack.searching.gauge import Setting
from edgepack.searching.limits import excess
from edgepack.searching.values import Choice, Request, Tried
from tests import builders

PROFILE = Profile(name="desktop", title="", arch=("x86_64",), runtimes=())
TARGET = Target(device=Device(name="d", profile="desktop", tags=("lab",)), profile=PROFILE)


def tried(number, us, loss, over, size=1000, epochs=1, percent=50):
    return Tried(
        number=number,
        stage="short",
        bracket=0,
        choice=Choice(percent=percent, epochs=epochs),
        sha256=str(number),
        bytes=size,
        loss=loss,
        latency_us={"d": us},
        speedup={"d": 100 / us},
        over=over,
    )


def final(name, us, drop, size, budget):
    limits = {"latency_p50_ms": us / 1e3, "quality_drop": drop, "bytes": float(size)}
    keys = {f"d.{budget.selector}.{name}": name for name in budget.limits}
    values = {key: limits[name] for key, name in keys.items()}
    bounds = {key: budget.limits[name] for key, name in keys.items()}
    return Final(
        trial=int(name[1:]),
        variant=name,
        run_id="r",
        device="d",
        latency_us=us,
        speedup=100 / us,
        quality=0.9 - drop,
        quality_delta=-drop,
        bytes=size,
        over={key: excess(values[key], bounds[key], at_least=False) for key in keys},
        values=values,
        setting=Setting(),
    )


def with_threads(name, us, threads, runtime=""):
    made = final(name, us, 0.0, 1000, Budget(selector="*", limits={"quality_drop": 0.01}))
    setting = Setting(threads=threads, runtime=runtime)
    return dataclasses.replace(made, run_id=setting.name, setting=setting)


def best_of(*finals, **asked):
    budget = Budget(selector="*", limits={"quality_drop": 0.01})
    return answer(TARGET, finals, [budget], speed=True, **asked).best


def test_the_best_of_each_number_of_threads_meet_in_a_duel():
    one, two = with_threads("t1", 95.0, 1), with_threads("t2", 100.0, 2)
    slower = with_threads("t3", 120.0, 2)
    met = []

    def duel(us):
        def fought(rivals):
            met.append([rival.variant for rival in rivals])
            return {rival.setting: us[rival.setting.threads] for rival in rivals}

        return fought

    assert best_of(one, two, slower, duel=duel({1: 95.0, 2: 78.0})) == two, "not their own runs"
    assert best_of(one, two, slower, duel=duel({1: 95.0, 2: 94.5})) == one, "as fast, with fewer"
    assert met == [["t1", "t2"]] * 2, "only the best of each"
    assert best_of(one, two, duel=lambda _: {}) == one, "where they cannot meet, their runs count"
    assert best_of(two, slower, duel=duel({})) == two and len(met) == 2, "one run needs no duel"
    other = with_threads("t4", 60.0, 1, "tflite-runtime==2.14.0")
    assert best_of(one, two, other, duel=duel({1: 95.0, 2: 78.0})) == other


def test_a_duel_is_one_job_with_every_number_of_threads(monkeypatch):
    asked = {}

    def measure(files, targets, *, settings, emit):
        asked.update(files=files, settings=settings)
        points = {"t1-1t": (95_000, ()), "t2-2t": (99_000, (70_000, 71_000))}
        return [
            DeviceReport(
                device="d",
                transfer=Transfer(device="d"),
                measurements=tuple(
                    builders.measurement(
                        name,
                        "d",
                        rounds=((own,) * 500,),
                        threads=1,
                        sweep=(SweepPoint(threads=2, medians_ns=further or (own, own)),),
                    )
                    for name, (own, further) in points.items()
                ),
            )
        ]

    monkeypatch.setattr("edgepack.inloop.measure", measure)
    rivals = [with_threads("t1", 95.0, 1), with_threads("t2", 100.0, 2)]
    found = duel(TARGET, rivals, lambda one: one.variant.encode(), seconds=3, seed=1, emit=print)
    assert found == {Setting(threads=1): 95.0, Setting(threads=2): 70.0}
    assert asked["files"] == {"t1-1t": b"t1", "t2-2t": b"t2"}
    assert (asked["settings"].threads, asked["settings"].sweep_threads) == (1, (2,))


def test_a_duel_is_of_the_files_that_the_runs_measured(monkeypatch, tmp_path):
    rivals = [with_threads("t1", 95.0, 1), with_threads("t2", 100.0, 2)]
    outcomes = []
    for one in rivals:
        folder = tmp_path / one.run_id
        file = folder / packages.variant_file(one.variant)
        file.parent.mkdir(parents=True)
        file.write_bytes(one.variant.encode())
        run = SimpleNamespace(run_id=one.run_id, package_path=str(folder))
        outcomes.append((one.setting, SimpleNamespace(run=run)))
    request = SimpleNamespace(max_seconds=7.0, seed=3)
    searching = SimpleNamespace(study=SimpleNamespace(request=request))

    def fought(target, asked, content, *, seconds, seed, emit):
        assert (target, seconds, seed) == (TARGET, 7.0, 3)
        return {one.setting: len(content(one)) for one in asked if content(one) == b"t2"}

    monkeypatch.setattr(conclusion, "duel", fought)
    found = conclusion._duel(searching, TARGET, outcomes, print, rivals)
    assert found == {Setting(threads=2): 2}


def test_the_fastest_that_fit_are_finalists_and_no_untrained_cut():
    found = [tried(n, 10.0 + n, 0.01, {"d.*.quality_drop": -0.5}) for n in range(20)]
    found.append(tried(20, 1.0, 0.5, {}, epochs=0))
    numbers = [one.number for one in finalists(found, ["d"], speed=True)]
    assert numbers[:5] == [0, 1, 2, 3, 4]
    assert 20 not in numbers


def test_where_nothing_fits_the_closest_to_each_limit_is_a_finalist():
    found = [
        tried(1, 50.0, 0.00, {"d.*.bytes": 9.0, "d.*.quality_drop": -1.0}, size=1000),
        tried(2, 60.0, 0.30, {"d.*.bytes": 0.1, "d.*.quality_drop": 29.0}, size=110),
        *(tried(3 + n, 70.0, 0.05, {"d.*.bytes": 2.0, "d.*.quality_drop": 4.0}) for n in range(9)),
    ]
    numbers = {one.number for one in finalists(found, ["d"], speed=True)}
    assert {1, 2} <= numbers


def test_the_front_holds_what_nothing_beats():
    a = tried(1, 10.0, 0.02, {})
    b = tried(2, 20.0, 0.01, {})
    beaten = tried(3, 20.0, 0.03, {})
    smaller = tried(4, 30.0, 0.03, {}, size=10)
    assert front([a, b, beaten, smaller]) == [a, b, smaller]


def test_with_a_limit_on_quality_the_fastest_is_best_else_the_truest():
    speed = Budget(selector="*", limits={"quality_drop": 0.02})
    finals = [final("t1", 50.0, 0.0, 100, speed), final("t2", 20.0, 0.015, 90, speed),
              final("t3", 10.0, 0.05, 80, speed)]  # fmt: skip
    assert answer(TARGET, finals, [speed], speed=True).best.variant == "t2"
    small = Budget(selector="tag:lab", limits={"bytes": 95.0})
    finals = [final("t1", 50.0, 0.0, 100, small), final("t2", 20.0, 0.015, 90, small),
              final("t3", 10.0, 0.05, 80, small)]  # fmt: skip
    assert answer(TARGET, finals, [small], speed=False).best.variant == "t2"


def test_of_two_as_fast_the_smaller_is_best():
    budget = Budget(selector="d", limits={"quality_drop": 0.02})
    finals = [final("t1", 20.0, 0.0, 100, budget), final("t2", 20.1, 0.0, 90, budget)]
    assert answer(TARGET, finals, [budget], speed=True).best.variant == "t2"


def test_the_limit_that_binds_and_by_how_much():
    budget = Budget(selector="d", limits={"bytes": 100.0, "latency_p50_ms": 1.0})
    finals = [final("t1", 500.0, 0.0, 130, budget), final("t2", 2500.0, 0.0, 90, budget)]
    found = answer(TARGET, finals, [budget], speed=False)
    assert found.best is None
    binding = {one.limit: one for one in found.binding}
    assert binding["d.d.bytes"].excess == pytest.approx(0.3)
    assert binding["d.d.bytes"].variant == "t1"
    assert binding["d.d.bytes"].others
    assert binding["d.d.latency_p50_ms"].excess == pytest.approx(1.5)


def binding(limit, value, bound, *, others=True):
    share = excess(value, bound, at_least=limit == "quality")
    return Binding(
        limit=f"d.*.{limit}", bound=bound, value=value, excess=share, variant="t001", others=others
    )


NEAREST = "is the nearest of those that meet all other limits (t001)"


@pytest.mark.parametrize(
    ("limit", "value", "bound", "words"),
    [
        ("bytes", 1_154_280, 320_000, "1,154,280 bytes for 320,000 bytes, 261% beyond it"),
        ("memory_bytes", 1005, 1000, "1,005 bytes for 1,000 bytes, 0.5% beyond it"),
        ("latency_p50_ms", 0.061349, 0.03, "0.0613 ms for 0.03 ms, 104% beyond it"),
        ("latency_p99_ms", 1234.56, 1000, "1,235 ms for 1,000 ms, 23% beyond it"),
        ("latency_p50_ms", 0.035473, 0.005, "0.0355 ms for 0.005 ms, 0.0305 ms beyond it"),
        ("energy_mj", 12.34, 10, "12.3 mJ for 10 mJ, 23% beyond it"),
        ("quality_drop", 0.0005, 0, "0.05 points for 0.00 points, 0.05 points beyond it"),
        ("quality_drop", 0.006, 0.005, "0.60 points for 0.50 points, 0.10 points beyond it"),
        ("quality", 0.85, 0.9, "85.00% for 90.00%, 5.00 points short of it"),
    ],
)
def test_limits_that_bind_have_units_and_a_distance_that_means_something(
    limit, value, bound, words
):
    assert telling.said(binding(limit, value, bound)) == f"{limit}: {words}, {NEAREST}"


def test_an_error_has_no_points():
    words = telling.said(binding("quality_drop", 0.75, 0.5), error=True)
    assert words.startswith("quality_drop: 0.75 for 0.5, 50% beyond it, ")
    words = telling.said(binding("quality_drop", 0.75, 0), error=True)
    assert words.startswith("quality_drop: 0.75 for 0, 0.75 beyond it, ")


@pytest.mark.parametrize(("metric", "error"), [("mae", True), ("agreement", False), (None, False)])
def test_the_runs_say_whether_quality_is_an_error(metric, error):
    quality = None if metric is None else SimpleNamespace(metric=metric)
    runs = (SimpleNamespace(measurements=[SimpleNamespace(quality=quality)]),)
    assert Conclusion(answers=(), lost={}, runs=runs).by_error is error


def test_the_nearest_of_all_is_told_from_that_within_the_other_limits():
    words = telling.said(binding("bytes", 300, 100, others=False))
    assert words.endswith("is the nearest (t001); nothing meets all other limits")
    unknown = dataclasses.replace(binding("bytes", 300, 1e6), value=None, excess=None)
    assert telling.said(unknown) == "bytes: nothing was measured to hold against 1,000,000 bytes"


def test_a_limit_that_was_not_measured_is_not_met():
    budget = Budget(selector="d", limits={"memory_bytes": 100.0, "bytes": 1000.0})
    only = final("t1", 5.0, 0.0, 130, Budget(selector="d", limits={"bytes": 1000.0}))
    found = answer(TARGET, [only], [budget], speed=False)
    assert found.best is None
    [binding] = found.binding
    assert binding.limit == "d.d.memory_bytes"
    assert binding.value is None


def test_what_was_not_measured_against_a_limit_does_not_meet_all_others():
    budget = Budget(selector="d", limits={"quality_drop": 0.01, "bytes": 1000.0})
    only = final("t1", 5.0, 0.0, 1300, Budget(selector="d", limits={"bytes": 1000.0}))
    binding = {one.limit: one for one in answer(TARGET, [only], [budget], speed=True).binding}
    assert binding["d.d.bytes"].variant == "t1"
    assert not binding["d.d.bytes"].others


def test_progress_says_pace_time_left_front_and_best():
    request = Request(model="m", data=None, targets=(TARGET,), budgets=(), trials=60, seconds=600.0)
    found = [
        tried(1, 50.0, 0.00, {"d.*.quality_drop": -1.0}),
        tried(2, 20.0, 0.01, {"d.*.quality_drop": -0.5}),
        tried(3, 10.0, 0.20, {"d.*.quality_drop": 9.0}),
    ]
    said = telling.of_progress(found, request, 90.0).message
    assert said == "3/60, 2.0/min, 8:30 left, front 3, best t002 5.00×"


def test_times_below_a_microsecond_have_three_digits_too():
    assert "0.42 µs on d" in telling.of_trial(tried(1, 0.4234, 0.0, {})).message
    assert "1.23 ms on d" in telling.of_trial(tried(1, 1234.0, 0.0, {})).message


def test_one_is_no_plural(capsys):
    assert [telling.counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
    request = Request(model="m", data=None, targets=(TARGET,), budgets=(), trials=1)
    study = SimpleNamespace(name="s", request=request)
    assert searching.begun(study).message == "search s: up to 1 trial"
    one = tried(1, 10.0, 0.0, {})
    nothing = Conclusion(answers=(), lost={}, runs=())
    searching.show(asking.Found(name="s", tried=(one,), written={}, conclusion=nothing))
    assert "search s: 1 trial\n" in capsys.readouterr().out


def test_the_verdict_is_events_too_with_the_threads_of_the_best(capsys):
    fast, budget = with_threads("t001", 50.0, 2), Budget(selector="*", limits={"bytes": 100.0})
    met = answer(TARGET, [fast], [Budget(selector="*", limits={"quality_drop": 0.01})], speed=True)
    missed = answer(TARGET, [final("t002", 9.0, 0.0, 130, budget)], [budget], speed=False)
    found = asking.Found(
        name="s", tried=(), written={}, conclusion=Conclusion(
            answers=(met, missed), lost={"e": "no answer"}, runs=(), notes=("a note",)
        ),
    )  # fmt: skip
    told = [(event.device, event.variant, event.message) for event in searching.verdict(found)]
    best = "t001, 2 threads meets the budget, 2.00× as fast as the float source"
    binding = "bytes: 130 bytes for 100 bytes, 30% beyond it, is the nearest of those that"
    assert told == [
        ("d", "t001", best),
        ("d", None, "nothing meets the budget"),
        ("d", None, f"{binding} meet all other limits (t002)"),
        (None, None, "a note"),
        ("e", None, "could not be measured: no answer"),
    ]
    assert {event.kind for event in searching.verdict(found)} == {"verdict"}
    searching.show(found)
    assert f"d: {best}" in capsys.readouterr().out


def variant(name: str, sha256: str) -> Variant:
    return dataclasses.replace(builders.variant(name), sha256=sha256)


def test_a_finalist_that_is_the_source_is_not_measured_beside_it():
    digests = {"float": "0", "t001": "0", "t002": "2", "t003": "other"}
    group = [
        dataclasses.replace(tried(n, 10.0, 0.0, {}), recipe=Recipe(name=f"t00{n}", passes=()),
                            sha256=sha256)
        for n, sha256 in ((1, "0"), (2, "2"), (3, "3"))
    ]  # fmt: skip
    told: list[Event] = []
    variants, files = built(
        lambda recipe: (variant(recipe.name, digests[recipe.name]), Path(recipe.name)),
        group,
        told.append,
    )
    assert [each.name for each in variants] == ["float", "t002", "t003"]
    assert files == {"0": Path("float"), "2": Path("t002"), "other": Path("t003")}
    assert [(event.kind, event.variant) for event in told] == [("warning", "t003")]


def test_the_table_has_intervals_settings_and_no_negative_zero(capsys):
    budget = Budget(selector="*", limits={"bytes": 1e6})
    same = dataclasses.replace(
        final("t001", 61.3, 0.0, 1000, budget), variant="float", trial=None, quality_delta=0.0,
        latency_ci95_us=(61.0, 61.6), setting=Setting(threads=2),
    )  # fmt: skip
    worse = final("t002", 1200.0, 0.01, 500, budget)
    found = asking.Found(
        name="s", tried=(), written={}, conclusion=Conclusion(
            answers=(answer(TARGET, [same, worse], (budget,), speed=True),), lost={}, runs=()
        ),
    )  # fmt: skip
    searching.show(found)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "variant p50 ±95% CI speed-up quality lost size budget" in lines
    assert "* float, 2 threads 61.3 µs ±0.5% 1.63× 0.9000 +0.0000 1.00 kB met" in lines
    assert "* t002 1.20 ms 0.08× 0.8900 +0.0100 500 B met" in lines

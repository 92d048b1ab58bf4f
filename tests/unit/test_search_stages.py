"""What a search tries next: cheap before dear, and the same way after a kill as without."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from edgepack.searching import stages
from edgepack.searching.space import Space, converting, network_passes
from edgepack.searching.stages import Course
from edgepack.searching.values import Choice, Tried

SPACE = Space(
    schemes=("float", "int8", "int8-mse"),
    threads=(0,),
    runtimes=("",),
    importances=("l2", "taylor"),
    epochs=(0, 1, 6),
)
FLAT = Space(schemes=("float", "int8"), threads=(1, 2), runtimes=("",), importances=(), epochs=(0,))
FACTOR = {"float": 1.0, "int8": 3.0, "int8-mse": 2.9}


def course(space=SPACE, trials=200, speed=True):
    return Course(space=space, seed=0, speed=speed, trials=trials)


def result(number, stage, bracket, fixed, wall=45):
    """A device on which latency is as asked; cuts below `wall` percent lose quality."""
    choice = Choice(**{"scheme": "int8", **fixed})
    loss = max(0, wall - choice.percent) / 100 + (0.2 if choice.percent < 100 else 0.0) / (
        1 + choice.epochs**2
    )
    judged = choice.percent >= 100 or choice.epochs > 0
    return Tried(
        number=number,
        stage=stage,
        bracket=bracket,
        choice=choice,
        bytes=1000 * choice.percent,
        loss=loss,
        latency_us={"d": choice.percent / FACTOR[choice.scheme]},
        speedup={"d": 100 / choice.percent * FACTOR[choice.scheme]},
        over={"d.*.quality_drop": loss / 0.02 - 1} if judged else {},
    )


def played(how, trials=200):
    tried, begun = [], []
    while (step := how.due(tried, begun)) is not None and len(begun) < trials:
        for fixed in step.fixed:
            begun.append((step.stage, step.bracket))
            tried.append(result(len(tried), step.stage, step.bracket, fixed))
    return tried


def test_the_source_comes_first_then_short_before_long():
    order = [key for key, _ in itertools.groupby(one.stage for one in played(course(trials=60)))]
    assert order[:5] == ["source", "shot", "short", "long", "scheme"]
    assert order[5] == "shot"  # the next bracket


def test_training_is_for_the_best_third_of_a_third():
    first = [one for one in played(course(trials=60)) if one.bracket == 0]
    count = {stage: sum(one.stage == stage for one in first) for stage in ("shot", "short", "long")}
    assert count == {"shot": 12, "short": 4, "long": 2}
    trained = {one.choice.epochs for one in first if one.stage == "long"}
    assert trained == {6}


def test_the_window_closes_on_the_fastest_that_holds_its_quality():
    tried = played(course(trials=150))
    low, high = course().window(tried)
    assert low >= 25
    assert 45 <= high <= 60
    assert min(o.choice.percent for o in tried if o.excess == 0) <= 55


def test_no_more_trials_than_asked():
    for trials in (1, 2, 7, 20):
        assert len(played(course(trials=trials))) == trials


def test_without_cuts_every_choice_is_tried_once():
    tried = played(course(space=FLAT))
    assert {(o.choice.scheme, o.choice.threads) for o in tried} == set(
        itertools.product(FLAT.schemes, FLAT.threads)
    )
    assert len(tried) == FLAT.size == 4


WIDE = Space(
    schemes=("float", "dynamic", "int8", "int8-first", "int8-mse", "int16x8", "mixed1", "mixed4"),
    threads=(1, 2, 4),
    runtimes=("", "other"),
    importances=(),
    epochs=(0,),
)
TAKES = dict(zip(WIDE.schemes, (90, 80, 60, 40, 61, 200, 42, 50), strict=True))


def timed(number, bracket, fixed):
    """A device on which two threads help, four do not, and the other runtime is slow."""
    choice = Choice(**fixed)
    us = TAKES[choice.scheme] * {1: 1, 2: 0.7, 4: 0.9}[choice.threads]
    us *= 1 if choice.runtime == "" else 1.5
    # What a setting changes is not quite the same for every scheme.
    us *= 1 + 0.02 * (WIDE.schemes.index(choice.scheme) % 3) * (choice.threads - 1)
    times = {"d": us}
    return Tried(
        number=number,
        stage="source",
        bracket=bracket,
        choice=choice,
        latency_us=times,
        speedup={"d": 1 / us},
    )


def test_without_cuts_a_third_of_the_trials_find_the_best():
    how = course(space=WIDE, trials=WIDE.size // 3)
    tried = []
    while (step := how.due(tried, [(o.stage, o.bracket) for o in tried])) is not None:
        tried += [timed(len(tried) + i, step.bracket, f) for i, f in enumerate(step.fixed)]
    assert len(tried) == 16
    best = min(tried, key=lambda one: one.latency_us["d"])
    assert (best.choice.scheme, best.choice.threads, best.choice.runtime) == ("int8-first", 2, "")
    assert best.number < 8, "soon"


def test_without_cuts_a_resumed_search_goes_the_same_way():
    whole, cut = [], []
    how = course(space=WIDE)
    while (step := how.due(whole, [(o.stage, o.bracket) for o in whole])) is not None:
        whole += [timed(len(whole) + i, step.bracket, f) for i, f in enumerate(step.fixed)]
    assert len({one.choice for one in whole}) == len(whole) == WIDE.size
    while (step := how.due(cut, [(o.stage, o.bracket) for o in cut])) is not None:
        cut.append(timed(len(cut), step.bracket, step.fixed[0]))  # killed after every trial
    assert cut == whole


def test_a_setting_that_fails_comes_last():
    tried, begun = [], []
    how = course(space=WIDE)
    for _ in range(2):
        step = how.due(tried, begun)
        for fixed in step.fixed:
            begun.append((step.stage, step.bracket))
            one = timed(len(tried), step.bracket, fixed)
            if one.choice.runtime == "other":
                one = dataclasses.replace(one, latency_us={}, error="no such runtime")
            tried.append(one)
    rest = how.due(tried, begun).fixed
    runtimes = [fixed["runtime"] for fixed in rest]
    assert runtimes == sorted(runtimes)


def test_a_generation_cut_short_is_completed():
    how = course()
    tried, begun = [], []
    step = how.due(tried, begun)
    begun.append((step.stage, step.bracket))
    tried.append(result(0, step.stage, step.bracket, step.fixed[0]))
    assert how.due(tried, begun).fixed == step.fixed[1:]


def test_a_source_that_cannot_be_measured_ends_it():
    how = course()
    begun = [("source", 0)] * 3
    failed = [
        Tried(number=n, stage="source", bracket=0, choice=Choice(), error="no") for n in range(3)
    ]
    assert how.due(failed, begun) is None


def test_long_training_goes_on_from_the_short_one():
    short = network_passes(Choice(percent=50, epochs=1), {"a": 16}, 1)
    long = network_passes(Choice(percent=50, epochs=6), {"a": 16}, 1)
    assert long[: len(short)] == short
    assert sum(spec.params["epochs"] for spec in long[1:]) == 6
    assert network_passes(Choice(percent=50, epochs=6), {}, 1) == ()


def test_mixed_keeps_the_most_sensitive_operators():
    spec = converting("mixed2", ("worst", "bad", "good"))
    assert spec.params["keep"] == ["worst", "bad"]
    assert converting("float").name == "convert.float"


def test_int8_first_keeps_the_first_operator():
    assert converting("int8-first", ("first", "second")).params["keep"] == ["first"]
    assert converting("int8-first").params["keep"] == []


@pytest.mark.parametrize(
    "scheme", ["dynamic", "int8", "int8-first", "int8-mse", "int16x8", "mixed1"]
)
def test_every_scheme_is_a_valid_pass(scheme):
    from edgepack.compress.passes.quantize_rules import QuantizeRules

    assert QuantizeRules(converting(scheme, ("one",)).params).params is not None


def test_stages_are_those_of_the_schema():
    from edgepack.searching.document import schema

    names = {stages.SOURCE, stages.SHOT, stages.SHORT, stages.LONG, stages.SCHEME}
    assert set(schema()["$defs"]["trial"]["properties"]["stage"]["enum"]) == names

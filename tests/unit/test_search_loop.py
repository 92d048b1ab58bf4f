"""The loop and its time: what stops when it is up, and what is stored of it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgepack.searching import telling
from edgepack.searching.gauge import BATCH, SOURCE, Setting
from edgepack.searching.loop import Searching
from edgepack.searching.study import Study
from edgepack.searching.tables import TimeUpError
from edgepack.searching.values import Choice
from tests.unit.test_search_study import SPACE, evaluated, request, stored  # noqa: F401


def searching(study, told):
    """One without model and data."""
    made = object.__new__(Searching)
    made.study, made.emit, made.lost = study, told.append, {}
    made._began = time.monotonic() - study.seconds_used
    made._cutter = None
    return made


def with_seconds(seconds):
    return replace(request(), seconds=seconds)


def test_kernels_are_measured_until_the_time_is_up(stored):  # noqa: F811
    told = []
    one = searching(Study.create("s", with_seconds(100.0)), told)
    one._readings = SimpleNamespace(
        setting=lambda device: Setting(), microseconds=lambda device, setting, name, found: 1.0
    )

    def begin(part, setting, *, only):
        one._began -= 30.0  # what measuring takes
        done = Future()
        done.set_result(dict.fromkeys([SOURCE, *part]))
        return {only: done}

    gauge = SimpleNamespace(begin=begin, targets=("d",))
    files = {f"k{number}": b"" for number in range(9 * BATCH)}
    parts = list(one._measures(gauge, "d")(files))
    assert [len(part) for part in parts] == [BATCH] * 3, "85 s: the rest is for the finalists"
    assert Study.open("s").seconds_used == pytest.approx(90.0, abs=5.0), "kept at every step"


def test_without_widths_nothing_is_cut_and_it_is_said(stored):  # noqa: F811
    told = []
    one = searching(Study.create("s", with_seconds(100.0)), told)
    one._making = SimpleNamespace(made=lambda *_: pytest.fail("made without widths"))

    def prepare():
        raise TimeUpError

    one._cutter = SimpleNamespace(prepare=prepare)
    one._generation([(0, Choice(percent=50))], SimpleNamespace())
    assert [(event.kind, event.message) for event in told] == [("warning", telling.NO_WIDTHS)]
    assert "no cut was tried; give more --time" in telling.NO_WIDTHS


def test_every_trial_stores_the_time_that_was_spent(stored):  # noqa: F811
    study = Study.create("s", with_seconds(600.0))
    study.enqueue("source", 0, {"percent": 100, "epochs": 0, "scheme": "int8"})
    [(number, choice)] = study.ask(SPACE)
    one = searching(study, [])
    one._began -= 50.0
    one._tell(evaluated(number, "source", 0, choice))
    assert Study.open("s").seconds_used == pytest.approx(50.0, abs=5.0)


def test_a_search_that_is_broken_off_stores_the_time_that_was_spent(stored, monkeypatch):  # noqa: F811
    one = searching(Study.create("s", with_seconds(600.0)), [])
    one._began -= 50.0

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(one, "_searched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert Study.open("s").seconds_used == pytest.approx(50.0, abs=5.0)

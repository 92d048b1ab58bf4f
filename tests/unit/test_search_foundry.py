"""Quality while searching: of few samples or of many, it is held against the source on the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgepack.searching import foundry
from edgepack.searching.foundry import Foundry

LABELS = np.arange(800) % 4


def guesses(labels, wrong):
    """Outputs of a classifier that errs at these places."""
    found = np.eye(4)[labels]
    found[wrong] = np.roll(found[wrong], 1, axis=1)
    return {"y": found}


def judging(task, source, labels=LABELS):
    made = object.__new__(Foundry)
    made._inputs, made._source, made._labels = {"x": np.zeros((800, 1))}, source, labels
    made._context = SimpleNamespace(dataset=SimpleNamespace(task=task))
    made.metric, made.reference = made._reference()
    return made


def outputs(monkeypatch, given):
    monkeypatch.setattr(
        foundry,
        "infer",
        lambda content, inputs: {name: one[: len(inputs["x"])] for name, one in given.items()},
    )


def test_a_slow_schemes_accuracy_is_the_sources_with_the_change_on_fewer_samples(monkeypatch):
    # The first eighth is easier than the rest: 99% beside 90%.
    source = guesses(LABELS, [7, *range(200, 279)])
    judge = judging("classification", source)
    assert judge.reference == pytest.approx(0.9)
    outputs(monkeypatch, guesses(LABELS, [7, 8, 9]))
    quality, loss = judge._quality(b"", 100)
    assert loss == pytest.approx(0.02)
    assert quality == pytest.approx(0.88), "and not 97%, better than the source"
    outputs(monkeypatch, source)
    assert judge._quality(b"", 800) == (judge.reference, 0.0)


def test_a_slow_schemes_error_is_the_sources_with_the_change_on_fewer_samples(monkeypatch):
    values = LABELS.astype(float)
    source = {"y": values + np.where(np.arange(800) < 100, 0.1, 0.9)}
    judge = judging("regression", source, values)
    assert judge.reference == pytest.approx(0.8)
    outputs(monkeypatch, {"y": values + 0.3})
    quality, loss = judge._quality(b"", 100)
    assert (quality, loss) == (pytest.approx(1.0), pytest.approx(0.2))


def test_what_loses_all_has_no_accuracy_below_nothing(monkeypatch):
    judge = judging("classification", guesses(LABELS, range(100, 800)))
    outputs(monkeypatch, guesses(LABELS, range(800)))
    assert judge._quality(b"", 100) == (0.0, 1.0)

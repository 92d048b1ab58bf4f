"""Over 200 random graphs: cutting dead channels changes nothing, and every cut runs.

Graphs with an even seed use only activations that map zero to zero; in them the channels'
own weights are zeroed. Graphs with an odd seed use any activation; in them the weights that
read the channels are zeroed, which makes any channel dead, whatever its value.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import keras
import pytest
from builders_graphs import random_inputs, random_model
from structured_checks import (
    MADE,
    READ,
    anatomy_of,
    difference,
    outputs,
    random_cut,
    run_as_tflite,
    zero,
)

from edgepack.compress.structured import apply_cut
from edgepack.compress.structured.rules.registry import RULES, kind_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(1200)]
GRAPHS = 200
# test_structured.py cuts these, without converting.
WITHOUT_TFLITE = {
    *(f"{kind}Pooling3D" for kind in ("Average", "Max", "GlobalMax")),
    "UpSampling1D",
    "UpSampling3D",
}


@dataclass(frozen=True)
class Outcome:
    """Changes are shares of the largest output above 1: floats have no more digits than that."""

    seed: int
    kinds: frozenset[str]
    cut_channels: int
    change: float
    tflite_change: float


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [outcome(seed) for seed in range(GRAPHS)]


def outcome(seed: int) -> Outcome:
    lifting = seed % 2 == 1
    model = random_model(seed, lifting=lifting)
    inputs = random_inputs(model, seed)
    anatomy = anatomy_of(model)
    cut = random_cut(anatomy, seed)
    zero(anatomy, cut, READ if lifting else MADE)
    smaller = apply_cut(model, cut)
    expected, got = outputs(model, inputs), outputs(smaller, inputs)
    scale = max(1.0, *(float(abs(array).max()) for array in got))
    result = Outcome(
        seed=seed,
        kinds=frozenset(map(kind_of, anatomy.graph.operations)),
        cut_channels=sum(map(len, cut.removed.values())),
        change=difference(expected, got) / scale,
        tflite_change=difference(got, run_as_tflite(smaller, inputs)) / scale,
    )
    if seed % 10 == 9:  # graphs that Keras remembers would pile up
        keras.backend.clear_session()
        gc.collect()
    return result


def test_cutting_dead_channels_changes_no_output(outcomes: list[Outcome]) -> None:
    assert {o.seed: o.change for o in outcomes if not o.change < 1e-5} == {}


def test_every_result_converts_and_runs_alike_in_tflite(outcomes: list[Outcome]) -> None:
    assert {o.seed: o.tflite_change for o in outcomes if not o.tflite_change < 1e-3} == {}


def test_the_graphs_are_really_cut(outcomes: list[Outcome]) -> None:
    assert sum(o.cut_channels > 0 for o in outcomes) >= 0.95 * GRAPHS
    assert sum(o.cut_channels for o in outcomes) >= 8 * GRAPHS


def test_the_graphs_use_every_layer_that_has_a_rule(outcomes: list[Outcome]) -> None:
    used = frozenset().union(*(o.kinds for o in outcomes))
    layers = {kind for kind in RULES if not kind.startswith("ops.")}
    assert layers - used - WITHOUT_TFLITE == set()

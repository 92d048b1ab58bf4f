"""Widths by measured latency: the stairs are seen, the knapsack is near the best there is."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from edgepack.compress.structured import Axis, Kernel
from edgepack.model import PassSpec, Recipe
from edgepack.searching import kernels, widths
from edgepack.searching.cutter import in_int8
from edgepack.searching.tables import Table, TimeUpError


def conv(layer, reads, makes):
    return Kernel(layer, "conv", (3, 3), (1, 1), True, (8, 8), reads, makes)


# image -> a -> b -> a (a residual block), and a dense layer with 10 outputs after it.
NET = (
    conv("first", Axis(1, {}), Axis(0, {"a": 1.0})),
    conv("up", Axis(0, {"a": 1.0}), Axis(0, {"b": 1.0})),
    conv("down", Axis(0, {"b": 1.0}), Axis(0, {"a": 1.0})),
    Kernel("label", "dense", (1, 1), (1, 1), False, (1, 1), Axis(0, {"a": 1.0}), Axis(10, {})),
)
ALLOWED = {"a": (8, 16, 24, 32), "b": (8, 16, 24, 32, 40, 48)}


def stairs(reads, makes):
    """A device that works in blocks of 16 channels."""
    return 5.0 + 0.01 * 16 * math.ceil(reads / 16) * 16 * math.ceil(makes / 16)


def measured(files):
    """Microseconds by name, from the two counts at its end; in one part."""
    yield {name: stairs(*map(int, name.split("-")[-2:])) for name in files}


@pytest.fixture
def table(tmp_path):
    made = Table(NET, ALLOWED, tmp_path / "table.json", int8=lambda _kernel: False)
    made.measure(measured)
    return made


def scores(seed=0):
    rng = np.random.default_rng(seed)
    return {"a": np.sort(rng.random(32)), "b": np.sort(rng.random(48))}


def test_what_is_measured_is_kept_and_not_measured_again(tmp_path):
    file = tmp_path / "table.json"
    first = Table(NET, ALLOWED, file, int8=lambda _kernel: False)
    count = first.measure(measured)
    assert 0 < count < 40  # sweeps, not the product of all counts
    assert len(json.loads(file.read_text())) == count
    again = Table(NET, ALLOWED, file, int8=lambda _kernel: False)
    assert again.measure(lambda files: pytest.fail(f"measured again: {list(files)}")) == 0
    assert again.microseconds({}) == first.microseconds({})
    int8 = Table(NET, ALLOWED, file, int8=lambda _kernel: True)
    assert int8.measure(measured) == count  # which is another time


def test_a_table_that_is_broken_off_keeps_what_was_measured(tmp_path):
    asked = []

    def in_parts(files):
        asked.append(list(files))
        for name in list(files)[:3]:
            yield from measured([name])

    file = tmp_path / "table.json"
    for _ in range(2):
        with pytest.raises(TimeUpError):
            Table(NET, ALLOWED, file, int8=lambda _kernel: False).measure(in_parts)
    assert asked[1] == asked[0][3:], "the next search goes on"
    again = Table(NET, ALLOWED, file, int8=lambda _kernel: False)
    assert again.measure(measured) == len(asked[0]) - 6
    assert again.microseconds({}) > 0


def test_a_kernel_is_measured_in_the_arithmetic_that_it_has(tmp_path):
    """Of a net whose first layer stays in float, that one's times in int8 say nothing."""
    asked = []
    Table(NET, ALLOWED, tmp_path / "t.json", int8=lambda kernel: kernel.layer != "first").measure(
        lambda files: asked.extend(files) or measured(files)
    )
    of_first = [name for name in asked if name.split("-")[-2] == "1"]
    assert of_first and all(name.startswith("float-conv") for name in of_first)
    others = [name for name in asked if name not in of_first]
    assert others and all(name.startswith("int8-") for name in others)


def test_which_kernels_of_a_scheme_are_in_int8():
    def layers(**rules):
        last = PassSpec(name="quantize.rules", params=rules)
        int8 = in_int8(Recipe(name="t1", passes=(last,)))
        return [kernel.layer for kernel in NET if int8(kernel)]

    kept = ["net/relu/Relu;net/first/convolution"]
    assert layers(activations="int8") == ["first", "up", "down", "label"]
    assert layers(activations="int8", keep=kept) == ["up", "down", "label"]
    assert layers(activations="float") == layers(activations="int16") == []
    assert not in_int8(None)(NET[0])


def test_whole_widths_cost_what_was_measured(table):
    whole = stairs(1, 32) + stairs(32, 48) + stairs(48, 32) + stairs(32, 10)
    assert table.microseconds({}) == pytest.approx(whole)
    assert table.share({}) == pytest.approx(1.0)
    assert table.share({"a": 16, "b": 16}) < 0.5


def test_no_count_is_taken_where_a_larger_one_takes_no_longer(table):
    """24 channels cost as much as 32 here: they are never chosen."""
    for percent in range(15, 100, 5):
        found = widths.choose(widths.losses(scores(), ALLOWED, 0.0), table.share, percent / 100)
        assert found["a"] % 16 == 0
        assert found["b"] % 16 == 0


def test_the_choice_is_within_the_limit_and_near_the_best(table):
    for seed, percent in itertools.product(range(4), (50, 60, 80, 95)):
        lost = widths.losses(scores(seed), ALLOWED, 0.0)
        found = widths.choose(lost, table.share, percent / 100)
        assert table.share(found) <= percent / 100
        best = min(
            lost["a"][a] + lost["b"][b]
            for a, b in itertools.product(*ALLOWED.values())
            if table.share({"a": a, "b": b}) <= percent / 100
        )
        assert lost["a"][found["a"]] + lost["b"][found["b"]] == pytest.approx(best)


def test_a_limit_out_of_reach_gives_the_fastest(table):
    found = widths.choose(widths.losses(scores(), ALLOWED, 0.0), table.share, 0.001)
    fastest = min(table.share({"a": a, "b": b}) for a, b in itertools.product(*ALLOWED.values()))
    assert table.share(found) == pytest.approx(fastest)


def test_lean_moves_the_cut(table):
    moved = 0
    for percent in range(50, 100, 5):
        early, late = (
            widths.choose(widths.losses(scores(), ALLOWED, lean), table.share, percent / 100)
            for lean in (-3.0, 3.0)
        )
        assert late["a"] >= early["a"]
        assert late["b"] <= early["b"]
        moved += late != early
    assert moved


def test_single_kernels_run_and_have_the_shape_they_say():
    from edgepack.compress.tracing import infer

    for kind, reads, makes, shape in (
        ("conv", 3, 8, (1, 3, 3, 8)),
        ("depthwise", 8, 8, (1, 3, 3, 8)),
        ("dense", 5, 4, (1, 4)),
    ):
        axis = Axis(reads, {})
        image, size = ((1, 1), (1, 1)) if kind == "dense" else ((7, 7), (3, 3))
        kernel = Kernel("one", kind, size, (2, 2), False, image, axis, axis)
        given = np.zeros((1, reads) if kind == "dense" else (1, 7, 7, reads), np.float32)
        for int8 in (False, True):
            content = kernels.build(kernel, reads, makes, int8=int8)
            [output] = infer(content, {"input": given}).values()
            assert output.shape == shape

"""The diagnosis against faults planted in small nets (benchmarks/diagnosis.py has them all)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import planted_faults as planted
from edgepack.compress.calibration import measure_ranges
from edgepack.compress.diagnose import diagnose, explain, short
from edgepack.compress.flatbuffer_quantizer import tensorflow_int8
from edgepack.data import Dataset

pytestmark = pytest.mark.tensorflow


def _named(case: planted.Planted) -> list[str]:
    return [finding.cause for finding in diagnose(case.float_model, case.quantized, case.inputs)]


@pytest.mark.parametrize("net", [planted.residual, planted.tabular, planted.mobile])
def test_a_blown_up_channel_is_named_with_its_number(net: Callable[[int], Any]):
    case = planted.blown_up_channel(net, 5)
    first = diagnose(case.float_model, case.quantized, case.inputs)[0]
    assert first.cause == "outlier channel"
    assert f"channel {case.channel} of" in first.text


@pytest.mark.parametrize("seed", [20, 21])
def test_faults_of_the_calibration_are_named_where_they_are(seed: int):
    for case in planted.calibration_faults(planted.plain, seed):
        found = diagnose(case.float_model, case.quantized, case.inputs)
        if case.cause == planted.HEALTHY:
            assert found == ()
            continue
        assert found[0].cause == case.cause, case.name
        assert case.layer is None or found[0].layer == case.layer, case.name


def test_a_concatenation_of_unlike_ranges_is_named():
    case = planted.concat_scales(7)
    first = diagnose(case.float_model, case.quantized, case.inputs)[0]
    assert (first.cause, short(first.layer).split("_")[0]) == ("concat scales", "join")


def test_a_layer_norm_is_named_only_where_it_harms():
    assert _named(planted.layer_norm(7))[0] == "sensitive operators"
    assert _named(planted.healthy(planted.normalized, 7)) == []


def test_what_nothing_explains_is_placed_at_its_layer():
    model = planted.plain(3)
    data = planted.inputs_for(model, 3)
    plain = planted.converted(model)
    other = model.get_layer("b")
    kernel, bias = other.get_weights()
    other.set_weights([kernel[..., ::-1], bias])
    wrong = planted.converted(model)
    quantized = tensorflow_int8(wrong, measure_ranges(wrong, data))
    found = diagnose(plain, quantized, data)
    assert [finding.cause for finding in found] == ["unknown"]
    assert short(found[0].layer).startswith("b")


def test_explain_says_it_in_sentences_from_a_dataset():
    case = planted.concat_scales(8)
    sentences = explain(case.float_model, case.quantized, Dataset(x_test=case.inputs))
    assert sentences[0].startswith("concat scales: ")
    assert "of 256 levels" in sentences[0]
    healthy = planted.healthy(planted.inception, 8)
    assert explain(healthy.float_model, healthy.quantized, Dataset(x_test=healthy.inputs)) == ()


def test_the_planted_faults_do_harm():
    from edgepack.compress.sensitivity import compare
    from edgepack.compress.tracing import infer

    for case in (planted.concat_scales(9), planted.blown_up_channel(planted.tabular, 9)):
        expected = infer(case.float_model, case.inputs)
        got = infer(case.quantized, case.inputs)
        assert compare(expected, got, None).snr_db < 20, case.name
        assert all(np.isfinite(values).all() for values in got.values())

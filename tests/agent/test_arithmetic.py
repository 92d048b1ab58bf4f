"""The agent's pure arithmetic: intervals, operations, metrics, quantization."""

from __future__ import annotations

import random

import numpy as np
import pytest
from edgepack_agent import inputs, quality, stats
from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Ops, Tensor, precision
from edgepack_agent.runtimes.tflite_interpreter import count_ops
from scipy.stats import binom


@pytest.mark.parametrize("n", [6, 7, 10, 25, 60, 100, 101, 400])
def test_the_interval_is_the_narrowest_that_covers_95_percent(n: int) -> None:
    low, high = stats.median_interval(range(1, n + 1)) or (0, 0)
    assert low + high == n + 1
    covers = [1 - 2 * binom.cdf(k - 1, n, 0.5) for k in (low, low + 1)]
    # Above 100 values the normal approximation may be a rank off.
    assert covers[0] >= (0.95 if n <= 100 else 0.94)
    assert covers[1] < (0.95 if n <= 100 else 0.96)


def test_too_few_values_have_no_interval() -> None:
    assert stats.median_interval(range(5)) is None
    assert not stats.converged([100] * 5, 0.5)


def test_coverage_of_the_median() -> None:
    rng = random.Random(1)
    hits = 0
    for _ in range(2000):
        low, high = stats.median_interval(sorted(rng.lognormvariate(0, 1) for _ in range(15)))
        hits += low <= 1.0 <= high
    assert 0.95 <= hits / 2000 <= 0.98  # 15 values: exactly 0.9648


def test_converged_is_relative_to_p50() -> None:
    assert stats.converged([1000] * 10, 0.01)
    assert stats.converged([990, 990, 995, 1000, 1000, 1000, 1000, 1005, 1010, 1010], 0.01)
    assert not stats.converged([900, 950, 960, 990, 1000, 1000, 1010, 1040, 1050, 1100], 0.01)


def test_ops_inside_partitions_are_found() -> None:
    nodes = [
        ("POOL", [0], [5], "int8"),
        ("SHAPE", [5], [6], "int32"),
        ("RESHAPE", [5, 6], [9], "int8"),
        ("FULLY_CONNECTED", [9, 1, -1], [10], "int8"),
        ("SOFTMAX", [10], [11], "int8"),
    ]
    types, names = {"int8": 4, "int32": 1}, [node[0] for node in nodes]
    assert count_ops(nodes) == Ops(5, 0, types, tuple(names))
    last = ("DELEGATE", [1, 9], [11], "int8")
    assert count_ops([*nodes, last]) == Ops(5, 2, types, tuple(names[:3]))
    first = ("TfLiteXNNPackDelegate", [0], [5], "int8")
    assert count_ops([*nodes, first, last]) == Ops(5, 3, types, tuple(names[1:3]))


def test_precision_is_what_an_operation_computes_in() -> None:
    assert precision([np.int8, np.int8, np.int32], [np.int8]) == "int8"
    assert precision([np.float32, np.int8, np.float32], [np.float32]) == "hybrid"
    assert precision([np.float32, np.float32], [np.float32]) == "float32"
    assert precision([np.int8], [np.float32]) == "float32"


def tensor(dtype: str, scale: float | None = None, zero_point: int = 0) -> Tensor:
    return Tensor("x", 0, (-1, 2), np.dtype(dtype), scale, zero_point)


def test_quantize_rounds_half_to_even_and_clips() -> None:
    real = np.array([0.25, 0.75, -0.25, 100.0, -100.0], np.float32)
    q = inputs.quantize(real, tensor("int8", 0.5, 3))
    assert (q.tolist(), q.dtype) == ([3, 5, 3, 127, -128], np.int8)
    assert inputs.dequantize(q[:2], tensor("int8", 0.5, 3)).tolist() == [0.0, 1.0]


def test_whole_numbers_that_do_not_fit_are_refused() -> None:
    samples = inputs.Samples([tensor("int8")], {"x": np.array([[1, 300]])}, {}, None)
    with pytest.raises(AgentError, match="do not fit") as caught:
        samples.get(0)
    assert caught.value.code == "EP303"


def test_a_transform_of_whole_numbers_is_refused() -> None:
    with pytest.raises(AgentError, match="has a transform"):
        inputs.Samples(
            [tensor("int32")], {"x": np.zeros((2, 2))}, {"x": {"scale": 2.0, "offset": 0.0}}, None
        )


def test_different_numbers_of_samples_are_refused() -> None:
    with pytest.raises(AgentError, match="different numbers"):
        inputs.Samples([tensor("float32")], {"x": np.zeros((2, 2))}, {}, np.zeros(3))


def test_digest_is_of_the_stored_values() -> None:
    arrays = {"x": np.arange(8, dtype=np.uint8).reshape(4, 2)}
    as_float = inputs.Samples([tensor("float32")], arrays, {}, None)
    as_int8 = inputs.Samples([tensor("int8", 0.1)], arrays, {}, None)
    assert as_float.digest([0, 2]) == as_int8.digest([0, 2]) != as_float.digest([2, 0])


def top_k(outputs: list[list[float]], labels: list[object]) -> dict:
    metric = quality.TopK()
    for output, label in zip(outputs, labels, strict=True):
        metric.add(np.array(output), np.array(label))
    return metric.result()


def test_top_k() -> None:
    scores = [[6, 5, 4, 3, 2, 1, 0], [6, 5, 4, 3, 2, 1, 0], [6, 5, 4, 3, 2, 1, 0]]
    result = top_k(scores, [0, 4, 5])
    assert result["value"] == pytest.approx(1 / 3)
    assert result["extra"]["top5"] == pytest.approx(2 / 3)
    assert result["correct"] == "80"


def test_one_hot_binary_and_not_a_number() -> None:
    assert top_k([[0.1, 0.9], [0.9, 0.1]], [[0, 1], [0, 1]])["correct"] == "80"
    assert top_k([[0.7], [0.2], [0.4]], [1, 0, 1])["correct"] == "c0"
    assert top_k([[float("nan"), 0.0]], [0])["value"] == 0.0


def test_confusion_counts_samples_by_label_and_decision() -> None:
    result = top_k([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 1, 9])
    assert result["confusion"] == {"classes": 3, "cells": [[0, 0, 1], [0, 1, 1], [1, 1, 1]]}
    assert top_k([[1.0] * 201], [3])["confusion"] is None
    assert top_k([[0.7], [0.2]], [1, 1])["confusion"]["cells"] == [[1, 0, 1], [1, 1, 1]]


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    # Positives 0.9 and 0.5, negatives 0.5 and 0.1: three pairs right and one equal.
    result = top_k([[0.9], [0.5], [0.5], [0.1]], [1, 1, 0, 0])
    assert result["extra"]["auc"] == 3.5 / 4
    low, high = result["extra_ci95"]["auc"]
    assert 0 <= low <= 3.5 / 4 <= high <= 1
    two = top_k([[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]], [1, 1, 0, 0])
    assert two["extra"] == result["extra"] and two["extra_ci95"] == result["extra_ci95"]
    assert top_k([[0.9], [0.8]], [1, 1])["extra"] == {}, "no negative sample: no AUC"


def test_the_bootstrap_is_seeded_and_as_wide_as_theory() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 400)
    first, again = (quality.bootstrap(400, lambda at: values[at].mean()) for _ in range(2))
    assert first == again
    assert first is not None
    assert first[1] - first[0] == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.2)


def test_deviation() -> None:
    metric = quality.Deviation()
    metric.add(np.array([1.0, 2.0]), np.array([2.0, 0.0]))
    result = metric.result()
    assert (result["value"], result["n"]) == (1.5, 1)
    assert result["extra"]["rmse"] == pytest.approx(2.5**0.5)
    with pytest.raises(AgentError) as caught:
        metric.add(np.array([1.0]), np.array([1.0, 2.0]))
    assert caught.value.code == "EP303"
    metric.add(np.array([np.inf, 0.0]), np.zeros(2))
    assert metric.result() is None

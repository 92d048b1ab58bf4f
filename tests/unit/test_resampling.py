"""Quality without labels, and intervals by resampling."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.analysis import quality, resampling
from edgepack.model import Agreement, Quality
from tests import builders


def test_cosines_by_hand() -> None:
    reference = {"a": np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])}
    outputs = {"a": np.array([[0.0, 2.0], [4.0, 3.0], [0.0, 0.0], [1.0, 0.0]])}
    assert resampling.cosines(reference, outputs) == pytest.approx([0.0, 24 / 25, 1.0, 0.0])


def test_likeness_is_the_cosine_where_nothing_is_decided() -> None:
    outputs = {"y": np.array([[1.0, 2.0], [2.0, 1.0]])}
    agreed = Agreement(samples=2, top1_agreement=None, max_abs_diff=0.0, snr_db=None)
    found = resampling.likeness(outputs, outputs, agreed)
    assert found is not None and (found.metric, found.n) == ("cosine", 2)
    assert found.value == pytest.approx(1.0) and found.ci95 == pytest.approx((1.0, 1.0))


def test_likeness_of_a_classifier_is_the_share_of_equal_decisions() -> None:
    reference, outputs = {"y": np.eye(4)}, {"y": np.eye(4)[[0, 1, 2, 2]]}
    agreed = Agreement(samples=4, top1_agreement=0.75, max_abs_diff=1.0, snr_db=3.0)
    found = resampling.likeness(reference, outputs, agreed)
    assert found is not None and (found.metric, found.value) == ("agreement", 0.75)
    assert found.extra == {"cosine": 0.75, "snr_db": 3.0}


def test_an_interval_is_seeded_and_none_without_spread_to_judge() -> None:
    values = np.arange(50.0)
    one, two = (resampling.interval(50, lambda at: values[at].mean()) for _ in range(2))
    assert one == two and one is not None and one[0] < values.mean() < one[1]
    assert resampling.interval(1, lambda at: 1.0) is None
    assert resampling.interval(9, lambda at: float("nan")) is None


def test_only_shares_of_samples_have_wilsons_interval() -> None:
    def of(metric: str) -> Quality:
        found = quality.measured(
            builders.measurement("v", quality=Quality(metric=metric, value=0.5, n=10))
        )
        assert found is not None
        return found

    assert of("top1").ci95 == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert of("map").ci95 is None
    base = Quality(metric="top1", value=0.5, n=10, extra={"top5": 0.5, "auc": 0.5})
    found = quality.measured(builders.measurement("v", quality=base))
    assert found is not None and list(found.extra_ci95) == ["top5"]

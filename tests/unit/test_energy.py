"""Energy per inference from the time line's power."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.fleet import energy

ROUNDS = [np.array([1_000_000, 2_000_000, 3_000_000])]


def test_mean_power_times_the_median_inference() -> None:
    timeline = {"columns": ["t_s", "power_w"], "rows": [[0.2, None], [0.5, 4.0], [0.7, 6.0]]}
    found = energy.per_inference(timeline, ROUNDS)
    assert found == {"mean_w": 5.0, "mj_per_inference": pytest.approx(10.0)}


@pytest.mark.parametrize(
    "timeline",
    [
        {"columns": ["t_s"], "rows": [[0.2]]},
        {"columns": ["t_s", "power_w"], "rows": [[0.2, None]]},
        {"columns": ["t_s", "power_w"], "rows": [[0.2, -1.0]]},
    ],
)
def test_no_power_no_energy(timeline: dict[str, list]) -> None:  # type: ignore[type-arg]
    assert energy.per_inference(timeline, ROUNDS) is None


def test_nothing_measured_no_energy() -> None:
    assert energy.per_inference({"columns": ["power_w"], "rows": [[1.0]]}, []) is None

"""Energy per inference, from the power that the board told beside the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def per_inference(
    timeline: Mapping[str, Any], rounds: Sequence[np.ndarray[Any, Any]]
) -> dict[str, float] | None:
    """`mean_w` during the rounds, and `mj_per_inference`: that times the median inference.

    The sensors see the whole board (RAPL: the processor's packages), what it draws at idle
    included, and are read four times a second, which is longer than a variant's turn: the
    variants of one job share the power, so their energies differ by their times alone. None
    where the board tells no power.

    Args:
        timeline: the `timeline` event's fields.
        rounds: latencies in nanoseconds by round.
    """
    if "power_w" not in timeline["columns"] or not rounds:
        return None
    at = timeline["columns"].index("power_w")
    watts = [row[at] for row in timeline["rows"] if row[at] is not None and row[at] >= 0]
    if not watts:
        return None
    mean_w = float(np.mean(watts))
    p50_ns = float(np.median(np.concatenate(list(rounds))))
    return {"mean_w": mean_w, "mj_per_inference": mean_w * p50_ns / 1e6}

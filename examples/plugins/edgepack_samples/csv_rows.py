"""`--data csv://FILE`: rows of numbers, the integer class in the last column; no header."""

from __future__ import annotations

from typing import Any

import numpy as np

TEST_SHARE = 0.2


def load(rest: str) -> dict[str, Any]:
    """The arrays of the file that `rest` names; every fifth row is for testing."""
    rows = np.loadtxt(rest, delimiter=",", ndmin=2)
    x, y = rows[:, :-1].astype(np.float32), rows[:, -1].astype(np.int64)
    test = np.arange(len(rows)) % round(1 / TEST_SHARE) == 0
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}

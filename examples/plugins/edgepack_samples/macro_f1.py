"""`--quality macro_f1`: the macro-averaged F1 score of a classifier."""

from __future__ import annotations

import numpy as np

from edgepack.errors import EdgepackError
from edgepack.quality import EvaluationSet


def macro_f1(
    outputs: dict[str, np.ndarray], labels: np.ndarray | None, dataset: EvaluationSet
) -> float:
    """The mean over classes of 2 hits / (decisions + labels), from the first output.

    outputs: [samples, classes] by name, dequantized; labels: [samples] integers.
    """
    if labels is None:
        raise EdgepackError("EP303", "macro_f1 needs labels", hint="Add y_test to the data.")
    said = np.argmax(next(iter(outputs.values())), axis=-1)
    true = np.reshape(labels, -1)
    scores = [
        2 * np.sum((said == each) & (true == each)) / (np.sum(said == each) + np.sum(true == each))
        for each in np.union1d(said, true)
    ]
    return float(np.mean(scores))

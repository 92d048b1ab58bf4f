"""The quality of a network between passes, on training samples that no pass trains on."""

from __future__ import annotations

from edgepack.compress import checking
from edgepack.compress.network import KerasNetwork, Network
from edgepack.data import Dataset

# Enough to see what a pass costs (±2 points near 90%), in about a second.
_MOST = 1000


def quality(network: Network, dataset: Dataset, seed: int) -> float | None:
    """Accuracy, or mean absolute error for regression; None without labels or samples.

    The rows are among those that training holds back with the same seed (`training.samples`),
    never the test samples.
    """
    from edgepack.compress.training.samples import split

    if not isinstance(network, KerasNetwork) or dataset.y_train is None:
        return None
    rows = split(dataset.train_samples, seed).held[:_MOST]
    outputs = network.predict(dataset.real("train", rows))
    return checking.quality(outputs, dataset.y_train[rows], dataset.task)

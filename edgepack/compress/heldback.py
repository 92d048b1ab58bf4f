"""Which training samples no pass trains on, and a network's quality on them between passes.

Every pass of a recipe has the same seed, so all of them leave the same rows alone. Whatever
fits a network to data (a training, scores of channels, batch statistics) takes `to_train`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepack.compress import checking
from edgepack.compress.network import KerasNetwork, Network
from edgepack.data import Dataset
from edgepack.data.dataset import task_of

Rows = npt.NDArray[np.intp]

# A tenth is held back, but no more than gives an accuracy near 90% to ±0.8 points (95%).
_HELD_SHARE = 0.1
_HELD_MOST = 5000
# Enough to see what a pass costs (±2 points near 90%), in about a second.
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of the training samples: those trained on, and those held back."""

    train: Rows
    held: Rows


def split(samples: int, seed: int) -> Split:
    """A seeded split; the same seed and number of samples give the same rows.

    A single sample is trained on, and none is held back.
    """
    order = _order(samples, seed)
    held = _held(samples)
    return Split(train=np.sort(order[held:]), held=np.sort(order[:held]))


def to_train(samples: int, seed: int) -> Rows:
    """The rows that are not held back, in a seeded order: any first ones are a fair draw."""
    return _order(samples, seed)[_held(samples) :]


def quality(network: Network, dataset: Dataset, seed: int) -> float | None:
    """Accuracy, or mean absolute error for regression, on rows that are held back.

    None without labels, or where no row can be spared. Test samples are never used.
    """
    if not isinstance(network, KerasNetwork) or dataset.y_train is None:
        return None
    rows = split(dataset.train_samples, seed).held[:_MOST]
    if not len(rows):
        return None
    outputs = network.predict(dataset.real("train", rows))
    # The labels say what they are: without any for the test samples, the dataset has no task.
    return checking.quality(outputs, dataset.y_train[rows], task_of(dataset.y_train))


def _order(samples: int, seed: int) -> Rows:
    return np.random.default_rng(seed).permutation(samples)


def _held(samples: int) -> int:
    return min(_HELD_MOST, max(1, round(samples * _HELD_SHARE))) if samples > 1 else 0

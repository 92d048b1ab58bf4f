"""The network that another one learns from: its outputs and inner tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgepack.compress.heldback import Rows
from edgepack.compress.native import tensorflow
from edgepack.compress.training.samples import batches, stored
from edgepack.data.dataset import Array, Dataset

# More than this is not kept in memory: the teacher then runs again for every batch.
_KEEP_BYTES = 512 * 2**20
_BATCH = 256


class Teacher:
    """Says what a network's tensors are for training rows; remembered where that fits."""

    def __init__(self, model: Any, dataset: Dataset, read: Callable[..., list[Any]]) -> None:
        """`model` goes from a list of inputs to a list of tensors, as `models.wire` makes."""
        self.model = model
        self._dataset = dataset
        self._kept: list[Array] | None = None
        self._infer = tensorflow().function(
            lambda stored: self.say(read(stored, None)), reduce_retracing=True
        )

    def fits(self) -> bool:
        """Whether all its tensors for all training rows fit into memory."""
        shapes = [tuple(tensor.shape[1:]) for tensor in self.model.outputs]
        if any(size is None for shape in shapes for size in shape):
            return False
        values: int = sum(math.prod(shape) for shape in shapes)
        return values * 4 * self._dataset.train_samples <= _KEEP_BYTES

    def remember(self, tick: Callable[[int, int], None]) -> None:
        """Run over all training rows once; `tick` hears (rows done, all rows)."""
        tf, rows = tensorflow(), np.arange(self._dataset.train_samples)
        parts: list[list[Array]] = []
        for batch in batches(rows, _BATCH):
            inputs = {k: tf.constant(v) for k, v in stored(self._dataset, batch).items()}
            parts.append([tensor.numpy() for tensor in self._infer(inputs)])
            tick(int(batch[-1]) + 1, len(rows))
        self._kept = [np.concatenate(column) for column in zip(*parts, strict=True)]

    def recall(self, rows: Rows) -> list[Array] | None:
        """The remembered tensors of these rows; None where they are not remembered."""
        return None if self._kept is None else [array[rows] for array in self._kept]

    def say(self, inputs: list[Any]) -> list[Any]:
        """The tensors for real inputs, within a graph or outside of one."""
        return [tensorflow().stop_gradient(t) for t in flat(self.model(inputs, training=False))]


def flat(outputs: Any) -> list[Any]:
    """Outputs as a list, whether a model of one output gives a list or a tensor."""
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

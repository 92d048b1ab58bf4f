"""Training samples: shuffled, read in batches as stored, made real in the graph.

Stored values (raw bytes, often) stay as they are until a batch is used, so that a training
takes no more memory than the dataset itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from edgepack.compress.heldback import Rows
from edgepack.compress.native import tensorflow
from edgepack.data.dataset import Array, Dataset
from edgepack.errors import EdgepackError
from edgepack.model import TensorSpec

AUGMENTS = ("none", "shift-flip")
# An eighth of a side: 3 pixels of 28, 4 of 32 (the usual amount for CIFAR's 32).
_SHIFT = 8


def batches(rows: Rows, size: int, rng: np.random.Generator | None = None) -> Iterator[Rows]:
    """Rows in batches: shuffled and whole ones only with `rng`, else in order and all."""
    order = rows if rng is None else rng.permutation(rows)
    end = len(order) if rng is None else len(order) - len(order) % size
    for start in range(0, end, size):
        yield order[start : start + size]


def reader(
    dataset: Dataset, inputs: tuple[TensorSpec, ...], augment: str
) -> Callable[[Mapping[str, Any], Any], list[Any]]:
    """A graph function: stored tensors by name and a seed [2] -> real model inputs in order.

    A seed of None leaves the augmentation out, as for held-back samples.

    Raises:
        EdgepackError: EP206 when `augment` needs images and an input is something else.
    """
    if augment == "shift-flip":
        for spec in inputs:
            if len(spec.shape) != 4 or None in spec.shape[1:]:
                raise EdgepackError(
                    "EP206",
                    f"augment = 'shift-flip' needs images of one size; input '{spec.name}' is not",
                    hint="Leave augment at 'none'.",
                )

    def read(stored: Mapping[str, Any], seed: Any) -> list[Any]:
        real = [_real(stored[spec.name], dataset, spec) for spec in inputs]
        if augment == "none" or seed is None:
            return real
        return [_shift_flip(images, seed) for images in real]

    return read


def _real(stored: Any, dataset: Dataset, spec: TensorSpec) -> Any:
    tf = tensorflow()
    transform = dataset.transforms.get(spec.name)
    if transform is None:
        return tf.cast(stored, spec.dtype)
    return tf.cast(tf.cast(stored, tf.float32) * transform.scale + transform.offset, spec.dtype)


def _shift_flip(images: Any, seed: Any) -> Any:
    """Each image mirrored or not, the batch moved by up to an eighth, edges repeated.

    One shift serves a batch: it costs a single slice, and shifts differ from step to step.
    """
    tf = tensorflow()
    size, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    mirrored = tf.random.stateless_uniform([size, 1, 1, 1], seed) < 0.5
    images = tf.where(mirrored, tf.reverse(images, [2]), images)
    tall, wide = height // _SHIFT, width // _SHIFT
    padded = tf.pad(images, [[0, 0], [tall, tall], [wide, wide], [0, 0]], mode="SYMMETRIC")
    top = tf.random.stateless_uniform([], seed + 1, maxval=2 * tall + 1, dtype=tf.int32)
    left = tf.random.stateless_uniform([], seed + 2, maxval=2 * wide + 1, dtype=tf.int32)
    return padded[:, top : top + height, left : left + width]


def stored(dataset: Dataset, rows: Rows) -> dict[str, Array]:
    """The training inputs of some rows, as stored."""
    return {name: array[rows] for name, array in dataset.x_train.items()}

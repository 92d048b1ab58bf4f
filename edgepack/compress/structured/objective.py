"""The loss by whose gradients "taylor" ranks: that of the output which the labels belong to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepack.compress.graph import feed
from edgepack.compress.structured.samples import Samples
from edgepack.compress.training.heads import Head, describe
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError

# Enough to see what kind of values an output has.
_SHOWN = 16


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is minimised: the loss of one output's labels, or else half the squared outputs.

    index, head: which output has the labels, and what it is. note: why none has them.
    """

    index: int = 0
    head: Head | None = None
    note: str = ""

    def loss(self, outputs: list[Any], labels: Array | None) -> Any:
        """The mean loss of a batch, as a scalar that gradients can be taken of."""
        import keras

        outputs = [keras.ops.cast(one, "float32") for one in outputs]
        if self.head is not None:
            return self.head.hard_loss(outputs[self.index], labels)
        return sum(keras.ops.mean(keras.ops.square(output)) for output in outputs) / 2


def objective(model: Any, samples: Samples) -> Objective:
    """What to minimise: the labels are the first output's that they fit."""
    labels = samples.labels
    if labels is None:
        return Objective()
    shown = [np.asarray(one) for one in run(model, samples, slice(0, _SHOWN))]
    for index, (tensor, sample) in enumerate(zip(model.outputs, shown, strict=True)):
        with suppress(EdgepackError):
            head = describe(tensor, tensor.name, sample, labels)
            if head.labels != "index" or _are_classes(labels, sample.shape[-1]):
                return Objective(index=index, head=head)
    return Objective(
        note="the labels fit no output of the model: channels were ranked by how much they "
        "change its outputs"
    )


def run(model: Any, samples: Samples, chosen: slice) -> list[Any]:
    """The model's outputs for some of the samples."""
    import keras

    inputs = {name: values[chosen] for name, values in samples.inputs.items()}
    outputs: list[Any] = keras.tree.flatten(model(feed(model, inputs)))
    return outputs


def _are_classes(labels: Array, count: int) -> bool:
    return bool(labels.min() >= 0 and labels.max() < count)

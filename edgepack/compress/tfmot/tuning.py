"""What a task in the worker works on, and the short fine-tune that all tasks share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from edgepack.compress.native import tensorflow
from edgepack.compress.training.heads import Head
from edgepack.compress.training.models import short_memory
from edgepack.data.dataset import Array

Rows = npt.NDArray[np.intp]


class RefusedError(ValueError):
    """A network that the task cannot take; the message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task's tf_keras model, its job (see `host`), its data and where its progress goes."""

    model: Any
    job: Mapping[str, Any]
    data: Mapping[str, Array]
    folder: Path
    progress: TextIO

    @property
    def params(self) -> Mapping[str, Any]:
        """The task's own parameters."""
        params: Mapping[str, Any] = self.job["params"]
        return params

    @property
    def steps(self) -> int:
        """Batches that the fine-tune takes."""
        return int(self.job["steps"])

    @property
    def samples(self) -> int:
        """How many samples were sent."""
        return len(self.data["y:0"])

    def inputs(self, rows: Rows) -> dict[str, Array]:
        """Real-valued model inputs of some rows: real = stored * scale + offset."""
        found: dict[str, Array] = {}
        for name, tensor in zip(self.model.input_names, self.model.inputs, strict=True):
            stored = self.data[f"x:{name}"][rows]
            transform = self.job["transforms"].get(name)
            if transform is not None:
                scale, offset = np.float32(transform[0]), np.float32(transform[1])
                stored = stored.astype(np.float32) * scale + offset
            found[name] = stored.astype(tensor.dtype.as_numpy_dtype, copy=False)
        return found

    def targets(self, rows: Rows) -> Any:
        """Labels, or the source network's outputs: one array, or a list for several outputs."""
        names = [f"y:{number}" for number in range(len(self.job["outputs"]))]
        arrays = [self.data[name][rows] for name in names]
        return arrays[0] if len(arrays) == 1 else arrays


def kernels(layer: Any) -> list[Any]:
    """A layer's weight variables of two or more dimensions."""
    return [weight for weight in layer.weights if len(weight.shape) >= 2]


def fine_tune(work: Work, model: Any, callbacks: Sequence[Any] = ()) -> None:
    """Train `model`, made from the work's, for the job's steps, in a seeded order."""
    import tf_keras

    optimizer = tf_keras.optimizers.Adam(work.job["learning_rate"])
    # Variables made inside the first step would have the whole step traced twice.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, _loss(tf_keras, work.job["head"]))

    def show(batch: int, logs: Mapping[str, float]) -> None:
        event = {"message": "fine-tuning", "done": batch + 1, "total": work.steps}
        work.progress.write(json.dumps(event) + "\n")

    told = tf_keras.callbacks.LambdaCallback(on_batch_end=show)
    batches = _batches(tf_keras, work)
    with short_memory(model, work.steps):
        model.fit(batches, shuffle=False, verbose=0, callbacks=[*callbacks, told])


def _batches(tf_keras: Any, work: Work) -> Any:
    """The job's steps as one Keras sequence; each pass over the samples in a new order."""
    size = work.job["batch_size"]
    rng = np.random.default_rng(work.job["seed"])
    passes = -(-work.steps * size // work.samples)
    order = np.concatenate([rng.permutation(work.samples) for _ in range(passes)])

    class Batches(tf_keras.utils.Sequence):  # type: ignore[misc]
        def __len__(self) -> int:
            return work.steps

        def __getitem__(self, step: int) -> tuple[dict[str, Array], Any]:
            rows = order[step * size : (step + 1) * size]
            return work.inputs(rows), work.targets(rows)

    return Batches()


def _loss(tf_keras: Any, head: Mapping[str, Any] | None) -> Any:
    """The same loss as fine-tuning's for labels; else the outputs' distance to the source's."""
    if head is None:
        return tf_keras.losses.MeanSquaredError()
    learned = Head(**head)

    def loss(labels: Any, output: Any) -> Any:
        if learned.labels == "index":
            # Keras gives a column where labels are one number a sample.
            labels = tensorflow().reshape(labels, tensorflow().shape(output)[:-1])
        return learned.hard_loss(output, labels)

    return loss

"""What a network's outputs are, and the losses and metrics that follow from it.

An output is a "softmax" (probabilities that sum to one), a "sigmoid" (independent
probabilities) or "linear" (logits, or real values). Probabilities are turned back into
logits by their logarithm; that fixes a softmax's logits only up to a constant, which every
use here cancels: softmax(log p / T) is softmax(z / T) for the logits z behind p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepack.compress.native import tensorflow
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError

# Below this a probability carries no information that a float32 gradient could use.
_LEAST = 1e-30


@dataclass(frozen=True, kw_only=True)
class Head:
    """One output: its name, its kind, and how labels are compared with it.

    kind: "softmax", "sigmoid" or "linear".
    labels: "index" (class numbers), "onehot", "binary" (0 or 1), "real", or None where the
        output has no labels.
    variance: of the targets of "real" labels or of a teacher, so that a squared error is a
        share of it and losses of different units can be added.
    """

    name: str
    kind: str
    labels: str | None = None
    variance: float = 1.0

    def hard_loss(self, output: Any, target: Any) -> Any:
        """Mean loss against labels: cross-entropy, or squared error over the variance."""
        tf = tensorflow()
        if self.labels == "real":
            target = tf.reshape(tf.cast(target, tf.float32), tf.shape(output))
            return tf.reduce_mean(tf.square(output - target)) / self.variance
        logits = self.logits(output)
        if self.labels == "index":
            return tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(target, tf.int32), logits)
            )
        if self.labels == "onehot":
            target = tf.cast(target, tf.float32)
            return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        target = tf.reshape(tf.cast(target, tf.float32), tf.shape(logits))
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits))

    def soft_loss(self, output: Any, teacher: Any, temperature: float) -> Any:
        """Mean loss against a teacher's output of the same kind.

        Classes: T² times the divergence KL(teacher ‖ student) at temperature T, whose
        gradient then keeps its size whatever T is (Hinton, Vinyals and Dean, 2015, section
        2). Real values: the squared error over the variance of the teacher's outputs.
        """
        tf = tensorflow()
        if not self.is_classes:
            return tf.reduce_mean(tf.square(output - teacher)) / self.variance
        ours, theirs = self.logits(output) / temperature, self.logits(teacher) / temperature
        if self.kind == "sigmoid" or self.labels == "binary":
            truth = tf.sigmoid(theirs)
            cross = tf.nn.sigmoid_cross_entropy_with_logits(truth, ours)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(truth, theirs)
        else:
            truth = tf.nn.softmax(theirs)
            cross = tf.nn.softmax_cross_entropy_with_logits(truth, ours)
            entropy = tf.nn.softmax_cross_entropy_with_logits(truth, theirs)
        return temperature**2 * tf.reduce_mean(cross - entropy)

    @property
    def is_classes(self) -> bool:
        """Whether the values are probabilities or logits, as far as is known."""
        return self.kind != "linear" or self.labels in ("index", "onehot", "binary")

    def logits(self, output: Any) -> Any:
        """Logits of an output; a softmax's up to a constant."""
        tf = tensorflow()
        if self.kind == "linear":
            return output
        log = tf.math.log(tf.maximum(output, _LEAST))
        return log if self.kind == "softmax" else log - tf.math.log(tf.maximum(1 - output, 1e-7))

    @property
    def metric(self) -> str | None:
        """ "top1", "accuracy" (of each 0 or 1) or "mae"; None without labels."""
        names = {"index": "top1", "onehot": "top1", "binary": "accuracy", "real": "mae"}
        return names[self.labels] if self.labels else None

    def quality(self, output: Array, target: Array) -> float:
        """The metric over samples; for "mae" lower is better."""
        if self.labels in ("index", "onehot"):
            truth = target if self.labels == "index" else target.argmax(-1)
            return float(np.mean(output.argmax(-1) == truth))
        target = target.reshape(output.shape)
        if self.labels == "binary":
            threshold = 0.0 if self.kind == "linear" else 0.5
            return float(np.mean((output > threshold) == (target > 0.5)))
        return float(np.mean(np.abs(output - target)))


def describe(tensor: Any, name: str, sample: Array, labels: Array | None) -> Head:
    """The head behind an output tensor of a Keras or tf_keras graph.

    Args:
        tensor: the model's symbolic output.
        name: the output's name.
        sample: outputs for a few samples, of the network or its teacher: their spread,
            and probabilities that come from a layer with code of its own, are seen in them.
        labels: of the training samples; None where this output has none.

    Raises:
        EdgepackError: EP303 when the labels do not fit the output.
    """
    kind = _activation(tensor)
    if kind == "linear" and _sums_to_one(sample):
        kind = "softmax"
    how = None if labels is None else _labels(kind, sample, labels, name)
    spread = sample if how is None else labels if how == "real" else None
    variance = 1.0 if spread is None else float(np.var(np.asarray(spread, np.float64)))
    return Head(name=name, kind=kind, labels=how, variance=variance or 1.0)


def _activation(tensor: Any) -> str:
    """The kind by the layer that makes the tensor, looking through nested models."""
    history = tensor._keras_history
    layer, position = history[0], history[2]
    if getattr(layer, "outputs", None) and hasattr(layer, "layers"):
        return _activation(layer.outputs[position])
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None) or type(layer).__name__
    return name.lower() if name.lower() in ("softmax", "sigmoid") else "linear"


def _sums_to_one(sample: Array) -> bool:
    if sample.ndim < 2 or sample.shape[-1] < 2:
        return False
    return bool((sample >= 0).all() and np.allclose(sample.sum(-1), 1, atol=1e-3))


def _labels(kind: str, sample: Array, labels: Array, name: str) -> str:
    """How labels and output meet, by their shapes and types."""
    whole = labels.dtype.kind in "iub"
    shape, given = sample.shape[1:], labels.shape[1:]
    if whole and shape and given == shape[:-1] and shape[-1] > 1:
        return "index"
    if np.prod(shape, dtype=int) == np.prod(given, dtype=int):
        if kind == "softmax":
            return "onehot"
        if kind == "sigmoid" or (whole and labels.max() <= 1):
            return "binary"
        # Whole numbers, one a sample, are classes: a single real value is not for them.
        if not whole or given:
            return "real"
    raise EdgepackError(
        "EP303",
        f"Labels of shape {given or 'scalar'} do not fit the output '{name}' of shape {shape}",
        hint="Give class numbers for a classifier, or targets in the output's shape.",
    )

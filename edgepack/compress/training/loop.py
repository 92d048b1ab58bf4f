"""The training loop: short, seeded, watched on held-back samples, best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepack.compress import heldback
from edgepack.compress.native import tensorflow
from edgepack.compress.network import KerasNetwork
from edgepack.compress.training import models, samples
from edgepack.compress.training.heads import Head
from edgepack.compress.training.teacher import Teacher, flat
from edgepack.data.dataset import Array, Dataset
from edgepack.errors import EdgepackError

Progress = Callable[[str, float | None, float | None], None]
_TOLD_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to train.

    learning_rate: Adam's highest; reached after the warm-up, then a cosine to zero
        (Loshchilov and Hutter, 2017).
    batch_size: samples of one step; fewer where there are fewer.
    patience: epochs without a better held-back loss before it ends.
    seed: of the order of samples, the augmentation and the random layers.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    augment: str = "none"
    patience: int = 3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the outputs should become.

    heads: one an output; labels: of the head that has any (all training rows).
    teacher: whose outputs the heads without labels follow, and those with labels by `alpha`
        (1: only the teacher, 0: only the labels).
    features: how many of the teacher's tensors behind its outputs are matched, by a squared
        error over their variance times `feature_weight`.
    """

    heads: tuple[Head, ...]
    labels: Array | None
    teacher: Teacher | None = None
    alpha: float = 0.0
    temperature: float = 1.0
    feature_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of held-back samples: the loss, and the labelled head's metric where there is one."""

    loss: float
    quality: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What training did: scores as it came and as it is left, and the epoch that was kept.

    best_epoch 0 means that no epoch was better, and the weights are as they came.
    """

    before: Score
    after: Score
    best_epoch: int
    epochs: int
    held: int
    seconds: float
    finite: bool = True


class Trainer:
    """Trains one network in place."""

    def __init__(
        self,
        network: KerasNetwork,
        dataset: Dataset,
        goal: Goal,
        options: Options,
        *,
        features: tuple[Any, ...] = (),
        projections: tuple[Any, ...] = (),
        keep_zeros: bool = False,
    ) -> None:
        """`features` are the network's own tensors to bring to the teacher's, each through a
        layer of `projections` (or None)."""
        self._network, self._dataset, self._goal, self._options = network, dataset, goal, options
        self._model = models.wire(network, features)
        self._projections = projections
        self._read = samples.reader(dataset, network.inputs, options.augment)
        self._split = heldback.split(dataset.train_samples, options.seed)
        self._fixed = network.inputs[0].shape[0]
        self._size = self._fixed or min(options.batch_size, len(self._split.train))
        if self._fixed and min(len(self._split.held), len(self._split.train)) < self._fixed:
            raise EdgepackError(
                "EP206",
                f"The network takes batches of {self._fixed}, and there are fewer training "
                "samples than that, or fewer held back (a tenth)",
                hint="Give more samples, or save the model with a free batch size.",
            )
        self._masks = models.zero_masks(network.model) if keep_zeros else []
        self._labelled = next((i for i, head in enumerate(goal.heads) if head.labels), None)

    def run(self, progress: Progress, label: str) -> Outcome:
        """Train, and leave the weights of the best epoch in the network.

        `progress` hears a sentence that begins with `label`, steps done and all steps.
        """
        started = time.monotonic()
        options = self._options
        steps = len(self._split.train) // self._size
        self._remember(progress, label)
        self._optimizer = self._make_optimizer(steps * options.epochs)
        self._step_function = tensorflow().function(self._step, reduce_retracing=True)
        self._score_function = tensorflow().function(self._score, reduce_retracing=True)
        before = best = self._evaluate()
        kept, best_epoch, epoch, finite = self._network.model.get_weights(), 0, 0, True
        rng = np.random.default_rng(options.seed)
        meter = _Meter(progress, label, options.epochs, steps)
        with models.short_memory(self._network.model, steps * options.epochs):
            for epoch in range(1, options.epochs + 1):
                finite = self._epoch(rng, epoch, meter)
                score = self._evaluate() if finite else Score(loss=math.nan, quality=None)
                if math.isfinite(score.loss) and not best.loss <= score.loss:
                    best, best_epoch, kept = score, epoch, self._network.model.get_weights()
                if not finite or epoch - best_epoch >= options.patience:
                    break
        self._network.model.set_weights(kept)
        return Outcome(
            before=before,
            after=best,
            best_epoch=best_epoch,
            epochs=epoch,
            held=len(self._split.held),
            seconds=time.monotonic() - started,
            finite=finite,
        )

    def _remember(self, progress: Progress, label: str) -> None:
        """Without augmentation the teacher says the same in every epoch: ask once.

        A network with a fixed batch size would need samples in multiples of it; there the
        teacher runs with every step.
        """
        teacher = self._goal.teacher
        alike = self._options.augment == "none" and not self._fixed
        if teacher is not None and alike and teacher.fits():
            teacher.remember(lambda done, of: progress(f"{label}: asking the teacher", done, of))

    def _make_optimizer(self, steps: int) -> Any:
        keras = models.library(self._network)
        warmup = min(steps // 10, 100)
        peak = self._options.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(
            peak / 10 if warmup else peak,
            max(1, steps - warmup),
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
        optimizer = keras.optimizers.Adam(schedule)
        optimizer.build(self._variables())
        return optimizer

    def _variables(self) -> list[Any]:
        extra = [v for layer in self._projections if layer for v in layer.trainable_variables]
        return [*self._network.model.trainable_variables, *extra]

    def _epoch(self, rng: np.random.Generator, epoch: int, meter: _Meter) -> bool:
        """One pass over the training rows; False when a weight is no longer a number."""
        tf = tensorflow()
        for index, rows in enumerate(samples.batches(self._split.train, self._size, rng)):
            seed = tf.constant([self._options.seed, epoch * 1_000_000 + index], tf.int32)
            self._step_function(*self._tensors(rows), seed)
            meter.tell(epoch, index + 1)
        # The loss would not show it: a NaN among probabilities is clipped to the least one.
        return all(np.isfinite(array).all() for array in self._network.model.get_weights())

    def _tensors(self, rows: heldback.Rows) -> tuple[Any, Any, Any]:
        """Stored inputs, labels and the teacher's remembered tensors of some rows."""
        tf = tensorflow()
        goal = self._goal
        inputs = {k: tf.constant(v) for k, v in samples.stored(self._dataset, rows).items()}
        labels = None if goal.labels is None else tf.constant(goal.labels[rows])
        soft = goal.teacher.recall(rows) if goal.teacher else None
        return inputs, labels, None if soft is None else [tf.constant(array) for array in soft]

    def _step(self, stored: Any, labels: Any, soft: Any, seed: Any) -> None:
        """One step of Adam; zeros that are to stay are put back after it."""
        tf = tensorflow()
        inputs = self._read(stored, seed)
        soft = self._soft(soft, inputs)
        variables = self._variables()
        with tf.GradientTape() as tape:
            outputs = flat(self._model(inputs, training=True))
            loss = self._loss(outputs, labels, soft) + self._feature_loss(outputs, soft)
            loss += tf.add_n([0.0, *(tf.cast(term, tf.float32) for term in self._model.losses)])
        pairs = zip(tape.gradient(loss, variables), variables, strict=True)
        self._optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])
        for weight, mask in self._masks:
            weight.assign(weight * mask)

    def _soft(self, soft: Any, inputs: list[Any]) -> Any:
        if soft is not None or self._goal.teacher is None:
            return soft
        return self._goal.teacher.say(inputs)

    def _loss(self, outputs: list[Any], labels: Any, soft: Any) -> Any:
        """The sum over the heads of what each is to become."""
        tf, goal = tensorflow(), self._goal
        total = tf.constant(0.0)
        for index, head in enumerate(goal.heads):
            share = goal.alpha if index == self._labelled else 1.0
            output = tf.cast(outputs[index], tf.float32)
            if index == self._labelled and share < 1:
                total += (1 - share) * head.hard_loss(output, labels)
            if soft is not None and share > 0:
                taught = tf.cast(soft[index], tf.float32)
                total += share * head.soft_loss(output, taught, goal.temperature)
        return total

    def _feature_loss(self, outputs: list[Any], soft: Any) -> Any:
        """The mean over the matched tensors of error² / variance, times its weight."""
        tf, first = tensorflow(), len(self._goal.heads)
        terms = []
        for ours, theirs, project in zip(
            outputs[first:], (soft or [])[first:], self._projections, strict=True
        ):
            mapped = tf.cast(project(ours) if project else ours, tf.float32)
            theirs = tf.cast(theirs, tf.float32)
            error = tf.reduce_mean(tf.square(mapped - theirs))
            terms.append(error / (tf.math.reduce_variance(theirs) + 1e-6))
        return self._goal.feature_weight * tf.add_n(terms) / len(terms) if terms else 0.0

    def _score(self, stored: Any, labels: Any, soft: Any) -> tuple[Any, Any]:
        inputs = self._read(stored, None)
        outputs = flat(self._model(inputs, training=False))
        loss = self._loss(outputs, labels, self._soft(soft, inputs))
        return loss, outputs[self._labelled or 0]

    def _evaluate(self) -> Score:
        """The loss and the metric over the held-back rows (whole batches of a fixed size)."""
        held, size = self._split.held, self._fixed or max(self._size, 256)
        if self._fixed:
            held = held[: len(held) - len(held) % size]
        total, outputs = 0.0, []
        for rows in samples.batches(held, size):
            loss, output = self._score_function(*self._tensors(rows))
            total += float(loss) * len(rows)
            outputs.append(output.numpy())
        quality = None
        if self._labelled is not None and self._goal.labels is not None:
            head = self._goal.heads[self._labelled]
            quality = head.quality(np.concatenate(outputs), self._goal.labels[held])
        return Score(loss=total / len(held), quality=quality)


class _Meter:
    """Tells how far training is, twice a second, with the time that is left."""

    def __init__(self, progress: Progress, label: str, epochs: int, steps: int) -> None:
        self._progress, self._label, self._epochs, self._steps = progress, label, epochs, steps
        self._started = self._told = time.monotonic()

    def tell(self, epoch: int, step: int) -> None:
        """Step `step` (from 1) of epoch `epoch` (from 1) is done."""
        now, total = time.monotonic(), self._epochs * self._steps
        done = (epoch - 1) * self._steps + step
        if now - self._told < _TOLD_EVERY_S and done < total:
            return
        self._told = now
        left = (now - self._started) / done * (total - done)
        self._progress(
            f"{self._label}: epoch {epoch}/{self._epochs}, step {step}/{self._steps}, "
            f"{left:.0f} s left",
            done,
            total,
        )

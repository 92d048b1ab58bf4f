"""Train a network in place towards labels, a teacher, or both, and say how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgepack.compress.facts import Fact
from edgepack.compress.network import KerasNetwork, Network
from edgepack.compress.training import features as matching
from edgepack.compress.training import models, samples
from edgepack.compress.training.heads import Head, describe
from edgepack.compress.training.loop import Goal, Options, Outcome, Progress, Trainer
from edgepack.compress.training.teacher import Teacher
from edgepack.data.dataset import Array, Dataset
from edgepack.errors import EdgepackError

_PROBED = 64


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How to learn from another network.

    source: it has the same inputs, and as many outputs.
    alpha: the teacher's share where there are labels too; where there are none it is all.
    temperature: softens both outputs before they are compared.
    features: layers to match; "auto" alone chooses them; their loss counts `feature_weight`.
    """

    source: Network
    alpha: float = 0.0
    temperature: float = 1.0
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0


def check(dataset: Dataset, name: str) -> None:
    """EP206 when the data has nothing to train on; test samples are never used for it."""
    if dataset.train_samples < 2:
        raise EdgepackError(
            "EP206",
            f"'{name}' trains, and there are no training samples",
            hint="Give a dataset with x_train (--data), or a recipe without this pass.",
        )


def train(
    network: KerasNetwork,
    dataset: Dataset,
    options: Options,
    *,
    lesson: Lesson | None = None,
    keep_zeros: bool = False,
    progress: Progress,
    label: str,
) -> tuple[Outcome, tuple[str, ...]]:
    """Train `network` in place towards the labels, a teacher, or both.

    Args:
        network: a copy of the caller's (`trainable_copy`); frozen layers stay as they are.
        dataset: a tenth of its training samples is held back, to choose the best epoch.
        keep_zeros: weights of two or more dimensions that are zero stay zero.
        progress: hears (message, done, total); messages begin with `label`.

    Returns:
        (what happened, what a user should know about it)

    Raises:
        EdgepackError: EP206 without training samples, trainable weights, or labels and teacher
            for an output; EP303 for labels that do not fit; EP105 for unknown features.
    """
    check(dataset, label)
    if lesson is not None:
        _require_alike(network, lesson.source)
    if not network.model.trainable_variables:
        raise EdgepackError(
            "EP206",
            f"'{label}' has nothing to train: no weight of this network may change",
            hint="Give a recipe without this pass.",
        )
    heads, labels = _heads(network, dataset, lesson.source if lesson else network)
    if lesson is not None:
        teacher, tensors, projections, notes = _teach(network, dataset, options, lesson)
    else:
        teacher, tensors, projections, notes = None, (), (), ()
        _require_labels(heads, label)
    goal = Goal(
        heads=heads,
        labels=labels,
        teacher=teacher,
        alpha=lesson.alpha if lesson else 0.0,
        temperature=lesson.temperature if lesson else 1.0,
        feature_weight=lesson.feature_weight if lesson else 0.0,
    )
    trainer = Trainer(
        network,
        dataset,
        goal,
        options,
        features=tensors,
        projections=projections,
        keep_zeros=keep_zeros,
    )
    outcome = trainer.run(progress, label)
    return outcome, (_sentence(outcome, heads), *_warnings(outcome), *_roles(heads), *notes)


def _require_alike(network: KerasNetwork, source: Network) -> None:
    ours, theirs = ([spec.shape for spec in net.outputs] for net in (network, source))
    if not isinstance(source, KerasNetwork) or ours != theirs:
        raise EdgepackError(
            "EP206",
            "The source model cannot teach this network: it has no Keras layers, or other outputs",
            hint="Use 'finetune', which learns from labels.",
        )


def _require_labels(heads: tuple[Head, ...], label: str) -> None:
    missing = ", ".join(head.name for head in heads if not head.labels)
    if missing:
        raise EdgepackError(
            "EP206",
            f"'{label}' needs labels, and there are none for the output {missing}",
            hint="Give y_train, or use 'distill', which learns from the source model.",
        )


def _heads(
    network: KerasNetwork, dataset: Dataset, example: Network
) -> tuple[tuple[Head, ...], Array | None]:
    """A head an output; the labels go to the first output that they fit.

    `example` shows what outputs look like: the teacher, or the network itself.
    """
    size = example.inputs[0].shape[0] or _PROBED
    probe = example.predict(dataset.real("train", slice(0, size)))
    heads: list[Head] = []
    misfit: EdgepackError | None = None
    free = dataset.y_train
    outputs = zip(network.outputs, network.model.outputs, example.outputs, strict=True)
    for spec, tensor, shown in outputs:
        sample = probe[shown.name]
        try:
            head = describe(tensor, spec.name, sample, free)
        except EdgepackError as error:
            misfit, head = error, describe(tensor, spec.name, sample, None)
        if head.labels:
            free = None
        heads.append(head)
    if misfit and free is not None:
        raise misfit
    return tuple(heads), dataset.y_train


def _teach(
    network: KerasNetwork, dataset: Dataset, options: Options, lesson: Lesson
) -> tuple[Teacher | None, tuple[Any, ...], tuple[Any, ...], tuple[str, ...]]:
    """The teacher, the network's tensors to match, their projections, and notes."""
    source = lesson.source
    assert isinstance(source, KerasNetwork)
    pairs = matching.pairs(network.model, source.model, lesson.features)
    keras = models.library(network)
    projections = tuple(matching.projection(keras, ours, theirs) for _, ours, theirs in pairs)
    model = models.wire(source, [theirs for _, _, theirs in pairs])
    teacher = Teacher(model, dataset, samples.reader(dataset, source.inputs, options.augment))
    notes: tuple[str, ...] = ()
    if lesson.features:
        names = ", ".join(name for name, _, _ in pairs)
        found = Fact(f"matched tensors: {names}")
        notes = (found if pairs else "no tensors of both networks match",)
    return teacher, tuple(ours for _, ours, _ in pairs), projections, notes


def _sentence(outcome: Outcome, heads: tuple[Head, ...]) -> str:
    """Quality before and after, in one sentence."""
    metric = next((head.metric for head in heads if head.metric), None)
    before, after, name = outcome.before.quality, outcome.after.quality, metric
    if before is None or after is None:
        before, after, name = outcome.before.loss, outcome.after.loss, "loss"
    return Fact(
        f"{name} on {outcome.held} held-back training samples: {before:.4f} before, "
        f"{after:.4f} after (epoch {outcome.best_epoch} of {outcome.epochs})"
    )


def _roles(heads: tuple[Head, ...]) -> tuple[str, ...]:
    """Where there are several outputs and labels: whose these were."""
    labelled = [head.name for head in heads if head.labels]
    if len(heads) == 1 or not labelled:
        return ()
    return (Fact(f"the labels are the output {labelled[0]}'s; others follow the source model"),)


def _warnings(outcome: Outcome) -> tuple[str, ...]:
    """What went wrong, in plain words."""
    notes = []
    if not outcome.finite:
        notes.append(
            "weights stopped being numbers, so the training ended; try a lower learning_rate"
        )
    if outcome.best_epoch == 0:
        notes.append("no epoch improved the held-back loss: the weights are as they came")
    return tuple(notes)

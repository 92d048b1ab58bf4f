"""`distill`: the network learns again what the source model says, and the labels too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgepack.compress.passes.base import Context, Pass, State, Token


@dataclass(frozen=True, kw_only=True)
class DistillParams:
    """How to distil.

    alpha: the teacher's share of the loss, the labels have the rest; all of it without
        labels. temperature: softens classes (Hinton, Vinyals and Dean, 2015).
    features: layers whose tensors are brought to the teacher's too, or ["auto"]; their loss
        counts `feature_weight`.
    learning_rate: Adam's highest, on a cosine. patience: epochs without progress allowed.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 2
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    batch_size: Annotated[int, Field(ge=1)] = 64
    temperature: Annotated[float, Field(ge=1, le=100)] = 4.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    features: tuple[str, ...] = ()
    feature_weight: Annotated[float, Field(ge=0)] = 1.0
    augment: Literal["none", "shift-flip"] = "none"
    patience: Annotated[int, Field(ge=1)] = 3


class Distill(Pass):
    """Knowledge distillation from the source model; needs training samples, not labels.

    Layers that the model came with frozen are trained too: they may have been cut.
    """

    name = "distill"
    summary = "learn from the source model's outputs on the training data"
    tokens = (Token(word="distill", number="epochs"),)
    Params: ClassVar[type[DistillParams]] = DistillParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        from edgepack.compress import training
        from edgepack.compress.training import transfer

        p: DistillParams = self.params
        training.check(context.dataset, self.name)
        student = training.trainable_copy(state.network, self.name, context.seed)
        lesson = training.Lesson(
            source=context.source,
            alpha=p.alpha,
            temperature=p.temperature,
            features=p.features,
            feature_weight=p.feature_weight,
        )
        with transfer.thawed(student.model):
            outcome, notes = training.train(
                student,
                context.dataset,
                training.Options(
                    epochs=p.epochs,
                    learning_rate=p.learning_rate,
                    batch_size=p.batch_size,
                    augment=p.augment,
                    patience=p.patience,
                    seed=context.seed,
                ),
                lesson=lesson,
                keep_zeros=state.sparse,
                progress=context.progress,
                label=self.name,
            )
        after, undone = state.retrained(student, outcome.after.quality)
        return after, (*notes, *undone)

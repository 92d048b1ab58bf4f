"""`finetune`: train on with the labels; also transfer learning, with a new head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from edgepack.compress.network import KerasNetwork
from edgepack.compress.passes.base import Context, Pass, State, Token


@dataclass(frozen=True, kw_only=True)
class NewHead:
    """A new last layer for `classes` classes, trained alone for `epochs` at first."""

    classes: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1


@dataclass(frozen=True, kw_only=True)
class FinetuneParams:
    """How to train on.

    learning_rate: Adam's highest, on a cosine. freeze, unfreeze: patterns of layer names,
        like "conv*"; unfreeze has the last word. head: for transfer learning.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 2
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    batch_size: Annotated[int, Field(ge=1)] = 64
    freeze: tuple[str, ...] = ()
    unfreeze: tuple[str, ...] = ()
    head: NewHead | None = None
    augment: Literal["none", "shift-flip"] = "none"
    patience: Annotated[int, Field(ge=1)] = 3


class Finetune(Pass):
    """Training on labels; outputs without labels are held to what the source model says."""

    name = "finetune"
    summary = "train on with the labels; with a new head for transfer learning"
    tokens = (Token(word="finetune", number="epochs"),)
    Params: ClassVar[type[FinetuneParams]] = FinetuneParams

    @property
    def replaces_outputs(self) -> bool:
        """See `Pass.replaces_outputs`."""
        return self.params.head is not None

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        from edgepack.compress import training
        from edgepack.compress.training import transfer

        p: FinetuneParams = self.params
        training.check(context.dataset, self.name)
        network = training.trainable_copy(state.network, self.name, context.seed)
        notes: tuple[str, ...] = ()
        if p.head is not None:
            network, head = transfer.replace_head(network, p.head.classes)
            with transfer.only(network.model, head):
                _, notes = self._train(network, state, context, p.head.epochs, "finetune, head")
        with transfer.frozen(network.model, p.freeze, p.unfreeze):
            quality, more = self._train(network, state, context, p.epochs, self.name)
        after, undone = state.retrained(network, quality)
        return after, (*notes, *more, *undone)

    def _train(
        self, network: KerasNetwork, state: State, context: Context, epochs: int, label: str
    ) -> tuple[Any, tuple[str, ...]]:
        from edgepack.compress import training

        p: FinetuneParams = self.params
        options = training.Options(
            epochs=epochs,
            learning_rate=p.learning_rate,
            batch_size=p.batch_size,
            augment=p.augment,
            patience=p.patience,
            seed=context.seed,
        )
        several = len(network.outputs) > 1 and context.dataset.y_train is not None
        outcome, notes = training.train(
            network,
            context.dataset,
            options,
            lesson=training.Lesson(source=context.source) if several else None,
            keep_zeros=state.sparse,
            progress=context.progress,
            label=label,
        )
        return outcome.after.quality, notes

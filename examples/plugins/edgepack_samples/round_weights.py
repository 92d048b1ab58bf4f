"""`roundNN`: keeps NN significant bits of every weight, so that the file compresses better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.compress.training.models import trainable_copy


@dataclass(frozen=True, kw_only=True)
class RoundParams:
    """bits: significant bits kept of each weight, the leading one included."""

    bits: Annotated[int, Field(ge=2, le=24)] = 8


class RoundWeights(Pass):
    """Rounds in the weights' own binary exponent: the relative error is at most 2**-bits."""

    name = "round.weights"
    summary = "weights rounded to a few significant bits"
    tokens = (Token("round", number="bits"),)
    Params: ClassVar[type[RoundParams]] = RoundParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        network = trainable_copy(state.network, self.name, context.seed)
        weights = network.model.get_weights()
        network.model.set_weights([rounded(each, self.params.bits) for each in weights])
        return replace(state, network=network), ()


def rounded(weights: np.ndarray, bits: int) -> np.ndarray:
    """`weights` with `bits` significant bits each, rounded to nearest, ties to even."""
    fraction, exponent = np.frexp(weights)
    return np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits).astype(weights.dtype)

"""What scores of channels and statistics of layers are taken over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.data.dataset import Array


@dataclass(frozen=True)
class Samples:
    """Data for importance and statistics: inputs by name (first axis: samples), and labels.

    labels: of one of the outputs: class numbers, one-hot, 0 or 1, or real values; None where
    there are none, then the Taylor score uses half the squared outputs as its loss.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    batch: int = 64

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.inputs.values())))

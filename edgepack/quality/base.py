"""What a metric is given, and the kind that works sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgepack.errors import EdgepackError

Array = npt.NDArray[Any]
Value = float | Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """The evaluation samples that outputs belong to, in the same order.

    inputs: by input name, as stored; labels: `y`, None without; task: as of the dataset.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    task: str

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return min(len(array) for array in self.inputs.values())

    def take(self, chosen: Any) -> EvaluationSet:
        """The samples at these places."""
        return replace(
            self,
            inputs={name: array[chosen] for name, array in self.inputs.items()},
            labels=None if self.labels is None else self.labels[chosen],
        )


class Metric(Protocol):
    """See the package's own text."""

    def __call__(
        self, outputs: Mapping[str, Array], labels: Array | None, dataset: EvaluationSet, /
    ) -> Value:  # pyright: ignore[reportReturnType]
        """The value for these samples."""


@dataclass(frozen=True, kw_only=True)
class PerSample:
    """A metric in two steps: `parts`, one of each sample, and the `total` of any of them."""

    parts: Callable[[Mapping[str, Array], Array | None], Sequence[Any]]
    total: Callable[[Sequence[Any]], Value]

    def __call__(
        self, outputs: Mapping[str, Array], labels: Array | None, dataset: EvaluationSet, /
    ) -> Value:
        """The value for these samples."""
        return self.total(self.parts(outputs, labels))


def labels_of(labels: Array | None, metric: str) -> Array:
    """The labels; EP303 without."""
    if labels is None:
        raise misfit(metric, "the evaluation data have no labels")
    return np.asarray(labels)


def misfit(metric: str, what: str) -> EdgepackError:
    """EP303: outputs or labels that a metric cannot be made of."""
    return EdgepackError(
        "EP303", f"{metric}: {what}", hint="See docs/quality.md for what the metric takes."
    )

"""Several samples an inference, where the model can be resized for it."""

from typing import Any, Dict, List

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.inputs import Samples
from edgepack_agent.runtimes.base import Runtime, Shape


class Batched:
    """Samples by the batch: batch `i` holds the samples from `i` on, round and round."""

    def __init__(self, samples: Samples, batch: int) -> None:
        self._samples = samples
        self._batch = batch
        self.count = samples.count

    def shapes(self) -> Dict[str, Shape]:
        """The shape of a batch by input. AgentError EP504 where an input has no batch axis."""
        shapes = self._samples.shapes()
        if any(not shape or shape[0] != 1 for shape in shapes.values()):
            raise _unsupported("an input of the model has no batch axis")
        return {name: (self._batch, *shape[1:]) for name, shape in shapes.items()}

    def get(self, index: int) -> List[np.ndarray]:
        """Batch `index`, one array an input."""
        chosen = [self._samples.get((index + i) % self.count) for i in range(self._batch)]
        return [np.concatenate(column) for column in zip(*chosen)]

    def digest(self, order: List[int]) -> str:
        """Of the single samples, as without batches."""
        return self._samples.digest(order)


def fix_shapes(runtime: Runtime, shapes: Dict[str, Shape], batch: int) -> None:
    """`runtime.fix_shapes`; AgentError EP504 when the model cannot take the batch."""
    try:
        runtime.fix_shapes(shapes, resized=batch > 1)
    except AgentError as error:
        if batch > 1:
            raise _unsupported(error.what) from None
        raise


def check_outputs(runtime: Any, batch: int) -> None:
    """After an inference: AgentError EP504 unless every output holds the whole batch."""
    if batch == 1:
        return
    for tensor, value in zip(runtime.outputs, runtime.read_outputs()):
        if not value.ndim or value.shape[0] % batch:
            raise _unsupported(
                "output '%s' has the shape %s for a batch of %d"
                % (tensor.name, list(value.shape), batch)
            )


def _unsupported(why: str) -> AgentError:
    return AgentError(
        "EP504",
        "the model cannot run in batches: %s" % why,
        "Measure it without --batch, or build it with a free batch axis.",
        status="unsupported",
    )

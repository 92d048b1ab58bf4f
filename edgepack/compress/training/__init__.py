"""Short trainings that bring quality back after compression: the core of the passes
`finetune` and `distill`.

The same seed gives the same weights on the same machine with the same number of threads and
TensorFlow build; on another one sums are taken in another order and weights differ.
"""

from edgepack.compress.training.api import Lesson, check, train
from edgepack.compress.training.loop import Options, Outcome
from edgepack.compress.training.models import trainable_copy

__all__ = ["Lesson", "Options", "Outcome", "check", "train", "trainable_copy"]

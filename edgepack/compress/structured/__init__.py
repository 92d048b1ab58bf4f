"""Structured pruning: take whole channels out of a Keras 3 model, so that it really shrinks.

Read in this order:

1. `atoms`: channels as integers, coupled by a union-find.
2. `ledger` and `rules/`: what each kind of layer does to channels.
3. `anatomy`: the units that can be cut, in groups, and what is kept whole and why.
4. `importance` (`objective`: its loss) and `selection`: which units go; `costs`: what that saves.
5. `surgery`: the smaller model; `repair`: its biases and batch normalizations.
6. `layout`: groups, scores and kernels, for a search of widths.
7. `api`: `prune`, or `plan_cut` and `apply_cut`; `report`: what was done.

TensorFlow is imported by the functions that need it, not by the modules.
"""

from edgepack.compress.structured.api import Cut, Target, apply_cut, plan_cut, prune
from edgepack.compress.structured.importance import KINDS
from edgepack.compress.structured.layout import Axis, Kernel, Layout, layout
from edgepack.compress.structured.report import GroupReport, KeptReport, StructuredReport
from edgepack.compress.structured.samples import Samples
from edgepack.compress.structured.selection import Limits

__all__ = [
    "KINDS",
    "Axis",
    "Cut",
    "GroupReport",
    "KeptReport",
    "Kernel",
    "Layout",
    "Limits",
    "Samples",
    "StructuredReport",
    "Target",
    "apply_cut",
    "layout",
    "plan_cut",
    "prune",
]

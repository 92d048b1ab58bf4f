"""A new model without the removed units: same wiring, smaller layers, sliced weights."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from edgepack.compress.graph import clone, rebuild
from edgepack.compress.structured.anatomy import Anatomy, Mask
from edgepack.compress.structured.ledger import Size, Slot


def remove(anatomy: Anatomy, mask: Mask) -> Any:
    """Rebuild the anatomy's model without the units in `mask`.

    Layers keep their names, shared layers stay shared, every weight that stays is copied bit
    for bit. The original is left as it is. The result is not compiled.
    """
    sizes: dict[int, list[Size]] = defaultdict(list)
    for size in anatomy.sizes:
        sizes[id(size.op)].append(size)
    pairs: list[tuple[Any, Any]] = []

    def make(op: Any, name: str) -> Any:
        twin = clone(op, name, _config_edits(anatomy, mask, op, sizes[id(op)]))
        if getattr(op, "weights", None):
            pairs.append((op, twin))
        return twin

    model = rebuild(anatomy.graph, make)
    slots: dict[int, list[Slot]] = defaultdict(list)
    for slot in anatomy.slots:
        slots[id(slot.op)].append(slot)
    for op, twin in pairs:
        twin.set_weights(sliced(anatomy, mask, op, slots[id(op)]))
    return model


def sliced(anatomy: Anatomy, mask: Mask, op: Any, slots: list[Slot]) -> list[Any]:
    """A layer's weights without the removed positions."""
    weights: list[Any] = op.get_weights()
    for slot in slots:
        stay = np.flatnonzero(~anatomy.removed(slot.atoms, mask))
        weights[slot.weight] = np.take(weights[slot.weight], stay, axis=slot.axis)
    return weights


def _config_edits(anatomy: Anatomy, mask: Mask, op: Any, sizes: list[Size]) -> dict[str, Any]:
    edits: dict[str, Any] = {}
    for size in sizes:
        left = int(np.count_nonzero(~anatomy.removed(size.atoms, mask)))
        if size.index is None:
            edits[size.key] = left
        else:
            entry = list(edits.get(size.key, op.get_config()[size.key]))
            entry[size.index] = left
            edits[size.key] = tuple(entry)
    return edits

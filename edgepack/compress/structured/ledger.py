"""The ledger: what the rules write down about a model while they walk through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from edgepack.compress.graph import Shape
from edgepack.compress.structured.atoms import Atoms, Ids, Reason


class Role(StrEnum):
    """What the positions of a weight's axis are: channels it makes, reads, or rescales."""

    OUT = "out"
    IN = "in"
    SCALE = "scale"
    OTHER = "other"


@dataclass(frozen=True)
class Channels:
    """A tensor's channel axis, and the atom at each of its positions.

    axis: counted with the batch axis as 0; None for a tensor without an axis of known size
    to call channels (then `atoms` is empty).
    """

    shape: Shape
    axis: int | None
    atoms: Ids


@dataclass(frozen=True)
class Slot:
    """One axis of one weight of a layer, position by position an atom.

    weight: index in `op.weights`; op_name: unique name in the graph.
    """

    op: Any
    op_name: str
    weight: int
    axis: int
    role: Role
    atoms: Ids


@dataclass(frozen=True)
class Size:
    """A number in a layer's configuration that counts channels.

    key: entry of the configuration; index: position in it where it is a tuple, else None.
    """

    op: Any
    key: str
    index: int | None
    atoms: Ids


@dataclass(frozen=True)
class Site:
    """One call as a rule sees it. `name` is the layer's unique name in the graph."""

    op: Any
    kind: str
    name: str
    inputs: tuple[Channels, ...]
    outputs: tuple[Shape, ...]
    arguments: Any

    @property
    def output(self) -> Shape:
        """The shape of the first output."""
        return self.outputs[0]


@dataclass
class Ledger:
    """Atoms, and where each shows up: in weights (`slots`) and configurations (`sizes`)."""

    atoms: Atoms = field(default_factory=Atoms)
    slots: dict[tuple[int, int, int], Slot] = field(default_factory=dict)
    sizes: dict[tuple[int, str, int | None], Size] = field(default_factory=dict)
    made: dict[int, tuple[str, Ids]] = field(default_factory=dict)

    def make(self, site: Site, count: int) -> Ids:
        """The atoms of the channels that a layer makes: the same ones in each of its calls."""
        if id(site.op) not in self.made:
            self.made[id(site.op)] = (site.name, self.atoms.fresh(count))
        return self.made[id(site.op)][1]

    def bind(self, site: Site, weight: Any, axis: int, atoms: Ids, role: Role) -> None:
        """Say that `axis` of `weight` runs over these atoms; a shared layer couples them."""
        if weight is None:
            return
        axis %= len(weight.shape)
        index = next(i for i, w in enumerate(site.op.weights) if w is weight)
        slot = Slot(site.op, site.name, index, axis, role, atoms)
        known = self.slots.setdefault((id(site.op), index, axis), slot)
        if known is not slot:
            self.atoms.join(known.atoms, atoms)

    def size(self, site: Site, key: str, atoms: Ids, index: int | None = None) -> None:
        """Say that a number in the layer's configuration counts these atoms."""
        new = Size(site.op, key, index, atoms)
        known = self.sizes.setdefault((id(site.op), key, index), new)
        if known is not new:
            self.atoms.join(known.atoms, atoms)

    def pin(self, site: Site, atoms: Ids, text: str) -> None:
        """Keep these atoms whole because of this call."""
        self.atoms.pin(atoms, Reason(site.name, text))

    def whole(self, site: Site, shape: Shape, text: str, axis: int = -1) -> Channels:
        """A tensor of which nothing may be removed."""
        size = shape[axis] if len(shape) > 1 else None
        if size is None:
            return Channels(shape, None, np.empty(0, dtype=np.int64))
        atoms = self.atoms.fresh(size)
        self.pin(site, atoms, text)
        return Channels(shape, axis % len(shape), atoms)

    def along(self, site: Site, tensor: Channels, axis: int) -> Ids | None:
        """The atoms along `axis` of a tensor; pinned ones where its channels lie elsewhere.

        None where the axis has no fixed size.
        """
        axis %= len(tensor.shape)
        if tensor.axis == axis:
            return tensor.atoms
        if not self.atoms.pinned(tensor.atoms).all():
            text = f"its input has its channels on axis {tensor.axis}, not on axis {axis}"
            self.pin(site, tensor.atoms, text)
        size = tensor.shape[axis]
        return None if size is None else self._pinned_like(size, tensor.atoms)

    def inherit(self, shape: Shape, sources: Sequence[Channels], axis: int = -1) -> Channels:
        """A tensor of which nothing may be removed, for the reasons that its sources have."""
        size = shape[axis] if len(shape) > 1 else None
        if size is None:
            return Channels(shape, None, np.empty(0, dtype=np.int64))
        every = np.concatenate([tensor.atoms for tensor in sources])
        return Channels(shape, axis % len(shape), self._pinned_like(size, every))

    def _pinned_like(self, size: int, atoms: Ids) -> Ids:
        new = self.atoms.fresh(size)
        for reason in self.atoms.reasons(atoms) or [Reason("", "its channels are not known")]:
            self.atoms.pin(new, reason)
        return new

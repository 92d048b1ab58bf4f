"""Atoms: the identities of channels, and which of them stand or fall together.

Every channel that a layer makes is an atom, an integer. A tensor's channel axis is an array
of atoms, one for each position. Layers rearrange such arrays (a concatenation joins them, a
flatten repeats them, a depthwise layer with a multiplier repeats them too), and where two
channels meet, as in a residual addition, their atoms are joined in one class of a
union-find. A class is removed whole or not at all. A pinned class is never removed, and
remembers why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Reason:
    """Why channels are kept whole: the layer it is due to, and what about it."""

    layer: str
    text: str


@dataclass
class Atoms:
    """A union-find over atoms in which a class carries the reasons it is pinned for."""

    _parent: list[int] = field(default_factory=list)
    _reasons: dict[int, set[Reason]] = field(default_factory=dict)

    def fresh(self, count: int) -> Ids:
        """`count` new atoms, each in a class of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def join(self, left: Ids, right: Ids) -> None:
        """Couple two equally long arrays of atoms, position by position."""
        if left.shape != right.shape:
            raise ValueError(f"cannot couple {left.shape} with {right.shape} channels")
        for a, b in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True):
            self._join(a, b)

    def pin(self, atoms: Ids, reason: Reason) -> None:
        """Never remove these atoms, nor any that is or will be coupled to them."""
        for root in {self._find(a) for a in np.unique(atoms).tolist()}:
            self._reasons.setdefault(root, set()).add(reason)

    def roots(self) -> Ids:
        """For each atom, the representative of its class."""
        return np.array([self._find(a) for a in range(len(self._parent))], dtype=np.int64)

    def pinned(self, atoms: Ids) -> npt.NDArray[np.bool_]:
        """For each position, whether it is pinned."""
        return np.array([self._find(a) in self._reasons for a in atoms.tolist()], dtype=bool)

    def reasons(self, atoms: Ids) -> list[Reason]:
        """Every reason for which any of these atoms is pinned, sorted."""
        roots = {self._find(a) for a in np.unique(atoms).tolist()}
        return sorted(set().union(*(self._reasons.get(root, set()) for root in roots)))

    def _find(self, atom: int) -> int:
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = self._parent[atom]
        return atom

    def _join(self, a: int, b: int) -> None:
        low, high = sorted((self._find(a), self._find(b)))
        if low == high:
            return
        self._parent[high] = low
        if high in self._reasons:
            self._reasons.setdefault(low, set()).update(self._reasons.pop(high))

"""Which units go: from scores and a share to a mask, within the limits of each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgepack.compress.structured.anatomy import Anatomy, Group, Mask
from edgepack.compress.structured.importance import Scores, normalise
from edgepack.errors import EdgepackError, did_you_mean

_SEARCH_STEPS = 24


@dataclass(frozen=True)
class Limits:
    """What a cut must respect in every group.

    scope: "global" ranks all units together; "layer" takes the same share of each group.
    multiple: what is left of a group is all of it or a multiple of this. Kernels work on
        blocks of 8 or 16 channels: 33 cost as much as 40.
    floor: the least share of a group that stays.
    """

    scope: str = "global"
    multiple: int = 8
    floor: float = 0.125

    def __post_init__(self) -> None:
        if self.scope not in ("global", "layer"):
            _refuse(f"scope is '{self.scope}'", "Choose 'global' or 'layer'.")
        if self.multiple < 1:
            _refuse(f"multiple is {self.multiple}", "Give 1 or more.")
        if not 0 < self.floor <= 1:
            _refuse(f"floor is {self.floor}", "Give a share above 0 and at most 1.")

    def allowed(self, size: int) -> list[int]:
        """How many units of a group of `size` may stay, ascending; `size` always may."""
        least = max(1, int(np.ceil(size * self.floor)))
        steps = [n for n in range(self.multiple, size, self.multiple) if n >= least]
        return [*steps, size]


def choose(
    anatomy: Anatomy,
    scores: Scores,
    limits: Limits,
    reduction: Callable[[Mask], float],
    target: float,
) -> Mask:
    """The mildest cut, found by bisection on the share of units, that reaches the target.

    Args:
        anatomy: what can be cut.
        scores: one a unit, from `importance.score`.
        limits: what each group must keep.
        reduction: how much a mask takes away, growing with the mask.
        target: the least reduction wanted. Where even the largest allowed cut takes less
            away, that cut is the result; the caller compares.
    """
    low, high = 0.0, 1.0
    ranked = normalise(scores, anatomy.groups)
    best = cut(anatomy, ranked, limits, high)
    if reduction(best) < target:
        return best
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        candidate = cut(anatomy, ranked, limits, middle)
        if reduction(candidate) >= target:
            best, high = candidate, middle
        else:
            low = middle
    return best


def cut(anatomy: Anatomy, ranked: Scores, limits: Limits, share: float) -> Mask:
    """The mask that removes about `share` of the units, the lowest ranked first."""
    mask = anatomy.nothing()
    if anatomy.units == 0:
        return mask
    wanted = np.zeros(anatomy.units, dtype=bool)
    wanted[np.argsort(ranked, kind="stable")[: round(share * anatomy.units)]] = True
    for group in anatomy.groups:
        size = group.units.size
        go = wanted[group.units].sum() if limits.scope == "global" else share * size
        stay = min(limits.allowed(size), key=lambda n: (abs(n - (size - go)), n))
        mask[_lowest(group, ranked, size - stay)] = True
    return mask


def keep(anatomy: Anatomy, scores: Scores, widths: Mapping[str, int]) -> Mask:
    """The mask that leaves so many units of the groups named, the lowest scored of each go.

    Raises:
        EdgepackError: EP206 for a group that the model does not have, or a count that the
            group cannot have.
    """
    groups = {group.name: group for group in anatomy.groups}
    mask = anatomy.nothing()
    for name, count in widths.items():
        group = groups.get(name)
        if group is None:
            raise EdgepackError(
                "EP206",
                f"the model has no group of channels named '{name}'",
                hint=did_you_mean(name, list(groups)),
            )
        size = group.units.size
        if not 1 <= count <= size:
            raise EdgepackError(
                "EP206",
                f"{count} channels of '{name}' cannot stay: it has {size}",
                hint=f"Give 1 to {size}.",
            )
        mask[_lowest(group, scores, size - count)] = True
    return mask


def _lowest(group: Group, ranked: Scores, count: int) -> np.ndarray:
    return group.units[np.argsort(ranked[group.units], kind="stable")[:count]]


def _refuse(what: str, hint: str) -> None:
    raise EdgepackError("EP105", what, hint=hint)

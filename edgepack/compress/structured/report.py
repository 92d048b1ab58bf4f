"""What a cut did, group by group, and what it left whole and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepack.compress.structured.anatomy import Anatomy, Group, Mask
from edgepack.compress.structured.costs import Costs


@dataclass(frozen=True)
class GroupReport:
    """How many channels of a group there were and are.

    layers: every layer whose weights a cut of this group changes.
    """

    name: str
    layers: tuple[str, ...]
    before: int
    after: int


@dataclass(frozen=True)
class KeptReport:
    """Channels of a layer that no cut touches, `count` of `total`, and the reasons."""

    layer: str
    count: int
    total: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        share = "all" if self.count == self.total else str(self.count)
        return f"{self.layer}: {share} of {self.total} kept whole ({'; '.join(self.reasons)})"


@dataclass(frozen=True)
class StructuredReport:
    """Sizes before and after. `notes` says in plain words what did not go as asked."""

    groups: tuple[GroupReport, ...] = ()
    kept: tuple[KeptReport, ...] = ()
    params_before: int = 0
    params_after: int = 0
    macs_before: int = 0
    macs_after: int = 0
    notes: tuple[str, ...] = ()

    @property
    def channels_before(self) -> int:
        """Channels that a cut could have taken."""
        return sum(group.before for group in self.groups)

    @property
    def channels_after(self) -> int:
        """How many of them are left."""
        return sum(group.after for group in self.groups)


def describe(before: Anatomy, after: Anatomy, notes: tuple[str, ...]) -> StructuredReport:
    """Compare the anatomies of a model before and after its cuts."""
    left = {_key(group): group.units.size for group in after.groups}
    return StructuredReport(
        groups=tuple(
            GroupReport(group.name, group.layers, group.units.size, left.get(_key(group), 0))
            for group in before.groups
        ),
        kept=tuple(
            KeptReport(k.layer, k.count, k.total, tuple(map(_sentence, k.reasons)))
            for k in before.kept
        ),
        params_before=Costs(before).params(before.nothing()),
        params_after=Costs(after).params(after.nothing()),
        macs_before=Costs(before).macs(before.nothing()),
        macs_after=Costs(after).macs(after.nothing()),
        notes=notes,
    )


def removed_share(anatomy: Anatomy, mask: Mask) -> float:
    """Share of the units that a mask removes."""
    return float(np.count_nonzero(mask)) / max(1, anatomy.units)


def _key(group: Group) -> tuple[str, ...]:
    return group.makers


def _sentence(reason: object) -> str:
    layer, text = getattr(reason, "layer", ""), getattr(reason, "text", "")
    return f"{layer}: {text}" if layer else text

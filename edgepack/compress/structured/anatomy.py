"""From a graph to what can be cut: units (channels that go together) and groups of units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepack.compress.graph import Graph, Shape
from edgepack.compress.structured.atoms import Atoms, Ids, Reason
from edgepack.compress.structured.ledger import Channels, Ledger, Site, Size, Slot
from edgepack.compress.structured.rules import apply_rule, kind_of

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """Units that the same layers make, and so change the same layers' sizes.

    name: the first of those layers, with "#2", "#3" … where a layer has several groups.
    makers: the layers whose filters or units these are; layers: all whose weights change.
    units: numbers of the units, in the order of the channels.
    """

    name: str
    makers: tuple[str, ...]
    layers: tuple[str, ...]
    units: Ids


@dataclass(frozen=True)
class Kept:
    """Channels of a layer that stay whole, `count` of `total`, and what that is due to."""

    layer: str
    count: int
    total: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Anatomy:
    """What can be cut in a graph, and where each cut shows.

    units: how many units there are. A mask over units has one more entry, always False:
    `unit_of` maps an atom that must stay to -1, which as an index means that last entry.
    """

    graph: Graph
    units: int
    unit_of: Ids
    groups: tuple[Group, ...]
    kept: tuple[Kept, ...]
    slots: tuple[Slot, ...]
    sizes: tuple[Size, ...]

    def nothing(self) -> Mask:
        """The mask that removes no unit."""
        return np.zeros(self.units + 1, dtype=bool)

    def removed(self, atoms: Ids, mask: Mask) -> Mask:
        """For each position, whether `mask` removes it."""
        gone: Mask = mask[self.unit_of[atoms]]
        return gone


def analyse(graph: Graph) -> Anatomy:
    """Walk through the graph with the rules and sort the channels into groups."""
    ledger = Ledger()
    _walk(graph, ledger)
    roots = ledger.atoms.roots()
    unit_of, count = _number_units(ledger.atoms, roots)
    slots = tuple(ledger.slots.values())
    return Anatomy(
        graph=graph,
        units=count,
        unit_of=unit_of,
        groups=tuple(_groups(ledger, unit_of, slots)),
        kept=tuple(_kept(ledger, unit_of)),
        slots=slots,
        sizes=tuple(ledger.sizes.values()),
    )


def _walk(graph: Graph, ledger: Ledger) -> None:
    values: dict[int, Channels] = {}
    for number in graph.inputs:
        reason = Reason("", "it is an input of the model")
        values[number] = _whole(ledger.atoms, graph.shapes[number], reason)
    for call in graph.calls:
        site = Site(
            op=call.op,
            kind=kind_of(call.op),
            name=graph.name(call.op),
            inputs=tuple(values[n] for n in call.inputs),
            outputs=tuple(graph.shapes[n] for n in call.outputs),
            arguments=call.arguments,
        )
        values.update(zip(call.outputs, apply_rule(site, ledger), strict=True))
    for number in graph.outputs:
        ledger.atoms.pin(values[number].atoms, Reason("", "it is an output of the model"))


def _whole(atoms: Atoms, shape: Shape, reason: Reason) -> Channels:
    size = shape[-1] if len(shape) > 1 else None
    if size is None:
        return Channels(shape, None, np.empty(0, dtype=np.int64))
    fresh = atoms.fresh(size)
    atoms.pin(fresh, reason)
    return Channels(shape, len(shape) - 1, fresh)


def _number_units(atoms: Atoms, roots: Ids) -> tuple[Ids, int]:
    """Number the classes that may be removed from 0 in the order of their first atom."""
    numbers: dict[int, int] = {}
    free = ~atoms.pinned(np.unique(roots))
    for root in np.unique(roots)[free].tolist():
        numbers[root] = len(numbers)
    unit_of = np.array([numbers.get(root, -1) for root in roots.tolist()], dtype=np.int64)
    return unit_of, len(numbers)


def _groups(ledger: Ledger, unit_of: Ids, slots: tuple[Slot, ...]) -> Iterator[Group]:
    makers: dict[int, dict[str, None]] = defaultdict(dict)
    for name, atoms in ledger.made.values():
        for unit in np.unique(unit_of[atoms]).tolist():
            makers[unit][name] = None
    users: dict[int, dict[str, None]] = defaultdict(dict)
    for slot in slots:
        for unit in np.unique(unit_of[slot.atoms]).tolist():
            users[unit][slot.op_name] = None
    members: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for unit in sorted(set(makers) - {-1}):
        members[tuple(makers[unit])].append(unit)
    seen: dict[str, int] = defaultdict(int)
    for names, units in members.items():
        seen[names[0]] += 1
        suffix = f"#{seen[names[0]]}" if seen[names[0]] > 1 else ""
        layers = {layer: None for unit in units for layer in users[unit]}
        yield Group(names[0] + suffix, names, tuple(layers), np.array(units, dtype=np.int64))


def _kept(ledger: Ledger, unit_of: Ids) -> Iterator[Kept]:
    for name, atoms in ledger.made.values():
        stay = unit_of[atoms] < 0
        if stay.any():
            reasons = tuple(ledger.atoms.reasons(atoms[stay]))
            yield Kept(name, int(stay.sum()), int(atoms.size), reasons)

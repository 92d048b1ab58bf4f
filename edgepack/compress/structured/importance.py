"""How much each unit matters: one score a unit, comparable within its group.

A unit's score gathers the weights that go with it: the kernels that make its channels
(Role.OUT), those that read them (Role.IN), and the normalizations' gammas that rescale them
(Role.SCALE), without which a kernel before a normalization has no scale of its own.

- l1, l2: sum of magnitudes, root of the sum of squares (Li et al., "Pruning Filters for
  Efficient ConvNets", 2017; gathered over a group as in DepGraph, Fang et al., 2023), each
  kernel's divided by their mean, so that a layer counts alike whatever its scale.
- bn: magnitude of the batch normalizations' gamma (Liu et al., "Network Slimming", 2017).
- taylor: |sum of weight * gradient| over the kernels that read a channel: the first-order
  change of the loss when the channel is no longer read, averaged over batches of data
  (Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019). The kernels
  that make it say nothing: before a batch normalization their sum is zero.
- random: a seeded control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepack.compress.structured.anatomy import Anatomy, Group
from edgepack.compress.structured.ledger import Role, Slot
from edgepack.compress.structured.objective import objective, run
from edgepack.compress.structured.samples import Samples
from edgepack.errors import EdgepackError, did_you_mean

Scores = npt.NDArray[np.float64]
# Gradients of many samples cancel before their magnitude is taken: on a residual net, 16 a
# batch chose better channels than 128.
_TAYLOR_BATCH = 16
KINDS = ("l1", "l2", "bn", "taylor", "random")


def score(anatomy: Anatomy, kind: str, *, samples: Samples | None, seed: int) -> Scores:
    """One score a unit, larger for what matters more.

    Raises:
        EdgepackError: EP105 for an unknown kind, or "taylor" without samples.
    """
    if kind not in KINDS:
        raise EdgepackError(
            "EP105", f"unknown importance '{kind}'", hint=did_you_mean(kind, list(KINDS))
        )
    if kind == "random":
        return np.random.default_rng(seed).random(anatomy.units)
    if kind == "taylor":
        return _taylor(anatomy, samples)
    if kind == "bn":
        return _batch_norm(anatomy)
    power = 1 if kind == "l1" else 2
    total = np.zeros(anatomy.units)
    for slot in anatomy.slots:
        if slot.role is Role.OTHER:
            continue
        part = np.zeros(anatomy.units)
        _gather(anatomy, part, slot, np.abs(_value(slot)) ** power)
        total += _voice(part ** (1 / power))
    return total


def normalise(scores: Scores, groups: Sequence[Group]) -> Scores:
    """Scores divided by their group's mean, so that groups can be compared with each other.

    Without it a group would be judged by how many weights go with its channels.
    """
    result = scores.copy()
    for group in groups:
        mean = scores[group.units].mean()
        result[group.units] = scores[group.units] / mean if mean > 0 else 1.0
    return result


def _value(slot: Slot) -> npt.NDArray[Any]:
    return np.asarray(slot.op.weights[slot.weight], dtype=np.float64)


def _gather(anatomy: Anatomy, total: Scores, slot: Slot, values: npt.NDArray[Any]) -> None:
    """Add `values`, summed for each position of the slot, to the units at the positions."""
    others = tuple(axis for axis in range(values.ndim) if axis != slot.axis)
    units = anatomy.unit_of[slot.atoms]
    free = units >= 0
    np.add.at(total, units[free], values.sum(axis=others)[free])


def _voice(part: Scores) -> Scores:
    """One weight's scores with a mean of 1, so that each weight has an equal say."""
    touched = part > 0
    return part / part[touched].mean() if touched.any() else part


def _batch_norm(anatomy: Anatomy) -> Scores:
    """|gamma|; groups without any go by L2 alone, as `normalise` makes them comparable."""
    total = np.zeros(anatomy.units)
    for slot in anatomy.slots:
        if slot.role is Role.SCALE:
            _gather(anatomy, total, slot, np.abs(_value(slot)))
    fallback = score(anatomy, "l2", samples=None, seed=0)
    for group in anatomy.groups:
        if not total[group.units].any():
            total[group.units] = fallback[group.units]
    return total


def _taylor(anatomy: Anatomy, samples: Samples | None) -> Scores:
    if samples is None:
        raise EdgepackError(
            "EP105",
            "importance 'taylor' needs data for its gradients",
            hint="Give a dataset, or choose importance 'l2'.",
        )
    import tensorflow as tf

    model, goal = anatomy.graph.model, objective(anatomy.graph.model, samples)
    slots = [slot for slot in anatomy.slots if slot.role is Role.IN]
    variables = [slot.op.weights[slot.weight].value for slot in slots]
    total = np.zeros(anatomy.units)
    batch = min(samples.batch, _TAYLOR_BATCH)
    for start in range(0, samples.count, batch):
        rows = slice(start, start + batch)
        labels = None if samples.labels is None else samples.labels[rows]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = goal.loss(run(model, samples, rows), labels)
        gradients = tape.gradient(
            value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        change = np.zeros(anatomy.units)
        for slot, gradient in zip(slots, gradients, strict=True):
            _gather(anatomy, change, slot, _value(slot) * np.asarray(gradient))
        total += np.abs(change)
    return total

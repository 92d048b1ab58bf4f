"""Plan a cut, apply it, or do both in steps towards a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgepack.compress.graph import flatten, trace
from edgepack.compress.structured import twin
from edgepack.compress.structured.anatomy import Anatomy, Mask, analyse
from edgepack.compress.structured.costs import Costs
from edgepack.compress.structured.importance import Scores, score
from edgepack.compress.structured.objective import objective
from edgepack.compress.structured.repair import repair
from edgepack.compress.structured.report import StructuredReport, describe, removed_share
from edgepack.compress.structured.samples import Samples
from edgepack.compress.structured.selection import Limits, choose, keep
from edgepack.compress.structured.surgery import remove
from edgepack.errors import EdgepackError

MEASURES = ("ratio", "macs", "params", "latency")


@dataclass(frozen=True)
class Target:
    """What a cut is to reach.

    measure: "ratio" (channels), "macs" or "params", with `value` the share to take away
        (0 <= value < 1); or "latency", with `value` the seconds that `latency_of` may say.
    latency_of: measures a model, in seconds; only for "latency".
    """

    measure: str
    value: float
    latency_of: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise _invalid(f"unknown target '{self.measure}'", f"One of {', '.join(MEASURES)}.")
        if self.measure == "latency":
            if self.latency_of is None or self.value <= 0:
                raise _invalid(
                    "a latency target needs a way to measure and seconds above 0",
                    "Give latency_of, and the target in seconds.",
                )
        elif not 0 <= self.value < 1:
            raise _invalid(
                f"target {self.measure} is {self.value}",
                "Give the share to take away: 0 or more, below 1.",
            )


@dataclass(frozen=True)
class Cut:
    """Which channels go: by group name, their positions among the group's channels."""

    removed: Mapping[str, tuple[int, ...]]
    reached: bool = True


def plan_cut(
    model: Any,
    target: Target,
    *,
    importance: str = "l2",
    limits: Limits | None = None,
    samples: Samples | None = None,
    seed: int = 0,
) -> Cut:
    """Choose the channels to take away; the model is left as it is.

    Args:
        model: a Keras 3 Functional or Sequential model.
        target: what to reach; the mildest cut that reaches it is chosen.
        importance: see `importance.score`.
        limits: scope, multiples and floors; by default those of `Limits`.
        samples: data, which "taylor" needs.
        seed: for importance "random".

    Returns:
        The cut; `reached` is False where the limits end it before the target.

    Raises:
        EdgepackError: EP105 for invalid values, EP206 for a model that is not a graph.
    """
    anatomy = analyse(trace(model))
    limits = limits or Limits()
    scores = score(anatomy, importance, samples=samples, seed=seed)
    mask, reached = _mask(anatomy, scores, limits, target)
    removed = {
        group.name: tuple(np.flatnonzero(mask[group.units]).tolist())
        for group in anatomy.groups
        if mask[group.units].any()
    }
    return Cut(removed=removed, reached=reached)


def apply_cut(model: Any, cut: Cut) -> Any:
    """A new model without the channels of `cut`; nested models come out inlined.

    Raises:
        EdgepackError: EP206 where the cut does not fit the model, or is not a graph.
    """
    anatomy = analyse(trace(model))
    return remove(anatomy, mask_of(anatomy, cut))


def mask_of(anatomy: Anatomy, cut: Cut) -> Mask:
    """The mask over an anatomy's units that a cut stands for."""
    groups = {group.name: group for group in anatomy.groups}
    mask = anatomy.nothing()
    for name, positions in cut.removed.items():
        group = groups.get(name)
        taken = set(positions)
        if group is None or not taken <= set(range(group.units.size)):
            raise _unfit(f"the cut names channels of '{name}' that this model does not have")
        if len(taken) == group.units.size:
            raise _unfit(f"the cut would leave no channel of '{name}'")
        mask[group.units[sorted(taken)]] = True
    return mask


def prune(
    model: Any,
    *,
    ratio: float | None = None,
    macs: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    latency_of: Callable[[Any], float] | None = None,
    widths: Mapping[str, int] | None = None,
    importance: str = "l2",
    scope: str = "global",
    multiple: int = 8,
    floor: float = 0.125,
    steps: int = 1,
    between: Callable[[Any, int], Any] | None = None,
    data: Samples | None = None,
    seed: int = 0,
) -> tuple[Any, StructuredReport]:
    """Take channels out of a model until one target is reached.

    Args:
        model: a Keras 3 model, or a tf_keras one that has a Keras 3 twin.
        ratio, macs, params: the share to take away, of channels, MACs or parameters.
        latency: seconds that `latency_of` may say of the result. Exactly one target is given.
        latency_of: measures a model, in seconds.
        importance: "l1", "l2", "bn", "taylor" (needs data) or "random".
        scope: "global", or "layer" for the same share of every group.
        multiple: what stays of a group is all of it or a multiple of this.
        floor: least share of a group that stays.
        steps: how many cuts lead to the target evenly, each re-ranking what is left; in a
            latency each takes the same share.
        between: called with the model and the step's number (from 1) after every step but
            the last; what it returns goes on. A place to fine-tune.
        data: for "taylor", and to restore the statistics that later layers rely on.
        seed: for "random".

    Returns:
        (a new Keras 3 Functional model, uncompiled; what was done). A model that cannot be
        cut comes back as it is, with the reason in the report's notes.

    Raises:
        EdgepackError: EP105 for invalid values.
    """
    target = _one_target(ratio, macs, params, latency, latency_of, widths)
    limits = Limits(scope=scope, multiple=multiple, floor=floor)
    if steps < 1:
        raise _invalid(f"steps is {steps}", "Give 1 or more.")
    if widths is not None and steps > 1:
        raise _invalid("widths are reached in one step", "Leave steps at 1.")
    try:
        current = flatten(twin.to_keras3(model) if twin.is_tf_keras(model) else model)
    except EdgepackError as error:
        if error.code != "EP206":
            raise
        return model, StructuredReport(notes=(f"nothing was cut: {error.what}",))
    first = analyse(trace(current))
    start = _start(current, target, steps)
    reached = True
    for step in range(1, steps + 1):
        anatomy = analyse(trace(current))
        scores = score(anatomy, importance, samples=data, seed=seed + step)
        if target is None:
            mask = keep(anatomy, scores, widths or {})
        else:
            goal = _step_target(first, anatomy, target, step / steps, start)
            mask, reached = _mask(anatomy, scores, limits, goal)
        current = _cut_once(anatomy, mask, data)
        if between is not None and step < steps:
            current = between(current, step)
    notes = _ranking(first, importance, data)
    if target is not None and not reached:
        notes = (*notes, _missed(target))
    return current, describe(first, analyse(trace(current)), notes)


def _cut_once(anatomy: Anatomy, mask: Mask, data: Samples | None) -> Any:
    model = remove(anatomy, mask)
    if data is not None and mask.any():
        repair(anatomy, mask, model, data)
    return model


def _mask(anatomy: Anatomy, scores: Scores, limits: Limits, target: Target) -> tuple[Mask, bool]:
    """The mildest mask that reaches the target, and whether one does."""
    costs, nothing = Costs(anatomy), anatomy.nothing()
    if target.measure == "latency":
        reduction, goal = _by_latency(anatomy, target), -target.value
    elif target.measure == "ratio":
        reduction, goal = (lambda mask: removed_share(anatomy, mask)), target.value
    else:
        count = costs.macs if target.measure == "macs" else costs.params
        whole = max(1, count(nothing))
        reduction, goal = (lambda mask: 1 - count(mask) / whole), target.value
    if reduction(nothing) >= goal:
        return nothing, True
    mask = choose(anatomy, scores, limits, reduction, goal)
    return mask, reduction(mask) >= goal


def _by_latency(anatomy: Anatomy, target: Target) -> Callable[[Mask], float]:
    """Minus the measured seconds of the cut model, each cut measured once."""
    assert target.latency_of is not None
    measure, known = target.latency_of, dict[bytes, float]()

    def reduction(mask: Mask) -> float:
        key = mask.tobytes()
        if key not in known:
            known[key] = measure(remove(anatomy, mask))
        return -known[key]

    return reduction


def _start(model: Any, target: Target | None, steps: int) -> float:
    """The latency that several steps go down from; 0 where none is needed."""
    if steps == 1 or target is None or target.measure != "latency":
        return 0.0
    assert target.latency_of is not None
    return target.latency_of(model)


def _step_target(
    first: Anatomy, now: Anatomy, target: Target, progress: float, start: float
) -> Target:
    """What to take of what is left now, so that the steps go down evenly in all.

    start: the latency before the first step; each step takes the same share of a latency.
    """
    if target.measure == "latency":
        if progress == 1 or start <= target.value:
            return target
        return replace(target, value=start * (target.value / start) ** progress)
    left = 1 - target.value * progress
    before, here = _size(first, target.measure), _size(now, target.measure)
    return replace(target, value=min(max(0.0, 1 - left * before / max(1, here)), 1 - 1e-9))


def _size(anatomy: Anatomy, measure: str) -> int:
    if measure == "ratio":
        return anatomy.units
    costs = Costs(anatomy)
    return (costs.macs if measure == "macs" else costs.params)(anatomy.nothing())


def _one_target(
    ratio: float | None,
    macs: float | None,
    params: float | None,
    latency: float | None,
    latency_of: Callable[[Any], float] | None,
    widths: Mapping[str, int] | None,
) -> Target | None:
    """The target; None for widths, which are no measure to be reached but the cut itself."""
    given = {"ratio": ratio, "macs": macs, "params": params, "latency": latency}
    said = {measure: value for measure, value in given.items() if value is not None}
    if len(said) + (widths is not None) != 1:
        raise _invalid(
            f"{len(said) + (widths is not None)} targets are given for pruning",
            f"Give one of {', '.join(MEASURES)} or widths.",
        )
    if widths is not None:
        return None
    measure, value = next(iter(said.items()))
    return Target(measure, value, latency_of)


def _ranking(anatomy: Anatomy, importance: str, data: Samples | None) -> tuple[str, ...]:
    """What did not go as asked when the channels were ranked."""
    if importance != "taylor" or data is None:
        return ()
    note = objective(anatomy.graph.model, data).note
    return (note,) if note else ()


def _missed(target: Target) -> str:
    return (
        f"the target ({target.measure} {target.value:g}) was not reached: what is left is "
        "pinned, or at the floor of its group"
    )


def _invalid(what: str, hint: str) -> EdgepackError:
    return EdgepackError("EP105", what, hint=hint)


def _unfit(what: str) -> EdgepackError:
    return EdgepackError("EP206", what, hint="Plan the cut on the model it is applied to.")

"""The order in which a space without cuts is tried: every choice once, the promising ones early.

What another number of threads or another runtime changes is much the same for every scheme, so
that a few trials tell what most others would say:

0. a few schemes as the device would run them anyway;
1. the best of these in every other setting;
2. all the rest, by the latency that both together foretell: the scheme's time, times what the
   setting changed. Of a scheme not tried yet the best is expected.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edgepack.searching.space import Space
from edgepack.searching.values import Choice, Tried

LAST = 2
"""The last of the generations above."""
FIRST = 3
# Of integers, of integers but for the first operator, and of floats: where the ones are slow on a
# device the others are not. The rest are variations of these.
PROMISE = (
    "int8", "int8-first", "float", "mixed1", "dynamic", "mixed2", "int8-mse", "mixed4", "int16x8",
)  # fmt: skip


def generation(
    space: Space, number: int, tried: Sequence[Tried], key: Callable[[Tried], Any]
) -> list[Choice]:
    """Its choices, in order. tried: those of earlier generations decide; key: less is better."""
    schemes = sorted(space.schemes, key=PROMISE.index)
    settings = list(itertools.product(space.runtimes, space.threads))
    first = [_with(Choice(scheme=scheme), settings[0]) for scheme in schemes[:FIRST]]
    if number == 0:
        return first
    started = [one for one in tried if one.ok and one.bracket == 0]
    if not started:
        return []
    best = min(started, key=key).choice
    second = [_with(best, setting) for setting in settings[1:]]
    if number == 1:
        return second
    known = {one.choice: _time(one) for one in tried if one.ok and one.bracket < LAST}

    def foretold(choice: Choice) -> float:
        like_this = known.get(_with(choice, settings[0]), known[best])
        there = known.get(replace(choice, scheme=best.scheme), math.inf)
        return like_this / known[best] * there

    every = [_with(Choice(scheme=scheme), setting) for setting in settings for scheme in schemes]
    return sorted((one for one in every if one not in (*first, *second)), key=foretold)


def _with(choice: Choice, setting: tuple[str, int]) -> Choice:
    return replace(choice, runtime=setting[0], threads=setting[1])


def _time(one: Tried) -> float:
    """Geometric mean of the devices' latencies, in microseconds."""
    logs = [math.log(us) for us in one.latency_us.values()]
    return math.exp(sum(logs) / len(logs))

"""Cheap before dear: what to try next, from what has been tried. Pure, so that a resumed
search goes the way that an unbroken one goes.

1. "source": the source network in every scheme; seconds each, no training.
2. Brackets of successive halving (Jamieson and Talwalkar, 2016), until trials or time are up:
   "shot": cuts that aim at latencies spread over the window in which the answer must lie;
   "short": the best third, distilled briefly; "long": the best third of those, trained on;
   "scheme": these networks in the other fast schemes, for next to nothing.

Without channels to cut there is nothing to train: every choice is tried, in the order of `flat`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgepack.searching import flat
from edgepack.searching.space import LEAST_PERCENT, STEP_PERCENT, Space, params
from edgepack.searching.values import Choice, Tried

SOURCE, SHOT, SHORT, LONG, SCHEME = "source", "shot", "short", "long", "scheme"
SHOTS = 12
FACTOR = 3
# Schemes this much slower than the fastest are not tried again on a trained network.
_SLOWER = 1.25


@dataclass(frozen=True, kw_only=True)
class Step:
    """Trials to enqueue: their stage, its bracket, and what is fixed of each."""

    stage: str
    bracket: int
    fixed: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Course:
    """What decides the course besides the results.

    speed: whether the fastest that meets its limits is the best (a limit on quality), or the
    one of the best quality. left: trials still to be had.
    """

    space: Space
    seed: int
    speed: bool
    trials: int

    def due(self, tried: Sequence[Tried], begun: Sequence[tuple[str, int]]) -> Step | None:
        """The next generation, or None when there is nothing left to try.

        begun: (stage, bracket) of every trial in the storage; all of them are finished.
        """
        stage, bracket = begun[-1] if begun else (SOURCE, 0)
        while len(begun) < self.trials:
            step = self._missing(stage, bracket, tried, begun)
            if step is not None:
                return step
            if stage == SOURCE and self._lost(tried):
                return None
            if not self.space.cuts and bracket >= flat.LAST:
                return None
            stage, bracket = self._after(stage, bracket)
        return None

    def rest(self, tried: Sequence[Tried], begun: Sequence[tuple[str, int]]) -> Step | None:
        """What a killed process did not enqueue of its last generation."""
        return self._missing(*begun[-1], tried, begun) if begun else None

    def _missing(
        self, stage: str, bracket: int, tried: Sequence[Tried], begun: Sequence[tuple[str, int]]
    ) -> Step | None:
        wanted = self._generation(stage, bracket, tried)
        missing = wanted[begun.count((stage, bracket)) :][: max(0, self.trials - len(begun))]
        return Step(stage=stage, bracket=bracket, fixed=tuple(missing)) if missing else None

    def _lost(self, tried: Sequence[Tried]) -> bool:
        """Whether the source itself could not be measured in any scheme."""
        return not any(one.ok for one in tried)

    def _after(self, stage: str, bracket: int) -> tuple[str, int]:
        trained = [SHORT, LONG, SCHEME] if len(self.space.epochs) > 1 else []
        order = [SHOT, *trained]
        if not self.space.cuts:
            return SOURCE, bracket + 1
        if stage == SOURCE:
            return SHOT, 0
        place = order.index(stage) + 1
        return (order[place], bracket) if place < len(order) else (SHOT, bracket + 1)

    # ------------------------------------------------------------ generations

    def _generation(self, stage: str, bracket: int, tried: Sequence[Tried]) -> list[dict[str, Any]]:
        here = [one for one in tried if one.bracket == bracket and one.ok]
        if stage == SOURCE:
            return self._source(bracket, tried)
        if stage == SHOT:
            return self._shots(bracket, tried)
        if stage == SHORT:
            return self._longer([t for t in here if t.stage == SHOT], self.space.epochs[1])
        if stage == LONG:
            return self._longer([t for t in here if t.stage == SHORT], self.space.epochs[2])
        return self._schemes([t for t in here if t.stage == LONG], tried)

    def _source(self, bracket: int, tried: Sequence[Tried]) -> list[dict[str, Any]]:
        space = self.space
        every = [
            Choice(scheme=scheme, threads=threads, runtime=runtime)
            for runtime, threads, scheme in itertools.product(
                space.runtimes, space.threads, space.schemes
            )
        ]
        if not space.cuts:
            every = flat.generation(space, bracket, tried, self._key)
        return [params(choice, space) for choice in every]

    def _shots(self, bracket: int, tried: Sequence[Tried]) -> list[dict[str, Any]]:
        low, high = self.window(tried)
        count = (high - low) // STEP_PERCENT + 1
        # Further brackets lie between the places of those before.
        offset = (bracket * 0.618) % 1.0
        places = [(index + offset) / SHOTS for index in range(SHOTS)]
        percents = [low + STEP_PERCENT * min(count - 1, int(place * count)) for place in places]
        best = self._fastest_schemes(tried)[0]
        return [
            {"percent": percent, "epochs": 0, **({"scheme": best} if number % 2 == 0 else {})}
            for number, percent in enumerate(percents)
        ]

    def window(self, tried: Iterable[Tried]) -> tuple[int, int]:
        """The least and the largest `Choice.percent` that are worth a try.

        Training is a matter of luck, so a failure moves the window's end less than all the way.
        """
        low, high = LEAST_PERCENT, 100 - STEP_PERCENT
        judged = [one for one in tried if one.ok and one.choice.percent < 100]
        trained = [one for one in judged if one.stage in (LONG, SCHEME)] or judged
        met = [one.choice.percent for one in trained if one.excess == 0]
        missed = [one.choice.percent for one in trained if one.excess > 0]
        if not self.speed:
            met, missed = missed, met
        if len(self.space.epochs) > 1 and not any(one.stage in (LONG, SCHEME) for one in judged):
            return low, high
        if met:
            high = min(high, max(met) if not self.speed else min(met))
        beneath = [percent for percent in missed if percent < high]
        if beneath:
            low = max(low, max(beneath) - 2 * STEP_PERCENT)
        return low, max(low, high)

    def _longer(self, found: Sequence[Tried], epochs: int) -> list[dict[str, Any]]:
        """The best third of the networks found, trained for `epochs` in all."""
        ranked = self._ranked(_one_a_network(found, self._key))
        cut = [one for one in ranked if one.choice.percent < 100]
        chosen = cut[: math.ceil(len(cut) / FACTOR)]
        return [
            params(dataclasses.replace(one.choice, epochs=epochs), self.space) for one in chosen
        ]

    def _schemes(self, found: Sequence[Tried], tried: Sequence[Tried]) -> list[dict[str, Any]]:
        schemes = self._fastest_schemes(tried)
        return [
            params(dataclasses.replace(one.choice, scheme=scheme), self.space)
            for one in found
            for scheme in schemes
            if scheme != one.choice.scheme
        ]

    def _fastest_schemes(self, tried: Sequence[Tried]) -> list[str]:
        """Schemes of the source that are about as fast as its fastest, the fastest first."""
        times = {
            one.choice.scheme: relative(one)
            for one in reversed(tried)
            if one.ok and one.stage == SOURCE
        }
        ranked = sorted(times, key=times.__getitem__)
        return [name for name in ranked if times[name] <= _SLOWER * times[ranked[0]]]

    def _ranked(self, found: Sequence[Tried]) -> list[Tried]:
        """The most promising first: layers of the Pareto front of latency and loss."""
        left, ranked = sorted(found, key=self._key), list[Tried]()
        while left:
            front = [one for one in left if not any(_beats(other, one) for other in left)]
            ranked += front
            left = [one for one in left if one not in front]
        return ranked

    def _key(self, one: Tried) -> tuple[float, float, int]:
        aim = relative(one) if self.speed and one.excess == 0 else one.loss
        return one.excess, aim, one.number


def relative(one: Tried) -> float:
    """Latency as a share of the float source's, geometric mean of the devices."""
    logs = [-math.log(ratio) for ratio in one.speedup.values()]
    return math.exp(sum(logs) / len(logs))


def _one_a_network(found: Iterable[Tried], key: Any) -> list[Tried]:
    """The best of those that only differ in how the network is quantized and run."""
    best: dict[tuple[Any, ...], Tried] = {}
    for one in sorted(found, key=key):
        choice = one.choice
        best.setdefault((choice.percent, choice.lean, choice.importance, choice.epochs), one)
    return list(best.values())


def _beats(one: Tried, other: Tried) -> bool:
    """Whether it is at least as good in limits, latency and loss, and better in one."""
    mine = (one.excess, relative(one), one.loss)
    theirs = (other.excess, relative(other), other.loss)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

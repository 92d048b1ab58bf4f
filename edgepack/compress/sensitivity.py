"""Which few operators to keep out of int8, so that a model stays as good as it must.

Each trial quantizes the float `.tflite` anew with some operators kept in float (or int16) and
runs it on held-out samples; with ai-edge-quantizer that is a matter of milliseconds for small
nets. Three steps:

1. sensitivity: every operator alone in int8, the rest in float; the one that harms the
   outputs most (lowest signal to noise) comes first;
2. growth: the shortest run of the most sensitive operators that is good enough, by bisection;
3. backward elimination: each of them, the least sensitive first, goes back to int8 where the
   result stays good enough.

The second step supposes that keeping more operators does not harm; the third holds only what
was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgepack.compress.calibration import Ranges
from edgepack.compress.flatbuffer_quantizer import Activations, Rule, edge_quantize, kept
from edgepack.compress.flatgraph import read
from edgepack.compress.tracing import infer
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError

Layers = tuple[str, ...]
# Operators that only move values take their scale from their neighbours.
_MOVING = frozenset(
    {"RESHAPE", "TRANSPOSE", "PAD", "PADV2", "MAX_POOL_2D", "SQUEEZE", "EXPAND_DIMS", "SHAPE"}
)


@dataclass(frozen=True, kw_only=True)
class Score:
    """One trial's outputs against the float model's.

    loss: how much worse, in the unit of the goal: accuracy lost, or 1 - agreement (1 - top-1,
    or noise as a share of the signal where there are no classes). snr_db: of the outputs.
    """

    loss: float
    snr_db: float


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """The result: the file, the operators kept out of int8 (most sensitive first), the losses
    of the file and of full int8, and how many trials it took."""

    content: bytes
    kept: Layers
    score: Score
    int8: Score
    trials: int


@dataclass
class Search:
    """A bounded search over the operators of one float file.

    inputs, labels: held-out samples, not those the ranges come from. goal: the largest loss.
    fallback: what kept operators compute in. progress: told (trials done, trials allowed).
    """

    float_model: bytes
    ranges: Ranges
    inputs: Mapping[str, Array]
    labels: Array | None
    goal: float
    fallback: Activations
    trials: int
    progress: Callable[[int, int], None]
    _done: dict[frozenset[str], tuple[bytes, Score]] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self._reference = infer(self.float_model, self.inputs)

    def run(self) -> Mixed:
        """Find the operators to keep. EP206 when even all of them do not reach the goal."""
        nothing: frozenset[str] = frozenset()
        int8 = self._score(nothing)
        if int8.loss <= self.goal:
            return self._result((), int8)
        ranking = self.ranking()
        chosen = self._grow(ranking)
        chosen = self._shrink(chosen)
        return self._result(chosen, int8)

    def ranking(self) -> Layers:
        """Operators, the most sensitive first; at most half of the trials are spent on it."""
        layers = _quantizable(self.float_model)
        half = max(1, (self.trials - self._count) // 2)
        measured = layers[:half]
        alone = {layer: self._alone(layer) for layer in measured}
        return (*sorted(measured, key=alone.__getitem__), *layers[half:])

    def _alone(self, layer: str) -> float:
        """Signal to noise with only this operator in int8."""
        self._spend()
        content = edge_quantize(self.float_model, [Rule(layer=layer)], self.ranges)
        return self._compare(content).snr_db

    def _grow(self, ranking: Layers) -> Layers:
        """The shortest good enough run from the front of the ranking."""
        if self._score(frozenset(ranking)).loss > self.goal:
            raise EdgepackError(
                "EP206",
                f"Even with every operator in {self.fallback} the loss is "
                f"{self._score(frozenset(ranking)).loss:.4f}, above the allowed {self.goal:.4f}",
                hint="Allow a larger max_drop, or use 'float' or 'dynamic'.",
            )
        enough, short = len(ranking), 0
        while enough - short > 1 and self._left():
            middle = (enough + short) // 2
            if self._score(frozenset(ranking[:middle])).loss <= self.goal:
                enough = middle
            else:
                short = middle
        return ranking[:enough]

    def _shrink(self, chosen: Layers) -> Layers:
        """`chosen` without the operators that are not needed."""
        needed = list(chosen)
        for layer in reversed(chosen):
            fewer = [other for other in needed if other != layer]
            if self._left() and self._score(frozenset(fewer)).loss <= self.goal:
                needed = fewer
        return tuple(needed)

    def _score(self, keep: frozenset[str]) -> Score:
        if keep not in self._done:
            self._spend()
            rules = [Rule(), *kept(keep, self.fallback)]
            content = edge_quantize(self.float_model, rules, self.ranges)
            self._done[keep] = content, self._compare(content)
        return self._done[keep][1]

    def _compare(self, content: bytes) -> Score:
        outputs = infer(content, self.inputs)
        return compare(self._reference, outputs, self.labels)

    def _left(self) -> bool:
        return self._count < self.trials

    def _spend(self) -> None:
        self._count += 1
        self.progress(self._count, self.trials)

    def _result(self, chosen: Layers, int8: Score) -> Mixed:
        content, score = self._done[frozenset(chosen)]
        return Mixed(
            content=content,
            kept=chosen,
            score=score,
            int8=int8,
            trials=self._count,
        )


def compare(
    reference: Mapping[str, Array], outputs: Mapping[str, Array], labels: Array | None
) -> Score:
    """How much worse `outputs` are, by labels where there are any, else by agreement."""
    pairs = [(reference[name].astype(np.float64), outputs[name]) for name in reference]
    noise = sum(float(np.square(expected - got).sum()) for expected, got in pairs)
    power = sum(float(np.square(expected).sum()) for expected, _ in pairs)
    expected, got = pairs[0]
    if len(pairs) > 1 or expected.ndim != 2 or expected.shape[1] < 2:
        loss = noise / (power + 1e-30)
    elif labels is not None:
        loss = _accuracy(expected, labels) - _accuracy(got, labels)
    else:
        loss = float((expected.argmax(axis=1) != got.argmax(axis=1)).mean())
    # 1e-30 keeps the ratio finite for equal outputs.
    return Score(loss=loss, snr_db=float(10 * np.log10((power + 1e-30) / (noise + 1e-30))))


def _accuracy(scores: Array, labels: Array) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def _quantizable(content: bytes) -> Layers:
    """Names of what has a range of its own: the inputs (as one), and operators as they run."""
    graph = read(content)
    ops = (graph.name(op) for op in graph.ops if op.outputs and op.kind not in _MOVING)
    return (graph.tensors[graph.inputs[0]].name, *ops)

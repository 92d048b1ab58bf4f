"""Synthetic traces of inference times whose steady state, or lack of one, is known.

Each trace has its own length, noise (log-normal, 0.3% to 3%) and rare spikes, as boards have
them. `begins`: the index from which the level is constant up to the end; None: never.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

KINDS = ("flat", "step", "ramp", "endless ramp", "late step", "spikes", "cyclic")
SAME = 0.02  # levels closer than this share are one (steady.TOLERANCE)


@dataclass(frozen=True)
class Trace:
    kind: str
    values: list[float]
    begins: int | None


def trace(kind: str, rng: np.random.Generator) -> Trace:
    """One trace of that kind, of 80 to 2000 samples about 100 µs."""
    n = int(rng.integers(80, 2000))
    level = np.ones(n)
    begins: int | None = 0
    share = rng.uniform(0.1, 0.6)  # where the warm-up ends
    height = rng.uniform(0.06, 1.0)  # 6% to 100% slower before
    if kind == "step":
        begins = int(share * n)
        level[:begins] += height
    elif kind == "ramp":
        end = int(share * n)
        level[:end] += np.linspace(height, 0, end)
        begins = int(end * (1 - SAME / height))
    elif kind == "endless ramp":
        begins = None
        level += np.linspace(0, rng.choice([-0.5, 1]) * height, n)
    elif kind == "late step":  # the level of the last tenth is another: nothing is settled
        begins = None
        level[int(rng.uniform(0.85, 0.92) * n) :] += height
    elif kind == "spikes":
        at = rng.random(n) < rng.uniform(0.005, 0.05)
        level[at] *= rng.uniform(1.5, 20, at.sum())
    elif kind == "cyclic":  # a governor that hunts: 2 to 8 periods, 6% to 100% between extremes
        begins = None
        phase = 2 * np.pi * (rng.uniform(2, 8) * np.arange(n) / n + rng.random())
        wave = np.sin(phase) if rng.random() < 0.5 else np.sign(np.sin(phase))
        level += height * (1 + wave) / 2
    noise = np.exp(rng.normal(0, rng.uniform(0.003, 0.03), n))
    rare = np.where(rng.random(n) < 0.002, rng.uniform(1.2, 5, n), 1.0)
    return Trace(kind, (1e5 * level * noise * rare).tolist(), begins)


def traces(count: int, seed: int = 0) -> Iterator[Trace]:
    """`count` traces of every kind."""
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        for _ in range(count):
            yield trace(kind, rng)


def judged_right(found: int | None, true: Trace) -> bool:
    """Whether the verdict is right, and a steady state's beginning good enough to be used.

    At most 5% of the trace too early (a level of its own would be among the samples), and at
    most a fifth too late.
    """
    if found is None or true.begins is None:
        return found is None and true.begins is None
    n = len(true.values)
    return true.begins - 0.05 * n <= found <= true.begins + 0.2 * n

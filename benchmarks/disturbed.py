"""Synthetic runs with a known disturbance, or none: visits of two variants and a time line.

A run lasts 10 to 40 s in rounds of about 0.1 s; medians have noise of 0.3% to 1.5% that both
variants of a round share in part, and every fiftieth turn an outlier. A disturbance lasts 8%
to 30% of the run.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from edgepack.resources import agent_source

sys.path.insert(0, str(agent_source().parent))

from edgepack_agent import disturbance
from edgepack_agent.subject import Visit

KINDS = ("throttled", "quota", "frequency", "neighbour", "steal", "silent slowdown", "rare stops")
PERIOD_S = 0.25
START_NS = 10**12


class Case(NamedTuple):
    """rounds: those that were really disturbed."""

    kind: str
    visits: list[list[Visit]]
    rows: list[list[float | None]]
    rounds: list[int]


def case(kind: str, seed: int) -> Case:
    """One run. "clean" has no disturbance; "silent slowdown" and "rare stops" show in no row."""
    rng = np.random.default_rng([seed, *kind.encode()])
    seconds = rng.uniform(10, 40)
    length = rng.uniform(0.08, 0.3) * seconds
    begins = rng.uniform(0.05, 0.95) * (seconds - length)
    ends = begins + length
    if kind == "clean":
        begins = ends = -1.0
    sigma = rng.uniform(0.003, 0.015)
    slowdown = rng.uniform(1.06, 2.0)
    visits: list[list[Visit]] = [[], []]
    rounds = []
    at, number = 0.0, 0
    while at < seconds:
        shared = rng.normal(0, sigma)
        inside = at < ends and at + 0.1 > begins
        if inside:
            rounds.append(number)
        for own, usual in zip(visits, (80e3, 130e3), strict=True):
            level = usual * np.exp(shared + rng.normal(0, sigma / 2))
            mean = level * (1 + rng.exponential(0.01) + (rng.random() < 0.02) * rng.uniform(0, 1))
            if inside and kind not in ("rare stops", "steal"):
                level, mean = level * slowdown, mean * slowdown
            if inside and kind in ("rare stops", "steal"):  # the median does not see them
                mean *= rng.uniform(1.5, 2.5)
            start = START_NS + int(at * 1e9)
            own.append(Visit(number, start, 50_000_000, 400, int(level), float(mean)))
            at += 0.051
        number += 1
    rows = _rows(kind, seconds, (begins, ends), rng)
    return Case(kind, visits, rows, rounds)


def _rows(
    kind: str, seconds: float, span: tuple[float, float], rng: np.random.Generator
) -> list[list[float | None]]:
    rows: list[list[float | None]] = []
    for t in np.arange(PERIOD_S, seconds, PERIOD_S):
        on = span[0] < t - PERIOD_S / 2 < span[1]
        rows.append(
            [
                float(t),
                1500.0 * rng.uniform(0.6, 0.9) if on and kind == "frequency" else 1500.0,
                55 + rng.normal(0, 0.5),
                float(on and kind == "throttled"),
                rng.uniform(0.2, 0.6) if on and kind == "quota" else 0.0,
                max(0.0, rng.normal(0.05, 0.05)) + (1.0 if on and kind == "neighbour" else 0.0),
                max(0.0, rng.normal(0.002, 0.004)) + (0.2 if on and kind == "steal" else 0.0),
                rng.exponential(0.004) + (0.3 if on and kind == "neighbour" else 0.0),
                900.0,
                None,
                None,
            ]
        )
    return rows


def judged(one: Case) -> disturbance.Found:
    """What the agent makes of it."""
    return disturbance.judge(one.visits, one.rows, START_NS, PERIOD_S)


def score(count: int, seed: int) -> tuple[dict[str, float], float]:
    """By kind, the share of cases in which at least half of the disturbed rounds are excluded;
    and the share of undisturbed rounds that are excluded, clean runs and the clean parts of
    the others together (five rounds beside each edge left out: rows are coarser than rounds)."""
    recall = {}
    wrong = clean = 0
    for kind in (*KINDS, "clean"):
        found_in = 0
        for number in range(count if kind != "clean" else 3 * count):
            one = case(kind, seed + number)
            found = judged(one)
            true = set(one.rounds)
            found_in += bool(true) and len(found.excluded & true) >= len(true) / 2
            edge = {r + d for r in true for d in range(-5, 6)}
            rest = set(range(len(one.visits[0]))) - edge
            wrong += len(found.excluded & rest)
            clean += len(rest)
        if kind != "clean":
            recall[kind] = found_in / count
    return recall, wrong / clean

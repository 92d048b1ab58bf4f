"""What a device says disturbed its rounds: read from the time line it sent, if that is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgepack.report import text

_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What was out of the ordinary, from when to when, in seconds since the start."""

    kind: str
    start: float
    end: float


def disturbances(environment: Mapping[str, Any]) -> tuple[Disturbance, ...]:
    """Those of a measurement's environment in order of time; what is no disturbance is left out."""
    line = environment.get("timeline")
    found = line.get("disturbances") if isinstance(line, Mapping) else None
    read = [_disturbance(each) for each in items(found)]
    return tuple(sorted((each for each in read if each), key=lambda each: each.start))


def stolen(environment: Mapping[str, Any]) -> float | None:
    """The share of the processor time that the hypervisor took during the rounds, their mean;
    None where the board did not tell."""
    line = environment.get("timeline")
    if not isinstance(line, Mapping):
        return None
    columns, rows = items(line.get("columns")), items(line.get("rows"))
    if "steal" not in columns:
        return None
    at = columns.index("steal")
    cells = [number(row[at]) for row in rows if isinstance(row, list | tuple) and len(row) > at]
    known = [cell for cell in cells if cell is not None]
    return sum(known) / len(known) if known else None


def items(value: Any) -> list[Any]:
    """The first thousand items of a list; none of anything else."""
    return list(value[:_MOST]) if isinstance(value, list | tuple) else []


def number(value: Any) -> float | None:
    """A finite number from 0 up; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 and math.isfinite(value) else None


def _disturbance(found: Any) -> Disturbance | None:
    if not isinstance(found, Mapping):
        return None
    start, end = number(found.get("from_s")), number(found.get("to_s"))
    if start is None or end is None or end < start:
        return None
    return Disturbance(kind=text.plain(found.get("kind", "disturbance"), 40), start=start, end=end)

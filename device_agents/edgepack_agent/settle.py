"""Waiting for a cool and idle board before anything is measured (`settings.stable_s`)."""

import threading
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from edgepack_agent.child import Cancelled
from edgepack_agent.disturbance import COLUMNS
from edgepack_agent.errors import AgentError
from edgepack_agent.probes import files
from edgepack_agent.sampler import Board, row

STEP_S = 0.5
WINDOW = 6  # steps that must all be calm
BUSY = 0.25  # cores that others keep busy
COOLING_C = 1.0  # fall of the temperature within the window
MARGIN_C = 10.0  # below the kernel's lowest trip point, where it begins to throttle
HOT_C = 70.0  # without a trip point


def hot_from(root: Path) -> float:
    """Degrees Celsius from which the board counts as hot."""
    trips = []
    for kind in (root / "sys/class/thermal").glob("thermal_zone*/trip_point_*_type"):
        if files.text(kind.parent, kind.name) in ("passive", "hot", "critical"):
            millidegrees = files.number(kind.parent, kind.name.replace("_type", "_temp"))
            if millidegrees is not None and millidegrees > 0:
                trips.append(millidegrees / 1000)
    return min(trips) - MARGIN_C if trips else HOT_C


def unsettled(rows: Sequence[Sequence[Optional[float]]], hot_c: float) -> Optional[str]:
    """Why the board is not ready, None when it is; `rows`: the last WINDOW of a time line."""

    def known(name: str) -> List[float]:
        column = (one[COLUMNS.index(name)] for one in rows)
        return [value for value in column if value is not None]

    if any(known("throttled")):
        return "it is throttled"
    celsius = known("temperature_c")
    if celsius and celsius[-1] >= hot_c:
        return "it is at %.0f °C and counts as hot from %.0f °C on" % (celsius[-1], hot_c)
    if celsius and celsius[0] - celsius[-1] > COOLING_C:
        return "it is still cooling down (%.0f to %.0f °C)" % (celsius[0], celsius[-1])
    others = known("others")
    if others and sum(others) / len(others) > BUSY:
        return "other processes keep %.1f cores busy" % (sum(others) / len(others))
    return None


def wait(
    limit_s: float,
    cancelled: threading.Event,
    say: Callable[[str], None],
    root: Path = Path("/"),
) -> float:
    """Wait until the board is calm; the seconds it took. AgentError EP413 after `limit_s`.

    A board is watched for WINDOW steps at least, however short the limit. Cancelled.
    """
    board, hot_c = Board(root, lambda: ()), hot_from(root)
    began = time.monotonic()
    last, before = board.read(), time.monotonic_ns()
    rows: List[List[Optional[float]]] = []
    told: Optional[str] = None
    while True:
        if cancelled.wait(STEP_S):
            raise Cancelled
        now, reading = time.monotonic_ns(), board.read()
        rows.append(row(last, reading, time.monotonic() - began, now - before))
        last, before = reading, now
        if len(rows) < WINDOW:
            continue
        why = unsettled(rows[-WINDOW:], hot_c)
        waited = time.monotonic() - began
        if why is None:
            return waited
        if waited >= limit_s:
            raise AgentError(
                "EP413",
                "the device did not settle within %g s: %s" % (limit_s, why),
                "Stop what runs there or let it cool; or give more time, or measure without "
                "--stable.",
            )
        if why.split()[:3] != (told or "").split()[:3]:
            say("waiting for the device to settle: %s" % why)
            told = why

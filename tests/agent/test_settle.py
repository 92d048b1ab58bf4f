"""`--stable`: what counts as hot or busy, and the refusal."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from edgepack_agent import settle
from edgepack_agent.disturbance import COLUMNS
from edgepack_agent.errors import AgentError

from .host import Host


def row(**values: float) -> list[float | None]:
    return [values.get(name) for name in COLUMNS]


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([row(others=0.1, temperature_c=50)] * 6, None),
        ([row()] * 6, None),
        ([row(throttled=0)] * 5 + [row(throttled=1)], "throttled"),
        ([row(temperature_c=71)] * 6, "hot"),
        ([row(temperature_c=60 - i / 2) for i in range(6)], "cooling"),
        ([row(temperature_c=50 + i / 2) for i in range(6)], None),
        ([row(others=1.5)] * 6, "1.5 cores"),
    ],
)
def test_calm_or_not(rows: list[list[float | None]], word: str | None) -> None:
    found = settle.unsettled(rows, 70.0)
    assert (found is None) if word is None else (word in (found or ""))


def test_hot_is_10_degrees_below_the_lowest_trip_point(tmp_path: Path) -> None:
    assert settle.hot_from(tmp_path) == settle.HOT_C
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    for number, (kind, temp) in enumerate([("active", 40000), ("passive", 80000), ("hot", 95000)]):
        (zone / f"trip_point_{number}_type").write_text(kind + "\n")
        (zone / f"trip_point_{number}_temp").write_text(f"{temp}\n")
    assert settle.hot_from(tmp_path) == 70.0


def test_a_hot_board_is_refused_with_the_reason(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("85000\n")
    said: list[str] = []
    with pytest.raises(AgentError, match="85 °C") as refused:
        settle.wait(0.1, threading.Event(), said.append, tmp_path)
    assert refused.value.code == "EP413"


def test_the_agent_refuses_in_the_protocol(host: Host, job) -> None:  # type: ignore[no-untyped-def]
    """This machine is calm or not: either way nothing is measured before it was watched."""
    events = host.serve(*job(stable_s=0.1))
    kinds = [event["event"] for event in events]
    if "error" in kinds:
        error = host.all("error")[0]
        assert error["code"] == "EP413" and "samples" not in kinds
    else:
        assert host.results()

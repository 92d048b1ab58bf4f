"""Progress on standard error: where each device is and how long it will take, on any output."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from edgepack.cli import progress
from edgepack.model import Event
from tests.unit.test_terminal import HOSTILE, clean


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def measuring(done: float, device: str = "pi4", total: float = 90.0) -> Event:
    return Event(kind="progress", stage="measure", device=device, done=done, total=total)


# ---------------------------------------------------------------- on a terminal


def drawn(live: progress._Live, width: int = 80) -> list[str]:
    """The lines that a terminal would show now."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    console.print(live.progress.get_renderable())
    return out.getvalue().rstrip("\n").split("\n")


@pytest.fixture
def live(clock: Clock) -> progress._Live:
    console = Console(file=io.StringIO(), width=500, force_terminal=True, color_system=None)
    return progress._Live(0, console, clock)


def test_each_device_has_its_line_with_the_time_that_is_left(live, clock) -> None:
    live(Event(kind="stage", stage="build", message="building model.keras"))
    live(measuring(0))
    live(measuring(0, "pi5"))
    for half in (0.5, 1.0):
        clock.now += 5
        live(measuring(30 * half))
        live(measuring(45 * half, "pi5"))
    build, pi4, pi5 = drawn(live)
    assert "build: building model.keras" in build
    assert "pi4: measure" in pi4 and "left 00:20" in pi4
    assert "pi5: measure" in pi5 and "left 00:10" in pi5


def test_a_new_stage_of_another_size_begins_anew(live, clock) -> None:
    live(measuring(0, total=2e6))
    clock.now += 5
    live(measuring(1e6, total=2e6))
    live(Event(kind="progress", stage="push", device="pi4", done=0, total=50))
    assert "left --:--" in drawn(live)[0], "the other stage's pace says nothing of this one"


def test_what_matters_stays_above_the_lines_and_is_clean(live) -> None:
    for kind in ("warning", "failed", "fact", "progress", HOSTILE):
        live(Event(kind=kind, stage=HOSTILE, message=HOSTILE, device=HOSTILE, variant=HOSTILE))
    live(Event(kind="log", stage="measure", message="not asked for"))
    told = live.progress.console.file.getvalue()
    assert len(told.splitlines()) == 3 and "not asked for" not in told
    assert clean(told) and clean("\n".join(drawn(live)))
    assert "[bold]b[/bold]" in told, "markup is text, not style"


# ---------------------------------------------------------------- off a terminal


def test_a_log_gets_plain_lines_and_now_and_then_what_is_left(clock, capsys) -> None:
    tell = progress._Plain(0, clock)
    tell(Event(kind="stage", stage="measure", device="pi4", message="measuring 4 variants"))
    for second in range(0, 61, 2):
        clock.now = 100.0 + second
        tell(measuring(second))
        tell(Event(kind="log", stage="measure", message="not asked for"))
    assert capsys.readouterr().err.splitlines() == [
        "[pi4] measuring 4 variants",
        "[pi4] measure: 18%, 1 min 14 s left",
        "[pi4] measure: 36%, 58 s left",
        "[pi4] measure: 53%, 42 s left",
    ]


@pytest.mark.parametrize(
    ("done", "total"),
    [(None, 5.0), (1.0, None), (1.0, 0.0), (float("nan"), 5.0), (1.0, float("nan")), (1e308, 1e-9)],
)
def test_an_amount_that_is_none_is_not_told(clock, capsys, done, total) -> None:
    tell = progress._Plain(0, clock)
    for _ in range(3):
        tell(Event(kind="progress", stage="push", device="pi4", done=done, total=total))
        clock.now += 60
    assert capsys.readouterr().err == ""


def test_amounts_beyond_their_ends_give_no_time(clock, capsys) -> None:
    tell = progress._Plain(0, clock)
    for done in (5.0, 1.0, -3.0, 99.0):
        tell(measuring(done, total=10))
        clock.now += 60
    assert capsys.readouterr().err.splitlines() == [
        "[pi4] measure: 10%",
        "[pi4] measure: 0%",
        "[pi4] measure: 100%",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3725, "1 h 2 min"),
        (1e9, "277777 h 46 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert progress._duration(seconds) == said


def test_lines_of_a_device_are_clean(clock, capsys) -> None:
    with progress.watch(quiet=False, verbose=1) as tell:
        for kind in ("stage", "log", "warning", "failed", "measured", HOSTILE):
            tell(Event(kind=kind, stage=HOSTILE, message=HOSTILE, device=HOSTILE, variant=HOSTILE))
    told = capsys.readouterr().err
    assert clean(told) and len(told.splitlines()) == 6
    with progress.watch(quiet=True, verbose=0) as tell:
        tell(Event(kind="failed", stage="x", message="y"))
    assert capsys.readouterr() == ("", "")


def test_quiet_leaves_the_warnings(capsys) -> None:
    with progress.watch(quiet=True, verbose=0) as tell:
        for kind in ("stage", "log", "fact", "measured"):
            tell(Event(kind=kind, stage="measure", message=kind))
        tell(Event(kind="warning", stage="measure", message=f"why {HOSTILE}", device="pi4"))
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("[pi4] why ")
    assert clean(err) and len(err.splitlines()) == 1


def test_events_are_one_json_object_a_line(capsys) -> None:
    with progress.watch(quiet=False, verbose=0, events=True) as tell:
        tell(Event(kind="progress", stage="push", device=HOSTILE, done=float("nan"), total=1.0))
        tell(Event(kind="log", stage="measure", message="a\nb"))
    said = capsys.readouterr()
    first, second = map(json.loads, said.out.splitlines())
    assert first["device"] == HOSTILE and first["done"] is None
    assert second["message"] == "a\nb" and said.err == ""
    assert clean(said.out), "controls are escaped"

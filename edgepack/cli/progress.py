"""What a person sees while a run goes on: on standard error, never in the results.

On a terminal one line a device changes in place; elsewhere plain lines, one an event that
matters and one now and then for what takes long, so that a build log stays readable.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgepack.model import Event

if TYPE_CHECKING:
    from rich.console import Console

Emit = Callable[[Event], None]
Clock = Callable[[], float]
PACE_S = 15.0
"""Off a terminal: seconds between two lines about the same stage of a device or variant."""


def _where(event: Event) -> str:
    parts = [part for part in (event.device, event.variant) if part]
    return f"[{' '.join(parts)}] " if parts else ""


class _Plain:
    """Lines that stay: one for each event that matters, and what is left of a long stage."""

    def __init__(self, verbosity: int, clock: Clock = time.monotonic) -> None:
        self._verbosity = verbosity
        self._clock = clock
        # By what goes on: when it was first told of and how much was done, and the last line.
        self._began: dict[tuple[object, ...], tuple[float, float]] = {}
        self._told: dict[tuple[object, ...], float] = {}

    def __call__(self, event: Event) -> None:
        from edgepack.report.text import plain

        if event.kind == "samples" or (event.kind == "log" and self._verbosity < 1):
            return
        said = self._left(event) if event.kind == "progress" else event.message or event.stage
        if said:
            click.echo(plain(f"{_where(event)}{said}"), err=True)

    def _left(self, event: Event) -> str:
        """How far a stage is; "" too soon after the last such line, or where nobody knows."""
        done, total = event.done, event.total
        if done is None or not total or not math.isfinite(done / total):
            return ""
        now, what = self._clock(), (event.device, event.stage, event.variant, total)
        began, before = self._began.setdefault(what, (now, done))
        if now - self._told.setdefault(what, began) < PACE_S:
            return ""
        self._told[what] = now
        said = f"{event.message or event.stage}: {min(max(done / total, 0.0), 1.0):.0%}"
        if not before < done < total:
            return said
        return f"{said}, {_duration((now - began) * (total - done) / (done - before))} left"


def _duration(seconds: float) -> str:
    """ "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _warnings_alone(event: Event) -> None:
    """With `-q`: what makes a result less than it seems is no progress."""
    from edgepack.report.text import plain

    if event.kind == "warning":
        click.echo(plain(f"{_where(event)}{event.message}"), err=True)


def line(event: Event) -> str:
    """The event as `--events` writes it."""
    from edgepack.report.document import finite

    return json.dumps(finite(asdict(event)), allow_nan=False)


def _as_json(event: Event) -> None:
    click.echo(line(event))


class _Live:
    """Rich's progress display: a task for the build and one for each device."""

    def __init__(
        self, verbosity: int, console: Console | None = None, clock: Clock = time.monotonic
    ) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.verbosity = verbosity
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            console=console or Console(stderr=True),
            get_time=clock,
            transient=True,
        )
        self.tasks: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        from edgepack.report.text import plain

        if event.kind in ("warning", "failed", "fact") or (event.kind == "log" and self.verbosity):
            said = plain(f"{_where(event)}{event.message}")
            self.progress.console.print(said, markup=False, highlight=False)
            return
        if event.kind == "samples":
            return
        who = event.device or ("search" if event.stage == "search" else "build")
        text = plain(f"{who}: {event.variant or ''} {event.message or event.stage}")[:60]
        if who not in self.tasks:
            self.tasks[who] = int(self.progress.add_task(text, total=None))
        task = self.tasks[who]
        self.progress.update(task, description=text, total=event.total, completed=event.done or 0)  # type: ignore[arg-type]


@contextmanager
def watch(*, quiet: bool, verbose: int, events: bool = False) -> Iterator[Emit]:
    """Something to hand to the pipeline as `emit`, shown while the block runs."""
    if events:
        yield _as_json
    elif quiet:
        yield _warnings_alone
    elif sys.stderr.isatty():
        live = _Live(verbose)
        with live.progress:
            yield live
    else:
        yield _Plain(verbose)


@contextmanager
def page(title: str, emit: Emit, *, wanted: bool) -> Iterator[Emit]:
    """`emit`, told to a live page as well when one is wanted; its address is said first."""
    if not wanted:
        yield emit
        return
    from edgepack.live import Board, LiveServer

    board = Board(title)
    with LiveServer(board) as server:
        click.echo(f"watch: {server.url}", err=True)

        def both(event: Event) -> None:
            board.tell(event)
            emit(event)

        message = "The run was broken off."
        try:
            yield both
            message = "The run has ended."
        finally:
            board.end(message)

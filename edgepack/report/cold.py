"""What comes before the first answer: start of the process, load, set-up, first inference.

Rows for every renderer, all in clean text; the times are those of a variant's first process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgepack.model import Measurement
from edgepack.report import text
from edgepack.report.view import DeviceView

#: Under the table, where there is room for a sentence.
EXPLAINED = (
    "Of each variant's first process: its start until the runtime is imported, loading the model "
    "(set-up, of delegates and memory, is a part of it), and the first inference. Reading the "
    "clock is a part of each latency above and is not taken off."
)
_PARTS: tuple[tuple[str, Callable[[Measurement], int | None]], ...] = (
    ("process", lambda measured: measured.process_ns),
    ("load", lambda measured: measured.load_ns),
    ("of it set-up", lambda measured: measured.setup_ns),
    ("first inference", lambda measured: measured.first_ns),
    ("clock", lambda measured: measured.timer_ns),
)


@dataclass(frozen=True, kw_only=True)
class Cold:
    """One device's cold starts. titles: of the parts that any variant has; rows: a variant's
    name, then a time for each title."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(device: DeviceView) -> Cold | None:
    """The cold starts of what was measured on a device; None where none was told."""
    lines = [line for line in device.lines if line.ok]
    told = [
        (title, part)
        for title, part in _PARTS
        if any(part(x.measurement) is not None for x in lines)
    ]
    if not told:
        return None
    return Cold(
        titles=tuple(title for title, _ in told),
        rows=tuple(
            (line.variant, *(_time(part(line.measurement)) for _, part in told)) for line in lines
        ),
    )


def _time(ns: int | None) -> str:
    return "–" if ns is None else text.microseconds(ns / 1e3)

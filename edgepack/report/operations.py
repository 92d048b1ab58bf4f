"""Where the time of an inference goes, operation by operation: rows with bars for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepack.model import Measurement, OpTime
from edgepack.report import svg, text
from edgepack.report.view import DeviceView

#: More operations than this are summed in one row: beyond them a bar is a hair.
MOST_OPS = 15
_BAR = 120.0  # its full width, for a share of 1


@dataclass(frozen=True, kw_only=True)
class OpRow:
    """One operation; bar: an SVG picture of its share, without text of a device."""

    name: str
    where: str
    type: str
    time: str
    share: str
    bar: str


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """One variant's operations, the slowest first; summary: delegated and formats, by time."""

    variant: str
    summary: str
    rows: tuple[OpRow, ...]


def profiled(device: DeviceView) -> list[Profiled]:
    """The variants of a device whose operations were timed (`--profile-ops`)."""
    return [
        Profiled(
            variant=line.variant,
            summary=caveat(line.measurement) + _summary(line.measurement.ops),
            rows=_rows(line.measurement.ops),
        )
        for line in device.lines
        if line.measurement.ops
    ]


def _rows(ops: Sequence[OpTime]) -> tuple[OpRow, ...]:
    slowest = sorted(ops, key=lambda op: op.ns, reverse=True)
    shown, rest = slowest[:MOST_OPS], slowest[MOST_OPS:]
    rows = [
        _row(text.plain(op.name, 80), _where(op), text.plain(op.type or "–", 20), op.ns, op.share)
        for op in shown
    ]
    if rest:
        name = f"{len(rest)} more operations"
        rows.append(_row(name, "", "", sum(op.ns for op in rest), sum(op.share for op in rest)))
    return tuple(rows)


def _row(name: str, where: str, kind: str, ns: int, share: float) -> OpRow:
    return OpRow(
        name=name,
        where=where,
        type=kind,
        time=text.microseconds(ns / 1e3),
        share=f"{100 * share:.1f}%",
        bar=_bar(share),
    )


def _where(op: OpTime) -> str:
    return "own kernel" if op.partition is None else f"delegated ({op.partition})"


def _bar(share: float) -> str:
    width = _BAR * min(max(share, 0.0), 1.0)
    rect = svg.tag("rect", x=0, y=0, width=max(width, 0.5), height=10)
    return svg.tag("svg", rect, viewBox=f"0 0 {_BAR:g} 10", class_="share", aria_hidden="true")


def caveat(measurement: Measurement) -> str:
    """A word in front where no profiler told the times, or none that is fine enough."""
    if "ops-estimated" in measurement.flags:
        return "estimated from the graph cut off after each operation; "
    if "ops-rounded" in measurement.flags:
        return "rounded down to whole microseconds by the profiler; "
    return ""


def _summary(ops: Sequence[OpTime]) -> str:
    """ "84.0% of the time delegated; int8 80.1%, float32 19.9%"."""
    delegated = sum(op.share for op in ops if op.partition is not None)
    formats: dict[str, float] = {}
    for op in ops:
        kind = op.type or "format not told"
        formats[kind] = formats.get(kind, 0.0) + op.share
    ordered = sorted(formats.items(), key=lambda each: -each[1])
    told = ", ".join(f"{kind} {100 * share:.1f}%" for kind, share in ordered)
    return text.plain(f"{100 * delegated:.1f}% of the time delegated; {told}")

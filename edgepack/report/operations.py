"""Where the time of an inference goes, operation by operation: rows with bars for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepack.model import Accelerator, Measurement, OpTime
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
    """One variant's operations, the slowest first; summary: in delegates and formats, by time."""

    variant: str
    summary: str
    rows: tuple[OpRow, ...]


def profiled(device: DeviceView) -> list[Profiled]:
    """The variants of a device whose operations were timed (`--profile-ops`)."""
    return [
        Profiled(
            variant=line.variant,
            summary=caveat(line.measurement)
            + _summary(line.measurement.ops, line.measurement.accelerator),
            rows=_rows(line.measurement.ops, line.measurement.accelerator.actual),
        )
        for line in device.lines
        if line.measurement.ops
    ]


def _rows(ops: Sequence[OpTime], accelerator: str) -> tuple[OpRow, ...]:
    slowest = sorted(ops, key=lambda op: op.ns, reverse=True)
    shown, rest = slowest[:MOST_OPS], slowest[MOST_OPS:]
    rows = [
        _row(
            text.plain(op.name, 80),
            where(op, accelerator),
            text.plain(op.type or "–", 20),
            op.ns,
            op.share,
        )
        for op in shown
    ]
    if rest:
        name = f"{len(rest)} more operation{'s' * (len(rest) > 1)}"
        rows.append(_row(name, "", "", sum(op.ns for op in rest), sum(op.share for op in rest)))
    return tuple(rows)


def _row(name: str, ran_as: str, kind: str, ns: int, share: float) -> OpRow:
    return OpRow(
        name=name,
        where=ran_as,
        type=kind,
        time=text.microseconds(ns / 1e3),
        share=f"{100 * share:.1f}%",
        bar=_bar(share),
    )


def where(op: OpTime, accelerator: str) -> str:
    """ "own kernel", "XNNPACK 0", or "delegate 0" beside another accelerator than the CPU.

    Beside another one XNNPACK takes what that one left, and nothing tells whose a partition is.
    """
    if op.partition is None:
        return "own kernel"
    return f"{'XNNPACK' if accelerator == 'cpu' else 'delegate'} {op.partition}"


def _bar(share: float) -> str:
    width = _BAR * min(max(share, 0.0), 1.0)
    rect = svg.tag("rect", x=0, y=0, width=max(width, 0.5), height=10)
    return svg.tag("svg", rect, viewBox=f"0 0 {_BAR:g} 10", class_="share", aria_hidden="true")


def caveat(measurement: Measurement) -> str:
    """Words in front where the times are not of the batches that were measured, where no
    profiler told them, or none that is fine enough."""
    said = "of a single sample, not of a batch; " * (measurement.batch > 1)
    if "ops-estimated" in measurement.flags:
        return f"{said}estimated from the graph cut off after each operation; "
    if "ops-rounded" in measurement.flags:
        return f"{said}rounded down to whole microseconds by the profiler; "
    return said


def _summary(ops: Sequence[OpTime], used: Accelerator) -> str:
    """ "84.0% of the time in XNNPACK; int8 80.1%, float32 19.9%"."""
    delegated = sum(op.share for op in ops if op.partition is not None)
    formats: dict[str, float] = {}
    for op in ops:
        kind = op.type or "format not told"
        formats[kind] = formats.get(kind, 0.0) + op.share
    ordered = sorted(formats.items(), key=lambda each: -each[1])
    told = ", ".join(f"{kind} {100 * share:.1f}%" for kind, share in ordered)
    whose = "XNNPACK"
    if used.actual != "cpu":
        whose = "delegates" + " (XNNPACK's included)" * used.xnnpack
    return text.plain(f"{100 * delegated:.1f}% of the time in {whose}; {told}")

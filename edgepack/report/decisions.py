"""Which decisions a variant changed against the baseline, and what it ran on: rows for tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgepack.analysis import quality
from edgepack.report import text
from edgepack.report.view import DeviceView, Line

_MOST_NAMES = 6
_MOST_CELLS = 6  # of one variant's confusion matrix
_LONGEST_CLASS = 40  # characters of a class's name


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Samples that only one of the two decided rightly; p: McNemar's exact test."""

    variant: str
    samples: int
    lost: int
    won: int
    p: str


def changed(device: DeviceView) -> list[Changed]:
    """The variants whose decisions can be paired with the baseline's, sample by sample."""
    base = next((line for line in device.lines if line.is_baseline), None)
    if base is None:
        return []
    return [row for line in device.lines if line is not base and (row := _changed(base, line))]


def _changed(base: Line, line: Line) -> Changed | None:
    found = quality.change(base.measurement, line.measurement)
    before, after = base.measurement.quality, line.measurement.quality
    if found is None or found.p is None or before is None or after is None:
        return None
    first, second = int(before.correct or "0", 16), int(after.correct or "0", 16)
    return Changed(
        variant=line.variant,
        samples=after.n,
        lost=(first & ~second).bit_count(),
        won=(second & ~first).bit_count(),
        p=f"{found.p:.2g}" if found.p >= 1e-4 else "< 0.0001",
    )


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """One cell of the confusion matrix, and how many samples were in it before and are now.

    label, decision: the class's number, with its name where the dataset gives one.
    """

    variant: str
    label: str
    decision: str
    before: int
    after: int


def mixed_up(device: DeviceView, names: Sequence[str] = ()) -> list[Mixed]:
    """The wrong decisions that each variant makes more or less often than the baseline.

    The largest changes of each variant first; nothing where the matrices do not cover equally
    many samples of the same classes. names: of the classes, by number.
    """
    base = next((line for line in device.lines if line.is_baseline), None)
    others = [line for line in device.lines if line is not base]
    return [row for line in others if base is not None for row in _mixed(base, line, names)]


def _mixed(base: Line, line: Line, names: Sequence[str]) -> list[Mixed]:
    first, second = base.measurement.quality, line.measurement.quality
    if first is None or second is None or first.n != second.n:
        return []
    if first.confusion is None or second.confusion is None:
        return []
    if first.confusion.classes != second.confusion.classes:
        return []
    before, after = (
        {(label, decision): n for label, decision, n in found.confusion.cells if label != decision}
        for found in (first, second)
        if found.confusion
    )
    rows = [
        Mixed(
            variant=line.variant,
            label=_class(label, names),
            decision=_class(decision, names),
            before=before.get((label, decision), 0),
            after=after.get((label, decision), 0),
        )
        for label, decision in sorted({*before, *after})
    ]
    changed = [row for row in rows if row.before != row.after]
    return sorted(changed, key=lambda row: -abs(row.after - row.before))[:_MOST_CELLS]


def _class(number: int, names: Sequence[str]) -> str:
    """ "3 Dress", or "3" without a name."""
    named = text.plain(names[number], _LONGEST_CLASS) if number < len(names) else ""
    return f"{number} {named}".strip()


def operations(device: DeviceView) -> Iterator[tuple[str, ...]]:
    """Variant, accelerator, operations taken, number formats, and what was left over."""
    for line in device.lines:
        ran = line.measurement.accelerator
        if not line.ok or ran.ops_total is None or ran.ops_delegated is None:
            continue
        formats = ", ".join(f"{count} {name}" for name, count in ran.types.items())
        left = ", ".join(ran.ops_left[:_MOST_NAMES])
        more = len(ran.ops_left) - _MOST_NAMES
        yield (
            line.variant,
            text.plain(ran.adapter or ran.actual, 60),
            f"{ran.ops_delegated} of {ran.ops_total}",
            text.plain(formats or "–"),
            text.plain(left + (f" and {more} more" if more > 0 else "") or "–"),
        )

"""Packages, runs and searches as small HTML tables, for the output cell of a notebook.

Every text goes through `text.plain` and is escaped: a board or a model file may say anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from edgepack.model import Comparison, Package, Run, Verdict
from edgepack.report import text, view
from edgepack.report.searched import Search


def package(found: Package) -> str:
    """The variants of a package."""
    rows = [
        [text.plain(each.name), text.size(each.bytes), text.size(each.gzip_bytes)]
        for each in found.variants
    ]
    title = f"{text.plain(found.source_name)}, package {found.digest[:12]}"
    return f"<p><b>{escape(title)}</b></p>{_table(['variant', 'size', 'gzip'], rows)}"


def run(found: Run, comparison: Comparison, verdict: Verdict) -> str:
    """What to ship, then a table a device."""
    parts = [f"<p><b>{escape(view.headline(found, comparison, verdict))}</b></p>"]
    for device in view.devices(found, comparison):
        parts += _device(device, text.plain(comparison.baseline, 24))
    parts += [f"<p>{escape(view.check(check))}</p>" for check in verdict.checks]
    return "".join(parts)


def search(found: Search) -> str:
    """What a search found, then the finalists of every device."""
    parts = [f"<p><b>{escape(found.headline)}</b></p>"]
    head = ["variant", "size", "p50 ±95% CI", "vs float", "quality", "change", "budget"]
    for device in found.devices:
        parts.append(f"<p>{escape(f'{device.name} ({device.profile}): {device.outcome}')}</p>")
        parts += [f"<p>{escape(each)}</p>" for each in device.binding]
        rows = [
            [
                one.name,
                text.size(one.bytes),
                one.p50,
                f"{one.speedup:.2f}×",
                found.score(one.quality),
                found.change(one.delta),
                "met" if one.fits else "missed",
            ]
            for one in device.finals
        ]
        parts.append(_table(head, rows, {n for n, one in enumerate(device.finals) if one.best}))
    parts += [f"<p>{escape(note)}</p>" for note in found.notes]
    parts += [f"<p>{escape(f'{name}: {why}')}</p>" for name, why in found.lost]
    return "".join(parts)


def _device(device: view.DeviceView, baseline: str) -> Iterator[str]:
    setting = f": {device.setting}" if device.setting else ""
    yield f"<p>{escape(f'{device.name} ({device.profile}){setting}')}</p>"
    head = ["variant", "size", "p50 ±95% CI", "p90", f"vs {baseline}", device.metric, "change"]
    rows = [
        [
            text.plain(line.variant),
            line.size,
            line.p50,
            line.p90,
            line.speedup,
            line.score,
            line.delta,
        ]
        for line in device.lines
    ]
    yield _table(head, rows, {n for n, line in enumerate(device.lines) if line.recommended})
    for said in (*device.flags, *device.failures):
        yield f"<p>{escape(said)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], bold: set[int] | None = None) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(_row(row, "b" if n in (bold or ()) else "span") for n, row in enumerate(rows))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _row(cells: Sequence[str], tag: str) -> str:
    inside = "".join(f"<td><{tag}>{escape(cell)}</{tag}></td>" for cell in cells)
    return f"<tr>{inside}</tr>"

"""The report as Markdown, for a pull request or a release note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from edgepack.model import Comparison, Run, Verdict, VerdictStatus
from edgepack.report import cold, operations, pairs, text, view

# Everything with a meaning in Markdown or in the HTML that it may hold; "@" and "#" would
# notify people and link issues on a forge.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~@&$:-])")
_MARK = {VerdictStatus.PASS: "✅", VerdictStatus.FAIL: "❌", VerdictStatus.UNMEASURED: "⚠️"}


def render(run: Run, comparison: Comparison, verdict: Verdict, baseline: Run | None = None) -> str:
    """The recommendation, the verdict, the change against the baseline run, a table a device."""
    lines = [
        f"### edgepack: {_escape(run.package.source_name)}",
        "",
        f"**{_escape(view.headline(run, comparison, verdict))}**",
        "",
        *_verdict(verdict),
    ]
    if comparison.fleet is not None and comparison.fleet.costs:
        lines += ["", _escape(f"Fleet: {comparison.fleet.reason}")]
    if baseline is not None:
        lines += ["", *_against(run, baseline)]
    for device in view.devices(run, comparison):
        lines += ["", *_device(device, comparison)]
    lines += ["", f"Run `{text.plain(run.run_id).replace('`', '')}`"]
    return "\n".join(lines) + "\n"


def _verdict(verdict: Verdict) -> Iterator[str]:
    if verdict.status is VerdictStatus.NONE:
        return
    yield f"{_MARK[verdict.status]} {_escape(view.verdict(verdict))}"
    yield ""
    for check in verdict.checks:
        if check.decides:
            yield f"- {_MARK[check.status]} {_escape(view.check(check))}"


def _against(run: Run, baseline: Run) -> Iterator[str]:
    yield f"**Against run {_escape(baseline.run_id)}**"
    yield ""
    yield _row(["device", "variant", "p50 ±95% CI", "speed", "quality", "change", "note"])
    yield "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    for group in pairs.against(run, baseline):
        for line in group.lines:
            cells = (line.variant, line.p50, line.against, line.score, line.delta, line.note)
            yield _row([group.device, *cells])


def _device(device: view.DeviceView, comparison: Comparison) -> Iterator[str]:
    setting = f": {_escape(device.setting)}" if device.setting else ""
    yield f"**{_escape(device.name)}** ({_escape(device.profile)}){setting}"
    if device.reason:
        yield ""
        yield _escape(f"{device.recommended or 'No recommendation'}: {device.reason}")
    yield ""
    against = f"vs {text.plain(comparison.baseline, 24)}"
    powered = any(line.energy_mj is not None for line in device.lines)
    titles = ["variant", "size", "p50 ±95% CI", "p90", "memory", *["energy"] * powered]
    titles += [against, device.metric, "change", "note"]
    yield _row(titles)
    yield "| --- |" + " ---: |" * (len(titles) - 2) + " --- |"
    for line in device.lines:
        name = _escape(line.variant)
        cells = [line.size, line.p50, line.p90, line.memory, *[line.energy] * powered]
        cells += [line.speedup, line.score, line.delta, line.reason]
        bold = f"**{name}**" if line.recommended else name
        yield f"| {bold} | " + " | ".join(_escape(cell) for cell in cells) + " |"
    if device.flags:
        yield ""
        yield f"> Measured with: {_escape(', '.join(device.flags))}"
    for failure in device.failures:
        yield ""
        yield f"> {_escape(failure)}"
    yield from _folded("Cold start", _cold(device))
    yield from _folded("Time by operation", _operations(device))


def _cold(device: view.DeviceView) -> Iterator[str]:
    found = cold.table(device)
    if found is not None:
        yield ""
        yield _escape(cold.EXPLAINED)
        yield from _table(["variant", *found.titles], 1, found.rows)


def _operations(device: view.DeviceView) -> Iterator[str]:
    for found in operations.profiled(device):
        rows = [(row.name, row.where, row.type, row.time, row.share) for row in found.rows]
        yield ""
        yield _escape(f"{found.variant}: {found.summary}. Measured apart from the rounds.")
        yield from _table(["operation", "ran as", "format", "time", "share"], 3, rows)


def _folded(title: str, body: Iterable[str]) -> Iterator[str]:
    """What few readers of a pull request open; nothing where there is no body."""
    lines = list(body)
    if lines:
        # Blank lines around make the body Markdown again, which within HTML it would not be.
        yield from ("", f"<details><summary>{title}</summary>", *lines, "", "</details>")


def _table(titles: Sequence[str], words: int, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """words: how many of the first columns are no numbers."""
    yield ""
    yield _row(titles)
    yield "|" + " --- |" * words + " ---: |" * (len(titles) - words)
    yield from (_row(row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", text.plain(value))

"""A run, or a package, as tables for a terminal of 80 columns or more."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgepack.analysis.quality import is_share
from edgepack.model import Comparison, Package, Run, Verdict, VerdictStatus
from edgepack.report import cold, operations, text, view

_VERDICT_STYLE = {
    VerdictStatus.PASS: "bold green",
    VerdictStatus.FAIL: "bold red",
    VerdictStatus.UNMEASURED: "bold yellow",
    VerdictStatus.NONE: "dim",
}
_BESIDE_NAMES = 66
"""Columns that everything but the variants' names takes at its widest."""

_QUANTITY = 9
"""Columns of a memory or an energy."""

_MARK = {VerdictStatus.PASS: "✓", VerdictStatus.FAIL: "✗", VerdictStatus.UNMEASURED: "?"}


def render(
    run: Run, comparison: Comparison, verdict: Verdict, console: Console, *, details: bool = False
) -> None:
    """Print the comparison of every device, then the recommendation and the verdict.

    details: also how long each variant took to begin.
    """
    head = f"{text.plain(run.package.source_name)}  run {text.plain(run.run_id)}"
    console.print(Text(head, style="bold"))
    found = view.devices(run, comparison)
    for device in found:
        _device(device, comparison, console, details=details)
    console.print()
    console.print(Text(view.headline(run, comparison, verdict), style="bold"))
    if comparison.fleet is not None and comparison.fleet.costs:
        _item(console, f"fleet: {text.plain(comparison.fleet.reason)}")
    for device in found:
        if device.recommended:
            said = f"{device.name}: {device.recommended} is {device.reason}"
            if device.reason.startswith(("no ", "the ")):
                said = f"{device.name}: {device.recommended}, {device.reason}"
            _item(console, said)
        else:
            _item(console, f"{device.name}: {device.reason}")
    verdict_lines(verdict, console)


def render_package(package: Package, console: Console) -> None:
    """Print what a package holds."""
    console.print(Text(f"{text.plain(package.source_name)}  package {package.digest[:12]}"))
    table = _table()
    table.add_column("variant", overflow="fold", min_width=8)
    for title in ("size", "gzip", "weights", "zeros", "agreement", "SNR"):
        table.add_column(title, justify="right", no_wrap=True)
    for variant in package.variants:
        agreement = variant.agreement
        top1 = agreement.top1_agreement if agreement else None
        snr = agreement.snr_db if agreement else None
        table.add_row(
            Text(text.plain(variant.name)),
            text.size(variant.bytes),
            text.size(variant.gzip_bytes),
            "–" if variant.params is None else f"{variant.params:,}",
            "–" if variant.sparsity is None else f"{100 * variant.sparsity:.0f}%",
            "–" if top1 is None else f"{100 * top1:.1f}%",
            "–" if snr is None else f"{snr:.0f} dB",
        )
    console.print(table)
    for variant in package.variants:
        for warning in variant.warnings:
            _item(console, f"{text.plain(variant.name)}: {text.plain(warning)}", "yellow")


def render_provenance(package: Package, console: Console) -> None:
    """Print what a package was made from and with, and its release."""
    for variant in package.variants:
        recipe = variant.recipe
        steps = " > ".join(step.name for step in recipe.passes) or "as it is"
        line = f"{variant.name}: {steps}; seed {recipe.seed}; sha256 {variant.sha256}"
        console.print(Text(text.plain(line)))
        for source in (each for report in variant.lineage for each in report.calibration):
            line = (
                f"{variant.name}: calibrated on {source.samples} {source.split} samples of "
                f"{source.device} ({source.runtime}; data {source.data_sha256})"
            )
            console.print(Text(text.plain(line)))
    tools = ", ".join(f"{name} {version}" for name, version in package.tools.items() if version)
    release = package.release
    rows = {
        "source": package.source_sha256,
        "data": package.data_sha256 or "unknown",
        "evaluation data": package.data.sha256 if package.data else "none",
        "tools": tools,
        "release": f"{release.counter} of {release.name}" if release else "not signed",
    }
    for name, value in rows.items():
        console.print(Text(f"{name}: {text.plain(value)}"))


def _device(
    device: view.DeviceView, comparison: Comparison, console: Console, *, details: bool
) -> None:
    console.print()
    title = Text.assemble((device.name, "bold cyan"), f"  {device.profile}")
    console.print(title + Text(f"  {device.setting}" if device.setting else "", style="dim"))
    if device.flags:
        _item(console, f"note: {', '.join(device.flags)}", "yellow")
    measured = [line for line in device.lines if line.ok]
    if measured:
        console.print(_comparison(device, measured, comparison, console))
    for note in device.notes:
        _item(console, note)
    for failure in device.failures:
        _item(console, failure, "red")
    for line in device.lines:
        if line.ok and line.reason and not line.recommended:
            _item(console, f"{line.variant}: {line.reason}", "dim")
        if line.measurement.divergence:
            _item(console, view.divergence(line.measurement.divergence, line.variant), "yellow")
        if line.flags:
            _item(console, f"{line.variant}: {', '.join(line.flags)}", "yellow")
    if details:
        _cold(device, console)
    for line in device.lines:
        if line.measurement.ops:
            _operations(line, console)


def _cold(device: view.DeviceView, console: Console) -> None:
    found = cold.table(device)
    if found is None:
        return
    console.print()
    clock = "; clock: what each latency holds of reading it" * ("clock" in found.titles)
    _item(console, f"cold start of each variant's first process{clock}")
    table = _table()
    table.add_column("variant", overflow="fold", min_width=8)
    for title in found.titles:
        table.add_column(title, justify="right", no_wrap=True)
    for name, *times in found.rows:
        table.add_row(Text(name), *times)
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


_SLOWEST = 8
"""Operations that a profile shows; all of them are in the JSON document."""


def _operations(line: view.Line, console: Console) -> None:
    """The slowest operations, and those that keep the model from being fully accelerated."""
    used, ops = line.measurement.accelerator, line.measurement.ops
    console.print()
    took = sum(op.ns for op in ops) / 1000
    caveat = operations.caveat(line.measurement)
    said = f"{line.variant}: {caveat}{len(ops)} operation{'s' * (len(ops) > 1)}, {took:,.0f} µs"
    formats = text.plain(", ".join(f"{count} {name}" for name, count in used.types.items()))
    _item(console, f"{said}; the file's compute in {formats}" if formats else said)
    if used.ops_left:
        _item(console, f"not accelerated: {', '.join(map(text.plain, used.ops_left))}", "yellow")
    table = _table()
    table.add_column("operation", overflow="fold")
    for title in ("µs", "share", "by"):
        table.add_column(title, justify="right", no_wrap=True)
    for op in sorted(ops, key=lambda op: op.ns, reverse=True)[:_SLOWEST]:
        by = operations.where(op, used.actual)
        table.add_row(Text(text.plain(op.name)), f"{op.ns / 1000:,.1f}", f"{op.share:.1%}", by)
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _comparison(
    device: view.DeviceView, lines: list[view.Line], comparison: Comparison, console: Console
) -> Table:
    # A folded name is hard to read; energy, memory, the distribution and then p90 are what a
    # narrow terminal can do without.
    room = console.width - _BESIDE_NAMES - max(len(line.variant) for line in lines)
    tail = room >= 0
    drawn = room > view.SPARK_BARS and console.encoding.lower().startswith("utf")
    room -= view.SPARK_BARS + 1
    memory = room > _QUANTITY
    energy = room > 2 * _QUANTITY and any(line.energy_mj is not None for line in lines)
    table = _table()
    table.add_column("", width=1)
    table.add_column("variant", overflow="fold", min_width=8)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("p50 ±95% CI", justify="right", no_wrap=True)
    if tail:
        table.add_column("p90", justify="right", no_wrap=True)
    if drawn:
        table.add_column("min to p99", no_wrap=True)
    if memory:
        table.add_column("memory", justify="right", no_wrap=True)
    if energy:
        table.add_column("energy", justify="right", no_wrap=True)
    # As Text: a heading in a str would be read as markup.
    for title in (f"vs {text.plain(comparison.baseline, 12)}", _short(device.metric)):
        table.add_column(Text(title), justify="right", no_wrap=True)
    table.add_column("Δ" + " pts" * _in_points(lines), justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            "→" if line.recommended else "",
            Text(line.variant),
            line.size,
            line.p50,
            *((line.p90,) if tail else ()),
            *((line.spark,) if drawn else ()),
            *((line.memory,) if memory else ()),
            *((line.energy,) if energy else ()),
            line.speedup,
            line.score,
            line.delta,
            style="bold green" if line.recommended else "",
        )
    return table


def _in_points(lines: list[view.Line]) -> bool:
    return all(is_share(line.quality) for line in lines if line.quality)


def _short(metric: str) -> str:
    return {"top-1 accuracy": "top-1", "top-5 accuracy": "top-5"}.get(metric, metric[:9])


def _table() -> Table:
    # Without rules: they cost two columns each, and eight columns must fit into 80.
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def verdict_lines(verdict: Verdict, console: Console) -> None:
    """Print the verdict and the checks that it rests on."""
    console.print(Text(view.verdict(verdict), style=_VERDICT_STYLE[verdict.status]))
    for check in verdict.checks:
        if check.decides:
            style = _VERDICT_STYLE[check.status].replace("bold ", "")
            _item(console, f"{_MARK[check.status]} {view.check(check)}", style)
    for device, names in view.alternatives(verdict).items():
        _item(console, f"{device}: {', '.join(names)} would meet every limit", "dim")


def _item(console: Console, said: str, style: str = "") -> None:
    console.print(Padding(Text(said, style=style), (0, 0, 0, 2), expand=False))

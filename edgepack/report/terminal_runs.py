"""Several runs side by side, and gains by profile, as tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgepack.analysis.across import Baseline
from edgepack.analysis.gains import Gain
from edgepack.model import Run
from edgepack.report import pairs, text

_WITH_MEMORY, _WITH_ENERGY = 96, 108
"""Columns of a terminal from which the table has these, too."""


def render(
    runs: Sequence[Run], baseline: Baseline, groups: Sequence[pairs.Group], console: Console
) -> None:
    """Print which runs these are, then a table a device."""
    for number, run in enumerate(runs, start=1):
        console.print(Text(f"#{number} {named(run)}", style="bold"))
    base = f"run {named(baseline.run)}" if baseline.run else f"variant {baseline.variant}"
    console.print(Text(f"baseline: {text.plain(base)}", style="dim"))
    for group in groups:
        _group(group, len(runs) > 1, console)


def render_against(baseline: Run, groups: Sequence[pairs.Group], console: Console) -> None:
    """Print one run's lines against its baseline run."""
    console.print()
    console.print(Text(f"against run {named(baseline)}", style="bold"))
    for group in groups:
        _group(group, False, console)


def render_gains(baseline: str, gains: Sequence[Gain], console: Console) -> None:
    """Print what each profile gains from each recipe."""
    for profile in dict.fromkeys(gain.profile for gain in gains):
        of = [gain for gain in gains if gain.profile == profile]
        boards = max(gain.boards for gain in of)
        console.print()
        title = Text(text.plain(profile), style="bold cyan")
        console.print(title + Text(f"  {boards} board{'s' * (boards != 1)}", style="dim"))
        table = _table()
        table.add_column("variant", overflow="fold", min_width=8)
        table.add_column(Text(f"faster than {text.plain(baseline, 12)}"), justify="right")
        table.add_column("size", justify="right", no_wrap=True)
        table.add_column("quality Δ", justify="right")
        table.add_column("energy", justify="right", no_wrap=True)
        for gain in of:
            size = "–" if gain.size_ratio is None else f"{100 * gain.size_ratio:.0f}%"
            energy = gain.energy_ratios
            table.add_row(
                Text(text.plain(gain.variant)),
                pairs.spread(gain),
                size,
                pairs.changes(gain),
                f"{100 * energy[-1]:.0f}%" if energy else "–",
            )
        console.print(table)
        for gain in of:
            for note in gain.notes:
                _item(console, f"{text.plain(gain.variant)}: {text.plain(note)}")


def named(run: Run) -> str:
    """A run's id, model and tags, clean."""
    tags = f" [{', '.join(run.tags)}]" if run.tags else ""
    return text.plain(f"{run.run_id}  {run.package.source_name}{tags}", 76)


def _group(group: pairs.Group, numbered: bool, console: Console) -> None:
    console.print()
    title = Text.assemble((group.device, "bold cyan"), f"  {group.profile}")
    console.print(title + Text(f"  {group.setting}" if group.setting else "", style="dim"))
    table = _table()
    if numbered:
        table.add_column("run", no_wrap=True)
    table.add_column("variant", overflow="fold", min_width=8)
    # What a narrow terminal can do without.
    memory = console.width >= _WITH_MEMORY
    energy = console.width >= _WITH_ENERGY and any(line.energy != "–" for line in group.lines)
    titles = ("size", "p50 ±95% CI", *("memory",) * memory, *("energy",) * energy)
    for name in (*titles, "vs baseline", "quality", "Δ"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in group.lines:
        cells = (line.size, line.p50, *(line.memory,) * memory, *(line.energy,) * energy)
        cells += (line.against, line.score, line.delta)
        table.add_row(*((line.run,) if numbered else ()), Text(line.variant), *cells)
    console.print(table)
    for line in group.lines:
        if line.note:
            label = f"{line.run} {line.variant}" if numbered else line.variant
            _item(console, f"{label}: {line.note}")


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def _item(console: Console, said: str) -> None:
    console.print(Padding(Text(said, style="dim"), (0, 0, 0, 2), expand=False))

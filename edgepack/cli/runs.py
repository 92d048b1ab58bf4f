"""`edgepack runs`: the history."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack import config
from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.store import RunSummary

_DEVICES = 3
"""Names of devices that a list of runs shows; the others are counted."""


@click.group()
def runs() -> None:
    """The history: list, show, name, export and import stored runs; trends over them."""


@runs.command("ls")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@options.json_option
def list_runs(limit: int, as_json: bool) -> None:
    """List the newest runs first."""
    from dataclasses import asdict

    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        found = store.list(limit)
    if as_json:
        rows = [asdict(summary) for summary in found]
        click.echo(json.dumps({"schema": "edgepack.runs/1", "runs": rows}, indent=1))
        return
    if not found:
        click.echo("No runs yet. Make one: edgepack demo", err=True)
    # On a terminal a run is one line, however long its note; in a file it is whole.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for summary in found:
        line = _line(summary)
        click.echo(line if width is None or len(line) <= width else f"{line[: width - 1]}…")


def _line(summary: RunSummary) -> str:
    from edgepack.report.text import plain

    named, more = summary.devices[:_DEVICES], len(summary.devices) - _DEVICES
    parts = [
        summary.run_id,
        plain(summary.source_name, 40),
        f"on {', '.join(named)}" + (f" and {more} more" if more > 0 else ""),
        f"({summary.measured} of {summary.total} measured)"
        if summary.measured < summary.total
        else "",
        f"[{', '.join(summary.tags)}]" if summary.tags else "",
        summary.git_branch or "",
        plain(summary.note, 40),
    ]
    return "  ".join(plain(part) for part in parts if part)


@runs.command("show")
@click.argument("run", default="latest")
@options.json_option
def show_run(run: str, as_json: bool) -> None:
    """Show one run (an id, a unique prefix, a tag, latest, latest~1, branch:NAME)."""
    from edgepack.cli import outcome, stored

    outcome.show(*stored.load(run), as_json=as_json)


@runs.command("tag")
@click.argument("run")
@click.argument("tag")
def tag_run(run: str, tag: str) -> None:
    """Give RUN a name that other commands understand."""
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        store.tag(run, tag)
    click.echo(f"{run} is now also '{tag}'")


@runs.command("note")
@click.argument("run")
@click.argument("text")
def note_run(run: str, text: str) -> None:
    """Replace the note of RUN; an empty TEXT removes it."""
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        run_id = store.note(run, text)
    click.echo(f"noted at {run_id}")


@runs.command("trend")
@click.option("--variant", metavar="V", help="Only this variant.")
@click.option("--device", metavar="D", help="Only this device.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True,
    help="The newest runs that measured it.",
)  # fmt: skip
@options.json_option
def trend(variant: str | None, device: str | None, limit: int, as_json: bool) -> None:
    """Show p50, quality and bytes over runs, and where they changed; like only with like."""
    from edgepack.analysis import trends
    from edgepack.report import trend as report
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        found = trends.series(store.history(limit, variant=variant, device=device))
    if as_json:
        click.echo(json.dumps(report.document(found), indent=1, allow_nan=False))
        return
    if not found:
        click.echo("Nothing of that kind was measured yet. See: edgepack runs ls", err=True)
    # A terminal of another encoding could not show the bars of a sparkline.
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    for line in report.lines(found, unicode=unicode):
        click.echo(line)


@runs.command("export")
@click.argument("run", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; mlflow: its URI.")
@click.option(
    "--format", "kind", default="archive", show_default=True, metavar="FORMAT",
    help="archive (for 'runs import'), csv, parquet, mlflow, or another installed exporter.",
)  # fmt: skip
def export_runs(run: tuple[str, ...], output: str, kind: str) -> None:
    """Write each RUN to one file, or to another tool."""
    from edgepack import exporters
    from edgepack.store import open_store

    export = exporters.load(kind)
    with open_store(config.store_url()) as store:
        found = {one.run_id: one for one in map(store.load, run)}
    click.echo(f"{output}: {export(list(found.values()), output)}")


@runs.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_runs(file: Path) -> None:
    """Store the runs of FILE, made by 'runs export'; all of them, or none."""
    from edgepack.exporters import archive
    from edgepack.store import open_store

    given = archive.read(file)
    with open_store(config.store_url()) as store:
        fresh = [run for run in given if not store.holds(run)]
        store.save_all(fresh)
    held = len(given) - len(fresh)
    click.echo(f"{len(fresh)} stored" + (f", {held} stored already" if held else ""))


@runs.command("rm")
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_run(run: str, yes: bool) -> None:
    """Remove one run and its samples."""
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        found = store.load(run)
        if not yes:
            _confirm(f"Remove run {found.run_id} for good?")
        store.remove(found.run_id)
    click.echo(f"removed {found.run_id}")


def _confirm(question: str) -> None:
    """Ask the person at the terminal and stop on a no; elsewhere --yes has to say it."""
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked without a terminal: give --yes.")
    click.confirm(question, abort=True)

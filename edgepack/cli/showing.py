"""What a measuring command shows while it works and when it is done: the options for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.model import Event
    from edgepack.pipeline import Outcome


@dataclass(frozen=True, kw_only=True)
class Showing:
    """The values of the options below, by their names."""

    as_json: bool
    quiet: bool
    verbose: int
    report_file: str | None
    events: bool = False
    watch: bool = False

    def check(self) -> None:
        """Before anything is measured: a usage error where two of them want the same place, EP105
        and EP603 for a report that could not be written."""
        from edgepack.cli.report import check_file

        if self.as_json and self.events:
            raise click.UsageError("--json and --events both want standard output; choose one.")
        if self.report_file:
            check_file(self.report_file)

    def of(self, command: str, work: Callable[[Callable[[Event], None]], Outcome]) -> int:
        """Do the work, show its outcome, write the report; returns the exit code."""
        from edgepack.cli import outcome, progress
        from edgepack.cli.report import write

        watched = progress.watch(quiet=self.quiet, verbose=self.verbose, events=self.events)
        with watched as emit, progress.page(f"edgepack {command}", emit, wanted=self.watch) as told:
            result = work(told)
        if not self.events:
            outcome.show_conclusion(result, as_json=self.as_json, details=self.verbose > 0)
        if self.report_file:
            write(result, self.report_file)
        return int(outcome.exit_code(result))


showing_options = options.grouped(
    "showing",
    Showing,
    click.option(
        "--report",
        "report_file",
        metavar="FILE",
        help="Also write the report: *.html, .md, .xml (JUnit) or .json.",
    ),
    click.option(
        "--watch", is_flag=True, help="Show the run on a page of this machine as it goes."
    ),
    options.json_option,
    click.option(
        "--events", is_flag=True, help="Stream progress as JSON lines to standard output."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="More of what happens, also the agents' logs, and how long variants take to start.",
    ),
)

naming_options = options.stack(
    click.option("--tag", "tags", multiple=True, help="Name this run; may be repeated."),
    click.option("--note", default="", help="A sentence to keep with the run."),
)

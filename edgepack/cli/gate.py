"""`edgepack gate`: a stored run against budgets and rules, for release pipelines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options, stored

if TYPE_CHECKING:
    from edgepack.concluding import Conclusion


@click.command()
@stored.run_argument
@click.option("--budget", metavar="FILE", help="The TOML file of limits.")
@stored.fail_on_option
@stored.baseline_option
@click.option("--junit", metavar="FILE", help="Also write the checks as JUnit XML.")
@click.option("--markdown", metavar="FILE", help="Also write a comment for a pull request.")
@click.option(
    "--github",
    is_flag=True,
    help="Also print GitHub annotations, and append to $GITHUB_STEP_SUMMARY.",
)
@options.json_option
def gate(
    run: str,
    budget: str | None,
    fail_on: tuple[str, ...],
    baseline: str,
    junit: str | None,
    markdown: str | None,
    github: bool,
    as_json: bool,
) -> int:
    """Hold RUN against limits: exit 0 when they are met, 1 when not, 4 when it can't be said.

    \b
    edgepack gate latest --budget budget.toml --junit gate.xml
    edgepack gate latest --baseline v1.2 --fail-on 'latency_p90>5%' --fail-on 'quality>1%'
    """
    from edgepack.analysis import limits
    from edgepack.cli import outcome

    if budget is None and not fail_on:
        raise click.UsageError("Give --budget FILE, or a --fail-on rule: nothing else can fail.")
    rules = (*(options.budgets(budget) if budget else ()), *limits.fail_on(fail_on))
    found = stored.conclusion(run, baseline=baseline, budgets=rules)
    _write(found, junit, markdown)
    if github:
        _tell_github(found, to_stderr=as_json)
    outcome.show_conclusion(found, as_json=as_json)
    return int(outcome.verdict_code(found.verdict))


def _write(found: Conclusion, junit: str | None, markdown: str | None) -> None:
    from edgepack.cli.report import rendered, write_text

    for file, ending in ((junit, ".xml"), (markdown, ".md")):
        if file:
            write_text(Path(file), rendered(ending, found))


def _tell_github(found: Conclusion, *, to_stderr: bool) -> None:
    """Annotations on the stream that is no document, and the summary page. EP603."""
    from edgepack.cli.report import append_text, rendered
    from edgepack.report import github

    for line in github.commands(found.run, found.verdict):
        click.echo(line, err=to_stderr)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        append_text(Path(summary), rendered(".md", found))
    else:
        click.echo("GITHUB_STEP_SUMMARY is not set: no summary page was written.", err=True)

"""`edgepack doctor`: is this machine fit to build and measure from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.doctor import Finding

_SIGNS = {"UNKNOWN": "?", "OK": "ok", "WARN": "warn", "FAIL": "FAIL"}


@click.command()
@options.json_option
def doctor(as_json: bool) -> int:
    """Say whether this machine has what edgepack needs; boards: edgepack device doctor.

    Exit code 2 when a check fails.
    """
    from edgepack.doctor import Level, host, rows
    from edgepack.errors import ExitCode

    findings = host.examine()
    worst = max(finding.level for finding in findings)
    if as_json:
        document = {
            "schema": "edgepack.host/1",
            "status": worst.name.lower(),
            "checks": rows(findings),
        }
        click.echo(json.dumps(document, indent=1))
    else:
        show_findings(findings)
    return int(ExitCode.USAGE if worst is Level.FAIL else ExitCode.OK)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print checks as lines; what a board said is shown without its control characters."""
    from edgepack.report.text import plain

    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        found = plain(f"{finding.check:{width}}  {finding.found}")
        click.echo(f"  {_SIGNS[finding.level.name]:4}  {found}")
        if finding.todo:
            click.echo(f"        {'':{width}}  -> {plain(finding.todo)}")

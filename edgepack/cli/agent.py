"""`edgepack agent`: the program that runs on devices."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def agent() -> None:
    """Export the device agent."""


@agent.command("export")
@click.option("-o", "--output", required=True, metavar="FILE.pyz", help="File to write.")
def export_agent(output: str) -> None:
    """Write the agent as one zipapp: the same bytes that are pushed to devices."""
    from edgepack.agent import bundle

    made = bundle()
    Path(output).write_bytes(made.data)
    click.echo(f"{output}: {len(made.data)} bytes, SHA-256 {made.sha256}")

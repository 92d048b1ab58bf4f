"""`edgepack plugin`: what other packages add."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from edgepack.cli import options


@click.group()
def plugin() -> None:
    """List what edgepack and other packages plug in."""


@plugin.command("ls")
@options.json_option
def list_plugins(as_json: bool) -> None:
    """List plug-ins by kind; one that cannot be used is shown with the reason."""
    from edgepack import plugged, plugins

    found = plugged.listing()
    if as_json:
        rows = [asdict(each) | {"available": each.error is None} for each in found]
        document = {"schema": "edgepack.plugins/1", "groups": dict(plugins.GROUPS), "plugins": rows}
        click.echo(json.dumps(document, indent=1))
        return
    for group, meaning in plugins.GROUPS.items():
        click.echo(f"{group}   {meaning}")
        width = max((len(each.name) for each in found), default=0)
        for each in (each for each in found if each.group == group):
            click.echo(f"  {each.name:{width}}  {each.package} {each.version}")
            if each.error is not None:
                click.echo(f"  {'':{width}}  unavailable: {each.error}")

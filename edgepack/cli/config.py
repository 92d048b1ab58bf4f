"""`edgepack config`: settings and where they come from."""

from __future__ import annotations

import json

import click

from edgepack import config as settings
from edgepack.cli import options


@click.group()
def config() -> None:
    """Show settings and where they come from."""


@config.command("show")
@options.json_option
def show_config(as_json: bool) -> None:
    """Show the folders in use and every setting with the file it comes from."""
    places = {
        "config": str(settings.config_dir()),
        "cache": str(settings.cache_dir()),
        "data": str(settings.data_dir()),
        "store": settings.without_password(settings.store_url()),
        "devices": str(settings.devices_file()),
    }
    rows = [
        {"setting": f"{command}.{option}", "value": value, "file": str(file)}
        for file, tables in settings.settings_files()
        for command, values in tables.items()
        for option, value in values.items()
    ]
    if as_json:
        document = {"schema": "edgepack.config/1", "places": places, "settings": rows}
        click.echo(json.dumps(document, indent=1))
        return
    for name, place in places.items():
        click.echo(f"{name:8} {place}")
    for row in rows:
        click.echo(f"{row['setting']} = {json.dumps(row['value'])}   ({row['file']})")

"""`edgepack profile`: the kinds of hardware edgepack knows."""

from __future__ import annotations

import json

import click

from edgepack import config
from edgepack.cli import options
from edgepack.errors import EdgepackError


@click.group()
def profile() -> None:
    """List, show and check hardware profiles."""


@profile.command("ls")
@options.json_option
def list_profiles(as_json: bool) -> None:
    """List the shipped profiles, your own (in <config>/profiles) and those of plug-ins."""
    found = []
    for name in config.profile_names():
        try:
            found.append(config.load_profile(name))
        except EdgepackError as error:
            if error.code != "EP109":  # a file is the user's to correct, a plug-in is not
                raise
            click.echo(error.what, err=True)
    if as_json:
        rows = [{"name": entry.name, "title": entry.title} for entry in found]
        click.echo(json.dumps({"schema": "edgepack.profiles/1", "profiles": rows}, indent=1))
        return
    width = max(len(entry.name) for entry in found)
    for entry in found:
        click.echo(f"{entry.name:{width}}  {entry.title}")


@profile.command("show")
@click.argument("name", shell_complete=options.complete_profile)
@options.json_option
def show_profile(name: str, as_json: bool) -> None:
    """Show one profile with everything it inherits filled in."""
    from dataclasses import asdict

    entry = config.load_profile(name)
    if as_json:
        document = {"schema": "edgepack.profile/1", **asdict(entry)}
        click.echo(json.dumps(document, indent=1))
        return
    runtimes = [f"{r.name}=={r.version}" if r.version else r.name for r in entry.runtimes]
    click.echo(f"{entry.name}: {entry.title}")
    click.echo(f"  architecture  {', '.join(entry.arch)}")
    click.echo(f"  runtimes      {', then '.join(runtimes)}")
    click.echo(f"  threads       {entry.threads}")
    without = "" if entry.xnnpack else ", without XNNPACK"
    click.echo(f"  accelerator   {entry.accelerator}{without}")
    if entry.memory_limit_bytes is not None:
        limit = f"{entry.memory_limit_bytes:,} bytes" if entry.memory_limit_bytes else "no limit"
        click.echo(f"  memory        {limit}")
    click.echo(f"  probes        {', '.join(entry.probes)}")
    click.echo(f"  channels      in multiples of {entry.channel_multiple}")
    for limit, value in entry.budget.items():
        click.echo(f"  budget        {limit} = {value}")
    if entry.notes:
        click.echo(f"  note          {entry.notes}")


@profile.command("validate")
@click.argument("names", nargs=-1)
def validate_profiles(names: tuple[str, ...]) -> None:
    """Check the named profiles, or all of them."""
    for name in names or config.profile_names():
        config.load_profile(name)
        click.echo(f"{name}: ok")

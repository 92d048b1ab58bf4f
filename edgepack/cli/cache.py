"""`edgepack cache`: builds that are kept so that they need not be made again."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import click

from edgepack import config
from edgepack.cli import options


@click.group()
def cache() -> None:
    """List and prune cached builds."""


def _entries() -> list[tuple[Path, int, float]]:
    """Every cached thing with its bytes and the time it was last used, oldest first."""
    found = []
    for kind in sorted(config.cache_dir().glob("*")):
        for entry in kind.iterdir() if kind.is_dir() else ():
            files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
            found.append((entry, sum(f.stat().st_size for f in files), entry.stat().st_mtime))
    return sorted(found, key=lambda entry: entry[2])


@cache.command("ls")
@options.json_option
def list_cache(as_json: bool) -> None:
    """List what is cached, the oldest first."""
    root = config.cache_dir()
    rows = [
        {"path": str(entry.relative_to(root)), "bytes": size, "age_days": _age(modified)}
        for entry, size, modified in _entries()
    ]
    if as_json:
        click.echo(json.dumps({"schema": "edgepack.cache/1", "entries": rows}, indent=1))
        return
    for row in rows:
        click.echo(f"{row['bytes']:>12,}  {row['age_days']:>6} d  {row['path']}")
    click.echo(f"{len(rows)} entries in {root}", err=True)


def _age(modified: float) -> float:
    return round((time.time() - modified) / 86400, 1)


@cache.command("prune")
@click.option(
    "--older-than",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Remove what was made more than this many days ago; 0 removes everything.",
)
def prune_cache(older_than: float) -> None:
    """Remove old cached builds. They are made again when they are needed."""
    freed = 0
    for entry, size, modified in _entries():
        if older_than == 0 or time.time() - modified > older_than * 86400:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            freed += size
    click.echo(f"freed {freed:,} bytes")

"""`edgepack recipe`: what can be done to a model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.model import Recipe


@click.group()
def recipe() -> None:
    """List, show and check recipes."""


@recipe.command("ls")
@options.json_option
def list_recipes(as_json: bool) -> None:
    """List built-in recipe names; a name is also parsed by the grammar shown here."""
    from edgepack.compress import recipes

    if as_json:
        document = {"schema": "edgepack.recipes/1", "recipes": recipes.names()}
        click.echo(json.dumps(document, indent=1))
        return
    for name in recipes.names():
        click.echo(name)


@recipe.command("show")
@click.argument("name")
@options.json_option
def show_recipe(name: str, as_json: bool) -> None:
    """Show the passes of a recipe: a name, a TOML file, or SEARCH/TRIAL."""
    from edgepack import codec

    found = _found(name)
    if as_json:
        document = {"schema": "edgepack.recipe/1", **codec.to_json(found)}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"name = {_toml(found.name)}\nseed = {found.seed}")
    for step in found.passes:
        click.echo(f"\n[[pass]]\nname = {_toml(step.name)}")
        for key, value in step.params.items():
            click.echo(f"{key} = {_toml(value)}")


def _found(name: str) -> Recipe:
    """The recipe of a name or file, or of a trial of a search. EP102, EP601."""
    from edgepack.compress import recipes

    trial = re.fullmatch(r"([^/]+)/t?(\d+)", name)
    if trial is None:
        return recipes.parse(name)
    from edgepack.searching.study import Study

    return Study.open(trial[1]).recipe(int(trial[2]))


def _toml(value: Any) -> str:
    """A parameter as TOML writes it; a table in one line."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))} = {_toml(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    return json.dumps(value)


@recipe.command("validate")
@click.argument("names", nargs=-1, required=True)
def validate_recipes(names: tuple[str, ...]) -> None:
    """Check recipe names or TOML files without building anything."""
    from edgepack.compress import recipes

    for name in names:
        recipes.parse(name)
        click.echo(f"{name}: ok")

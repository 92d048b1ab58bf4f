"""Every command's help."""

from __future__ import annotations

import inspect
import re

import click
import pytest

from edgepack.cli.main import cli


def texts(command: click.Command = cli, path: str = "edgepack") -> list[tuple[str, str]]:
    """(path, what the code says in its help) of a command and all below it."""
    context = click.Context(command, info_name=path)
    options = [p.help or "" for p in command.params if isinstance(p, click.Option)]
    found = [(path, "\n".join([inspect.cleandoc(command.help or ""), *options]))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += texts(child, f"{path} {name}")
    return found


@pytest.mark.parametrize(("path", "text"), texts())
def test_help_has_no_gaps_in_its_lines(path: str, text: str) -> None:
    """As a line continued in the source leaves; remarks beside examples and defaults may stand
    apart."""
    gaps = [line for line in text.splitlines() if re.search(r"\S {2,}(?![#\[ ])", line)]
    assert gaps == [], path

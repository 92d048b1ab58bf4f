"""`edgepack completion`: the script that teaches a shell edgepack's words."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL: commands, options, devices and profiles.

    \b
    eval "$(edgepack completion bash)"   # in ~/.bashrc
    eval "$(edgepack completion zsh)"    # in ~/.zshrc
    edgepack completion fish > ~/.config/fish/completions/edgepack.fish
    """
    from click.shell_completion import get_completion_class

    from edgepack.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(cli, {}, "edgepack", "_EDGEPACK_COMPLETE").source())

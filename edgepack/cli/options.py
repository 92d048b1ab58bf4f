"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any, TypeVar

import click

from edgepack import config
from edgepack.selection import budgets as budgets
from edgepack.selection import recipes as recipes
from edgepack.selection import targets as targets

F = TypeVar("F", bound=Callable[..., Any])


def stack(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator that applies all of these; the first one's option is listed first."""
    return lambda command: functools.reduce(
        lambda done, wrap: wrap(done), decorators[::-1], command
    )


def grouped(
    name: str, kind: type[Any], *decorators: Callable[[Callable[..., int]], Callable[..., int]]
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """One decorator for all of these options, whose values come as one argument: a `kind`, a
    dataclass with a field for each."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        names = [field.name for field in fields(kind)]

        @functools.wraps(command)
        def collected(**values: Any) -> int:
            together = kind(**{each: values.pop(each) for each in names})
            return command(**{name: together}, **values)

        return stack(*decorators)(collected)

    return decorate


def _complete_device(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    from edgepack.registry import Registry

    known = Registry(config.devices_file()).all()
    words = [each.name for each in known] + [f"tag:{tag}" for each in known for tag in each.tags]
    return [word for word in dict.fromkeys(words) if word.startswith(typed)]


def complete_profile(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """The profiles that begin with what was typed."""
    return [name for name in config.profile_names() if name.startswith(typed)]


def _complete_recipe(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    from edgepack.compress import recipes

    return [name for name in recipes.names() if name.startswith(typed)]


_DATASET = (
    "Dataset: an .npz or a folder of class folders of images (or the URL of one), or "
    "module:function"
)
data_option = click.option(
    "--data",
    metavar="D",
    help=f"{_DATASET}; device:/PATH for an .npz that is on the devices and stays there. "
    "Without it, inputs are seeded random ones and quality is agreement with the source.",
)
host_data_option = click.option(
    "--data", metavar="D", help=f"{_DATASET}. Without it, quality is not judged."
)
recipe_option = click.option(
    "-r",
    "--recipe",
    "recipe",
    multiple=True,
    metavar="RECIPE",
    shell_complete=_complete_recipe,
    help="A recipe's name (see 'edgepack recipe ls') or TOML file; may be repeated.",
)
device_option = click.option(
    "-d",
    "--device",
    "device",
    multiple=True,
    metavar="DEVICE",
    shell_complete=_complete_device,
    help="A device's name or glob, tag:NAME or profile:NAME; may be repeated. Default: local.",
)
signature_options = stack(
    click.option(
        "--require-signed",
        is_flag=True,
        help="Only a package signed by an allowed signer may go to a device, which verifies it "
        "too before it measures.",
    ),
    click.option(
        "--allowed-signers",
        metavar="FILE",
        help="Who may sign, in OpenSSH's format; default: the device's own file.",
    ),
    click.option(
        "--allow-rollback",
        is_flag=True,
        help="Take a signed package older than the newest one accepted.",
    ),
)
calibrate_option = click.option(
    "--calibrate-on-device",
    is_flag=True,
    help="With --data device:/PATH: the devices run the float model over their own data and tell "
    "the range of each activation; the data stay there.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
custom_option = click.option(
    "--allow-custom-objects",
    metavar="MODULE",
    help="Import MODULE for the model's custom objects and let its Lambda layers run.",
)

source_options = stack(
    click.argument("model", required=False),
    click.option(
        "--weights",
        metavar="FILE.h5",
        help="Instead of MODEL: weights for the network that --arch makes.",
    ),
    click.option(
        "--arch",
        metavar="MODULE:FUNCTION",
        help="Import MODULE from here and call FUNCTION for the built network of --weights.",
    ),
)


def source(model: str | None, weights: str | None, arch: str | None) -> tuple[str, str | None]:
    """The file to read and the architecture it needs: MODEL, or --weights with --arch."""
    if (weights is None) != (arch is None):
        raise click.UsageError("--weights and --arch go together.")
    if (model is None) == (weights is None):
        raise click.UsageError("Give either MODEL or --weights with --arch.")
    return str(model or weights), arch


def only_with(allowed: Collection[str], option: str, because: str) -> None:
    """Refuse what the current command would ignore beside `option`."""
    names = {str(parameter.name) for parameter in click.get_current_context().command.params}
    not_with(names.difference(allowed), option, because)


def not_with(names: Collection[str], option: str, because: str) -> None:
    """Refuse those of these parameters that the command line gives beside `option`."""
    from click.core import ParameterSource

    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in names:
            raise click.UsageError(
                f"{parameter.get_error_hint(context)} cannot be given with {option}: {because}."
            )

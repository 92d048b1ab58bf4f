"""The `edgepack` command: loads a subcommand's module only when it is called.

So `edgepack --help` imports click and nothing heavier. Every error a user can cause ends
here as one message with its code, and as one of the exit codes of `errors.ExitCode`.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from edgepack import __version__
from edgepack.cli import pipes
from edgepack.errors import Abandoned, EdgepackError, ExitCode, did_you_mean

_ALLOCATIONS = 50_000
"""Between two looks for garbage in cycles. Python's 700 are a tenth of a short command's time,
most of which is imports: they make many objects and no garbage."""

# name -> (module, attribute, help shown in the list): the list must not import the modules.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("edgepack.cli.demo", "demo", "Run the bundled Fashion-MNIST example, start to end."),
    "run": ("edgepack.cli.run", "run", "Build variants, measure them on devices, compare."),
    "build": ("edgepack.cli.build", "build", "Build a package of TFLite variants."),
    "search": ("edgepack.cli.search", "search", "Find the variant that meets a budget."),
    "inspect": (
        "edgepack.cli.inspect",
        "inspect",
        "Show what is in a model: layers, sizes, quantization, ops.",
    ),
    "bench": ("edgepack.cli.bench", "bench", "Measure an existing package on devices."),
    "push": ("edgepack.cli.push", "push", "Bring a package's files to devices ahead of time."),
    "compare": ("edgepack.cli.compare", "compare", "Show a stored run as a comparison."),
    "gate": ("edgepack.cli.gate", "gate", "Hold a stored run against a budget."),
    "report": ("edgepack.cli.report", "report", "Write a stored run as HTML, Markdown or JUnit."),
    "runs": ("edgepack.cli.runs", "runs", "The history: list, tag, export, import, trends."),
    "device": (
        "edgepack.cli.device",
        "device",
        "Register devices, pin host keys, check them, bring runtimes.",
    ),
    "profile": ("edgepack.cli.profile", "profile", "List, show and check hardware profiles."),
    "recipe": ("edgepack.cli.recipe", "recipe", "List, show and check recipes."),
    "package": ("edgepack.cli.package", "package", "Show and verify a package."),
    "agent": ("edgepack.cli.agent", "agent", "Export the device agent."),
    "cache": ("edgepack.cli.cache", "cache", "List and prune cached builds."),
    "plugin": ("edgepack.cli.plugin", "plugin", "List plug-ins, and why one is unavailable."),
    "config": ("edgepack.cli.config", "config", "Show settings and where they come from."),
    "doctor": ("edgepack.cli.doctor", "doctor", "Say whether this machine is fit for the work."),
    "completion": (
        "edgepack.cli.completion",
        "completion",
        "Print a shell's completion script.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order a new user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, with the nearest command named when there is none."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"No such command '{args[0]}'. {did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Like click's, which takes every broken pipe for our output's and ends with 1 silently.

        Ours never break (`pipes`), and 1 is a failed gate.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise RuntimeError("a broken pipe that is none of our output") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from `COMMANDS` alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "EDGEPACK"},
    epilog="Exit codes: 0 ok, 1 gate failed, 2 usage or configuration, 3 build failed, "
    "4 a device failed or could not be measured, 70 a bug in edgepack, 130 interrupted.",
)
@click.version_option(__version__, prog_name="edgepack")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compress Keras models to small, fast TFLite; measure them on your own devices; decide.

    Start with: edgepack demo
    """
    if ctx.resilient_parsing:
        return
    from edgepack import config

    config.make_private()
    ctx.default_map = config.defaults()


def say_error(error: EdgepackError) -> None:
    """The error as a person reads it: what, where, what to try; on standard error.

    A device or a file may have written a part of it, so every line is cleaned.
    """
    click.echo(f"error {error.code}: {_clean(error.what)}", err=True)
    if error.where:
        click.echo(f"  where: {_clean(error.where)}", err=True)
    click.echo(f"  try:   {_clean(error.hint)}", err=True)


def _clean(text: str, most: int = 40) -> str:
    from edgepack.report.text import lines

    return "\n".join(lines(text, most))


def _bug(error: BaseException) -> int:
    import traceback

    # A device may have written a part of this, too.
    click.echo(_clean("".join(traceback.format_exception(error)), most=1000), err=True)
    click.echo(
        f"edgepack {__version__} met a bug of its own ({type(error).__name__}). Nothing that was "
        "reported as saved is lost. Please report the lines above.",
        err=True,
    )
    return int(ExitCode.BUG)


def main(args: list[str] | None = None) -> Any:
    """Run the command line and exit the process with one of `errors.ExitCode`."""
    gc.set_threshold(_ALLOCATIONS)
    pipes.outlive_readers()
    sys.exit(_run(args))


def _run(args: list[str] | None) -> int:
    try:
        result = cli.main(args=args, prog_name="edgepack", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except EdgepackError as error:
        say_error(error)
        return int(error.exit_code)
    except click.ClickException as error:
        error.show()
        return int(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__ or error, Abandoned):
            os._exit(int(ExitCode.INTERRUPTED))  # without waiting for what is under way
        click.echo("interrupted", err=True)
        return int(ExitCode.INTERRUPTED)
    except Exception as error:  # the boundary: whatever is left is a bug
        return _bug(error)


if __name__ == "__main__":
    main()

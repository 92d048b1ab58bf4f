"""`edgepack bench`: measure a package that is there already."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edgepack.cli import options
from edgepack.cli.measuring import Measuring, measuring_options


@click.command()
@click.argument("package")
@click.option(
    "--data",
    metavar="device:/PATH",
    help="Judge by this .npz on the devices, which stays there, not by the package's data.",
)
@measuring_options
@options.json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", count=True, help="More of what happens.")
def bench(
    package: str,
    data: str | None,
    measuring: Measuring,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Measure PACKAGE, a folder or bundle made by 'edgepack build', on devices.

    \b
    edgepack bench package/ -d pi4 -d jetson
    """
    from edgepack import package as packages
    from edgepack import pipeline, plan
    from edgepack.cli import outcome, progress

    if data is not None and not data.startswith(plan.ON_DEVICE):
        raise click.UsageError("--data of bench is device:/PATH; a package has its own data.")
    wanted = plan.make(
        model=package,
        data=data,
        recipes=(),
        **measuring.plan(),
    )
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        opened, directory = packages.opened(Path(package), Path(scratch))
        with progress.watch(quiet=quiet, verbose=verbose) as emit:
            result = pipeline.bench(opened, directory, wanted, emit=emit)
    outcome.show_conclusion(result, as_json=as_json)
    return int(outcome.exit_code(result))

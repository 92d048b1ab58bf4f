"""`edgepack bench`: measure a package that is there already."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edgepack.cli.measuring import Measuring, measuring_options
from edgepack.cli.showing import Showing, naming_options, showing_options


@click.command()
@click.argument("package")
@click.option(
    "--data",
    metavar="device:/PATH",
    help="Judge by this .npz on the devices, which stays there, not by the package's data.",
)
@measuring_options
@naming_options
@showing_options
def bench(
    package: str,
    data: str | None,
    measuring: Measuring,
    tags: tuple[str, ...],
    note: str,
    showing: Showing,
) -> int:
    """Measure PACKAGE, a folder or bundle made by 'edgepack build', on devices.

    \b
    edgepack bench package/ -d pi4 -d jetson
    """
    from edgepack import package as packages
    from edgepack import pipeline
    from edgepack import plan as plans
    from edgepack.store.refs import check_tag

    showing.check()
    if data is not None and not data.startswith(plans.ON_DEVICE):
        raise click.UsageError("--data of bench is device:/PATH; a package has its own data.")
    for tag in tags:
        check_tag(tag)  # before anything is measured, not when it is saved
    plan = plans.make(
        model=package, data=data, recipes=(), **measuring.plan(), tags=tags, note=note
    )
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        opened, directory = packages.opened(Path(package), Path(scratch))
        return showing.of("bench", lambda emit: pipeline.bench(opened, directory, plan, emit=emit))

"""`edgepack package rebuild`: build a package again from its manifest, and compare."""

from __future__ import annotations

from pathlib import Path

import click

from edgepack.cli import options
from edgepack.errors import EdgepackError


@click.command("rebuild")
@click.argument("path", metavar="DIR")
@options.source_options
@options.data_option
@options.custom_option
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder to write the new one.")
def rebuild_package(
    path: str,
    model: str | None,
    weights: str | None,
    arch: str | None,
    data: str | None,
    allow_custom_objects: str | None,
    output: str,
) -> None:
    """Build the package in DIR again from MODEL with the recipes of its manifest, and compare.

    With the same model, data and tool versions it gives the same bytes. The exit code is 3
    when it does not; what differs is named.
    """
    from edgepack import package, pipeline, plan
    from edgepack.cli import progress
    from edgepack.model import JobSettings

    old = package.read(Path(path))
    names = package.calibrated_on(old.variants)
    if names:
        raise EdgepackError(
            "EP105",
            f"it was calibrated with data that only {', '.join(names)} have",
            where=path,
            hint="Build it again with --calibrate-on-device and compare the files' SHA-256.",
        )
    source, arch = options.source(model, weights, arch)
    wanted = plan.make(
        model=source,
        data=data,
        recipes=[variant.recipe for variant in old.variants if variant.recipe.passes],
        targets=(),
        settings=JobSettings(),
        allow_custom_objects=allow_custom_objects,
        arch=arch,
    )
    with progress.watch(quiet=True, verbose=0) as emit:
        new, _ = pipeline.build(wanted, Path(output), emit=emit)
    package.check_same(old, new)
    click.echo(f"the same bytes: {len(new.variants)} variants")

"""`edgepack build`: a package of TFLite variants, without measuring anything."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgepack.cli import options


@click.command()
@options.source_options
@options.data_option
@options.calibrate_option
@click.option(
    "-d",
    "--device",
    "device",
    multiple=True,
    metavar="DEVICE",
    help="With --calibrate-on-device: a device that has the data, by name, glob, tag:NAME or "
    "profile:NAME; may be repeated. Default: local.",
)
@options.recipe_option
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder to write, or replace.")
@click.option("--bundle", metavar="FILE", help="Also write the package as this one file.")
@options.custom_option
@options.json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", count=True, help="More of what happens.")
def build(
    model: str | None,
    weights: str | None,
    arch: str | None,
    data: str | None,
    calibrate_on_device: bool,
    device: tuple[str, ...],
    recipe: tuple[str, ...],
    output: str,
    bundle: str | None,
    allow_custom_objects: str | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Build variants of MODEL into a package: a folder with the .tflite files in it.

    \b
    edgepack build model.keras --data d.npz -r int8 -r prune50-int8 -o package/
    edgepack build model.keras --data device:/srv/d.npz --calibrate-on-device -o package/ \\
        -d tag:lab -r int8
    """
    if device and not calibrate_on_device:
        raise click.UsageError("-d goes with --calibrate-on-device: nothing else needs a device.")
    from edgepack import codec, package, pipeline, plan
    from edgepack.cli import progress
    from edgepack.model import JobSettings

    path, arch = options.source(model, weights, arch)
    wanted = plan.make(
        model=path,
        data=data,
        recipes=options.recipes(recipe),
        targets=options.targets(device) if calibrate_on_device else (),
        settings=JobSettings(),
        allow_custom_objects=allow_custom_objects,
        arch=arch,
        calibrate_on_device=calibrate_on_device,
    )
    with progress.watch(quiet=quiet, verbose=verbose) as emit:
        built, directory = pipeline.build(wanted, Path(output), emit=emit)
    if bundle:
        package.bundle(directory, Path(bundle))
    if as_json:
        document = {"schema": "edgepack.build/1", "path": output, "package": codec.to_json(built)}
        click.echo(json.dumps(document, indent=1))
        return
    from rich.console import Console

    from edgepack.report import terminal

    terminal.render_package(built, Console())
    click.echo(f"\nWritten to {output}. Measure it: edgepack bench {output} -d DEVICE")

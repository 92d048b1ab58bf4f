"""`edgepack run`: build variants, measure them on devices, compare, judge."""

from __future__ import annotations

import click

from edgepack.cli import options
from edgepack.cli.measuring import Measuring, measuring_options
from edgepack.cli.showing import Showing, naming_options, showing_options


@click.command()
@options.source_options
@options.data_option
@options.calibrate_option
@options.recipe_option
@measuring_options
@options.custom_option
@naming_options
@click.option(
    "--resume",
    metavar="RUN",
    help="Instead of MODEL: measure what this run lacks, with its package and settings.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@showing_options
def run(
    model: str | None,
    weights: str | None,
    arch: str | None,
    data: str | None,
    calibrate_on_device: bool,
    recipe: tuple[str, ...],
    measuring: Measuring,
    allow_custom_objects: str | None,
    tags: tuple[str, ...],
    note: str,
    resume: str | None,
    dry_run: bool,
    showing: Showing,
) -> int:
    """Build variants of MODEL, measure them on devices, and compare.

    MODEL is a .keras or .h5 file, a SavedModel folder or a .tflite file. The float variant is
    always built: it is what the others are compared with. A .tflite without -r is taken as
    it is.

    \b
    edgepack run model.keras --data d.npz -r int8 -d pi4 -d local
    edgepack run model.keras --data d.npz -r int8 -d 'tag:lab' --budget budget.toml --json
    edgepack run --resume latest
    """
    showing.check()
    if resume is not None:
        options.only_with(_WITH_RESUME, "--resume", "the run goes on with what it began with")
        return _resumed(resume, showing)
    from edgepack import pipeline
    from edgepack import plan as plans
    from edgepack.store.refs import check_tag

    path, arch = options.source(model, weights, arch)
    for tag in tags:
        check_tag(tag)  # before anything is measured, not when it is saved
    plan = plans.make(
        model=path,
        data=data,
        recipes=options.recipes(recipe),
        **measuring.plan(),
        allow_custom_objects=allow_custom_objects,
        arch=arch,
        tags=tags,
        note=note,
        calibrate_on_device=calibrate_on_device,
    )
    if dry_run:
        options.not_with(_NOT_DONE, "--dry-run", "nothing is done, and the plan is text")
        click.echo(plans.describe(plan))
        return 0
    return showing.of("run", lambda emit: pipeline.execute(plan, emit=emit))


_WITH_RESUME = {"resume", "watch", "as_json", "events", "quiet", "verbose", "report_file"}


_NOT_DONE = {"watch", "as_json", "events", "report_file"}


def _resumed(ref: str, showing: Showing) -> int:
    """Finish a run that was begun, and show its outcome; returns the exit code."""
    from edgepack import config, pipeline
    from edgepack.registry import Registry

    registered = {device.name: device for device in Registry(config.devices_file()).all()}
    return showing.of("run", lambda emit: pipeline.resume(ref, registered=registered, emit=emit))

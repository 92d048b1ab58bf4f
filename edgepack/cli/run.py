"""`edgepack run`: build variants, measure them on devices, compare, judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgepack.cli import options
from edgepack.cli.measuring import Measuring, measuring_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgepack.model import Event
    from edgepack.pipeline import Outcome
    from edgepack.plan import Plan


@click.command()
@options.source_options
@options.data_option
@options.calibrate_option
@options.recipe_option
@measuring_options
@options.custom_option
@click.option("--tag", "tags", multiple=True, help="Name this run; may be repeated.")
@click.option("--note", default="", help="A sentence to keep with the run.")
@click.option("--report", "report_file", metavar="FILE.html", help="Also write the HTML report.")
@click.option(
    "--resume",
    metavar="RUN",
    help="Instead of MODEL: measure what this run lacks, with its package and settings.",
)
@click.option("--watch", is_flag=True, help="Show the run on a page of this machine as it goes.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@options.json_option
@click.option("--events", is_flag=True, help="Stream progress as JSON lines to standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", count=True, help="More of what happens, also the agents' logs.")
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
    report_file: str | None,
    resume: str | None,
    watch: bool,
    dry_run: bool,
    as_json: bool,
    events: bool,
    quiet: bool,
    verbose: int,
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
    if as_json and events:
        raise click.UsageError("--json and --events both want standard output; choose one.")
    if resume is not None:
        options.only_with(_WITH_RESUME, "--resume", "the run goes on with what it began with")
        return resume_run(
            resume,
            as_json=as_json,
            events=events,
            quiet=quiet,
            verbose=verbose,
            report_file=report_file,
            watch=watch,
        )
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
        click.echo(plans.describe(plan))
        return 0
    return run_plan(
        plan,
        as_json=as_json,
        events=events,
        quiet=quiet,
        verbose=verbose,
        report_file=report_file,
        watch=watch,
    )


_WITH_RESUME = {"resume", "watch", "as_json", "events", "quiet", "verbose", "report_file"}


def resume_run(
    ref: str,
    *,
    as_json: bool,
    events: bool,
    quiet: bool,
    verbose: int,
    report_file: str | None,
    watch: bool = False,
) -> int:
    """Finish a run that was begun, and show its outcome; returns the exit code."""
    from edgepack import config, pipeline
    from edgepack.registry import Registry

    registered = {device.name: device for device in Registry(config.devices_file()).all()}
    return _shown(
        lambda emit: pipeline.resume(ref, registered=registered, emit=emit),
        as_json=as_json,
        events=events,
        quiet=quiet,
        verbose=verbose,
        report_file=report_file,
        watch=watch,
    )


def run_plan(
    plan: Plan,
    *,
    as_json: bool,
    events: bool = False,
    quiet: bool = False,
    verbose: int = 0,
    report_file: str | None = None,
    watch: bool = False,
) -> int:
    """Execute the plan, show its outcome, write the report; returns the exit code."""
    from edgepack import pipeline

    return _shown(
        lambda emit: pipeline.execute(plan, emit=emit),
        as_json=as_json,
        events=events,
        quiet=quiet,
        verbose=verbose,
        report_file=report_file,
        watch=watch,
    )


def _shown(
    work: Callable[[Callable[[Event], None]], Outcome],
    *,
    as_json: bool,
    events: bool,
    quiet: bool,
    verbose: int,
    report_file: str | None,
    watch: bool,
) -> int:
    from edgepack.cli import outcome, progress
    from edgepack.cli.report import write_html

    with (
        progress.watch(quiet=quiet, verbose=verbose, events=events) as emit,
        progress.page("edgepack run", emit, wanted=watch) as told,
    ):
        result = work(told)
    if not events:
        outcome.show_conclusion(result, as_json=as_json)
    if report_file:
        write_html(result, report_file)
    return int(outcome.exit_code(result))

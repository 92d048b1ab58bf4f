"""`edgepack search`: from limits to the model that meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options
from edgepack.errors import ExitCode

if TYPE_CHECKING:
    from edgepack.model import Event
    from edgepack.searching.study import Study

_WITH_RESUME = frozenset(
    {
        *("resume", "trials", "time", "output", "report", "engine"),
        *("as_json", "events", "quiet", "verbose"),
    }
)


def _seconds(text: str | None) -> float | None:
    """`90s`, `20m`, `1h30m` or plain seconds."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    hours, minutes, seconds = found.groups() if found else (None, None, None)
    total = 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0)
    if not total:
        raise click.BadParameter("give a time such as 90s, 20m or 1h30m", param_hint="--time")
    return total


@click.command()
@click.argument("model", required=False)
@options.data_option
@options.calibrate_option
@options.device_option
@click.option("--budget", metavar="FILE", help="A TOML file of limits to meet.")
@click.option(
    "--trials",
    type=click.IntRange(1, 100_000),
    help="Candidates to try at most.  [default: 60]",
)
@click.option("--time", metavar="TIME", help="Time for all of it: 90s, 20m, 1h30m.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    multiple=True,
    help="Thread counts to choose from; may be repeated. Default: the profile's.",
)
@click.option(
    "--runtime",
    metavar="NAME[==VERSION]",
    multiple=True,
    help="Runtimes to choose from; may be repeated. Default: the profile's.",
)
@click.option(
    "--scheme",
    multiple=True,
    metavar="SCHEME",
    help="Quantization schemes to choose from (docs/search.md); may be repeated. Default: all.",
)
@click.option(
    "--epochs",
    type=(click.IntRange(1), click.IntRange(1)),
    default=(1, 5),
    show_default=True,
    help="Epochs of distillation: the short training, and what the long one adds.",
)
@click.option("--no-cut", is_flag=True, help="Take no channels out: nothing is trained.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(0.5, 86400),
    default=20.0,
    show_default=True,
    help="Time for measuring the finalists on each device.",
)
@click.option(
    "--engine",
    metavar="URL",
    help="Train candidates on the workers of dask://HOST:PORT (edgepack[dask]); devices are "
    "measured from here.",
)
@options.custom_option
@click.option("--resume", metavar="SEARCH", help="Instead of MODEL: go on with this search.")
@click.option("-o", "--output", metavar="DIR", help="Write the best package to DIR/DEVICE.")
@click.option("--report", metavar="FILE", help="Write the search's history: *.html or .json.")
@options.json_option
@click.option("--events", is_flag=True, help="Stream progress as JSON lines to standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", count=True, help="More of what happens.")
def search(
    model: str | None,
    data: str | None,
    calibrate_on_device: bool,
    device: tuple[str, ...],
    budget: str | None,
    trials: int | None,
    time: str | None,
    seed: int,
    threads: tuple[int, ...],
    runtime: tuple[str, ...],
    scheme: tuple[str, ...],
    epochs: tuple[int, int],
    no_cut: bool,
    max_seconds: float,
    engine: str | None,
    allow_custom_objects: str | None,
    resume: str | None,
    output: str | None,
    report: str | None,
    as_json: bool,
    events: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Find the variant of MODEL that meets a budget, measured on the devices all along.

    Exits with 0 when every device has one, 1 when the budget cannot be met (and says which
    limit binds, and by how much), 4 when a device could not be measured.

    \b
    edgepack search model.keras --data d.npz -d pi4 --budget b.toml --time 20m -o best/
    edgepack search --resume latest --time 40m
    """
    if as_json and events:
        raise click.UsageError("--json and --events both want standard output; choose one.")
    if report:
        from edgepack.cli.report import OF_SEARCHES, check_file

        check_file(report, OF_SEARCHES)
    if (model is None) == (resume is None):
        raise click.UsageError("Give either MODEL or --resume.")
    from edgepack import admission
    from edgepack.searching import asking
    from edgepack.searching.study import Study
    from edgepack.searching.values import Request

    seconds, folder = _seconds(time), Path(output) if output else None
    if resume is not None:
        options.only_with(_WITH_RESUME, "--resume", "the search goes on with what it began with")
        study = Study.open(resume)
        admission.refuse_candidates(target.device for target in study.request.targets)
        asking.check_output(folder, study.request.targets)
        study.extend(trials=trials, seconds=seconds)
    else:
        targets = options.targets(device)
        admission.refuse_candidates(target.device for target in targets)
        request = Request(
            model=str(model),
            data=data,
            targets=tuple(targets),
            budgets=asking.budgets(budget, targets, _note),
            trials=trials or 60,
            seconds=seconds,
            seed=seed,
            threads=tuple(dict.fromkeys(threads)) or (0,),
            runtimes=tuple(dict.fromkeys(runtime)) or ("",),
            schemes=asking.schemes(scheme, data, calibrate_on_device=calibrate_on_device),
            epochs=epochs,
            cut=not no_cut,
            allow_custom_objects=allow_custom_objects,
            max_seconds=max_seconds,
            calibrate_on_device=calibrate_on_device,
        )
        name = asking.new_name()
        study = asking.begin(name, request, output=folder, engine=engine, emit=_note)
    return _searched(
        study, folder, report, engine, as_json=as_json, events=events, quiet=quiet, verbose=verbose
    )


def _note(event: Event) -> None:
    click.echo(event.message, err=True)


def _searched(
    study: Study,
    output: Path | None,
    report: str | None,
    engine: str | None,
    *,
    as_json: bool,
    events: bool,
    quiet: bool,
    verbose: int,
) -> int:
    from edgepack.cli import progress, searching
    from edgepack.cli.report import searched, write_text
    from edgepack.searching import asking
    from edgepack.searching.document import status

    with progress.watch(quiet=quiet, verbose=verbose, events=events) as emit:
        emit(searching.begun(study))
        try:
            found = asking.perform(study, output, engine=engine, emit=emit)
            for event in searching.verdict(found) if events else ():
                emit(event)
        except KeyboardInterrupt:
            if study.is_stored:
                click.echo(f"go on with: edgepack search --resume {study.name}", err=True)
            raise
    if as_json:
        click.echo(json.dumps(found.document(), indent=1))
    elif not events:
        searching.show(found)
    if report:
        write_text(Path(report), searched(Path(report).suffix, study.name))
        click.echo(f"Report: {report}", err=True)
    if found.unwritten is not None:
        raise found.unwritten
    codes = {"found": ExitCode.OK, "infeasible": ExitCode.GATE_FAILED}
    return int(codes.get(status(found.conclusion), ExitCode.DEVICE_FAILED))

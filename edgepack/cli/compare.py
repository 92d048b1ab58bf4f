"""`edgepack compare`: stored runs against a baseline, or by kind of hardware."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from edgepack import config
from edgepack.cli import options, stored

if TYPE_CHECKING:
    from edgepack.analysis.across import Baseline, Pair
    from edgepack.model import Budget, Run, Verdict
    from edgepack.store import Store


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@stored.baseline_option
@click.option("--by", type=click.Choice(["profile"]), help="What each kind of hardware gains.")
@click.option(
    "--across",
    multiple=True,
    type=click.Choice(["runtime", "threads", "accelerator", "governor", "profile"]),
    help="Compare although these differ: the difference is what you look for; may be repeated.",
)
@stored.fail_on_option
@options.json_option
@click.option(
    "-v", "--verbose", is_flag=True, help="Of one run: also how long variants take to start."
)
def compare(
    runs: tuple[str, ...],
    baseline: str,
    by: str | None,
    across: tuple[str, ...],
    fail_on: tuple[str, ...],
    as_json: bool,
    verbose: bool,
) -> int:
    """Show each RUN (an id, a unique prefix, a tag, latest~1, branch:NAME) against a baseline.

    One run against a variant of its own is the usual comparison, with what to ship. Against
    another run, or with several runs side by side, every variant on every device is held
    against its counterpart; only like is compared with like. Several runs without a float
    variant beside others (a .tflite taken as it is) are held against the first of them.

    \b
    edgepack compare                                 # the latest run, against its float variant
    edgepack compare latest --baseline v1.2          # against the run tagged v1.2
    edgepack compare latest latest~1 --by profile    # what each kind of board gains
    """
    from edgepack.analysis import limits

    names = runs or ("latest",)
    rules = limits.fail_on(fail_on)
    if by:
        if across or fail_on:
            raise click.UsageError("--by shows gains; it goes with neither --across nor --fail-on.")
        return _by_profile(names, baseline, as_json=as_json)
    return _side_by_side(
        names, baseline, frozenset(across), rules, as_json=as_json, details=verbose
    )


def _side_by_side(
    names: tuple[str, ...],
    asked: str,
    across: frozenset[str],
    rules: tuple[Budget, ...],
    *,
    as_json: bool,
    details: bool,
) -> int:
    from edgepack import concluding
    from edgepack.cli import outcome
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        runs, baseline = _load(store, names, asked)
        if len(runs) == 1 and baseline.run is None and not across:
            found = concluding.conclude_loaded(runs[0], store, baseline=asked, budgets=rules)
            outcome.show_conclusion(found, as_json=as_json, details=details)
            return int(outcome.verdict_code(found.verdict))
    from edgepack.analysis.across import check_any, pairs

    rows = pairs(runs, baseline, across)
    if not rules:  # with rules the verdict says that nothing could be held against them
        check_any(rows, baseline)
    verdicts = {run.run_id: _judged(run, baseline, rules) for run in runs} if rules else {}
    _show(runs, baseline, rows, verdicts, as_json=as_json)
    return int(outcome.verdicts_code(verdicts.values()))


def _load(store: Store, names: tuple[str, ...], asked: str) -> tuple[list[Run], Baseline]:
    """The runs, each once, and their common baseline. EP601, EP105."""
    from edgepack.analysis.across import FLOAT, Baseline, usual
    from edgepack.concluding import baseline_of

    loaded = [store.load(name) for name in names]
    runs = list({run.run_id: run for run in loaded}.values())
    found = [baseline_of(asked, run.package, store) for run in runs]
    variant, run = found[0]
    if run is not None:
        return runs, Baseline(run=run)
    return runs, usual(runs) if asked == FLOAT else Baseline(variant=variant)


def _judged(run: Run, baseline: Baseline, rules: tuple[Budget, ...]) -> Verdict:
    from edgepack.analysis import compare as comparing
    from edgepack.analysis import gate

    comparison = comparing.compare(run, baseline=baseline.variant or "float")
    return gate.judge(run, comparison, rules, stored.devices(run), baseline.run)


def _show(
    runs: list[Run],
    baseline: Baseline,
    rows: list[Pair],
    verdicts: dict[str, Verdict],
    *,
    as_json: bool,
) -> None:
    from edgepack.report import pairs

    if as_json:
        made = pairs.document(runs, baseline, rows, verdicts)
        click.echo(json.dumps(made, indent=1, allow_nan=False))
        return
    from rich.console import Console

    from edgepack.report import terminal, terminal_runs

    console = Console()
    terminal_runs.render(runs, baseline, pairs.groups(rows), console)
    for run_id, verdict in verdicts.items():
        console.print()
        console.print(f"run {run_id}", markup=False, highlight=False)
        terminal.verdict_lines(verdict, console)


def _by_profile(names: tuple[str, ...], asked: str, *, as_json: bool) -> int:
    from edgepack.analysis.gains import by_profile
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        runs, baseline = _load(store, names, asked)
    variant = _own_baseline(runs, asked, baseline)
    gains = by_profile(runs, variant)
    from edgepack.report import pairs

    if as_json:
        made = pairs.gains_document(variant, gains)
        click.echo(json.dumps(made, indent=1, allow_nan=False))
        return 0
    from rich.console import Console

    from edgepack.report import terminal_runs

    terminal_runs.render_gains(variant, gains, Console())
    return 0


def _own_baseline(runs: list[Run], asked: str, baseline: Baseline) -> str:
    """The variant that the recipes of each run are held against. EP105."""
    from edgepack.analysis import across
    from edgepack.errors import EdgepackError

    if baseline.variant is None and asked != across.FLOAT:
        raise click.UsageError("--by profile compares recipes: give a variant as --baseline.")
    variant = across.own(runs, asked)
    if not any(across.has_beside(run, variant) for run in runs):
        raise EdgepackError(
            "EP105",
            f"no run has a variant to compare with its '{variant}'",
            where="--by profile",
            hint="Measure recipes beside it (edgepack run MODEL -r int8), or leave out --by to "
            "compare the runs with each other.",
        )
    return variant

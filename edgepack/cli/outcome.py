"""How a run's outcome is shown, and the exit code it deserves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from edgepack.errors import ExitCode
from edgepack.model import Comparison, Run, Verdict, VerdictStatus

if TYPE_CHECKING:
    from edgepack.concluding import Conclusion
    from edgepack.pipeline import Outcome


def show_conclusion(found: Conclusion | Outcome, *, as_json: bool, details: bool = False) -> None:
    """Print what is concluded from a run, and how it differs from its baseline run."""
    show(
        found.run,
        found.comparison,
        found.verdict,
        as_json=as_json,
        baseline=found.baseline,
        details=details,
    )


def show(
    run: Run,
    comparison: Comparison,
    verdict: Verdict,
    *,
    as_json: bool,
    baseline: Run | None = None,
    details: bool = False,
) -> None:
    """Print a run: the one JSON document, or the comparison as a table (and its details)."""
    if as_json:
        from edgepack.report.pairs import run_against

        made = run_against(run, comparison, verdict, baseline)
        click.echo(json.dumps(made, indent=1, allow_nan=False))
        return
    from rich.console import Console

    from edgepack.report import pairs, terminal, terminal_runs

    console = Console()
    terminal.render(run, comparison, verdict, console, details=details)
    if baseline is not None:
        terminal_runs.render_against(baseline, pairs.against(run, baseline), console)


def verdict_code(verdict: Verdict) -> ExitCode:
    """The exit code of a verdict alone: a failed limit is 1, an unmeasured one 4."""
    return verdicts_code([verdict])


def verdicts_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """The exit code of several: a failure outweighs what is unmeasured."""
    statuses = {verdict.status for verdict in verdicts}
    if VerdictStatus.FAIL in statuses:
        return ExitCode.GATE_FAILED
    if VerdictStatus.UNMEASURED in statuses:
        return ExitCode.DEVICE_FAILED
    return ExitCode.OK


def exit_code(outcome: Outcome) -> ExitCode:
    """The exit code of a run: interrupted, then a failed gate, then anything unmeasured."""
    from edgepack.pipeline import any_device_failed

    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    of_verdict = verdict_code(outcome.verdict)
    if of_verdict is ExitCode.OK and any_device_failed(outcome.run.measurements):
        return ExitCode.DEVICE_FAILED
    return of_verdict

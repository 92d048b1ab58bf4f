"""Stored runs with what is concluded from them, for the commands that only look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgepack.concluding import Conclusion
    from edgepack.model import Budget, Comparison, Device, Run, Verdict

run_argument = click.argument("run", default="latest")
baseline_option = click.option(
    "--baseline",
    default="float",
    show_default=True,
    metavar="VARIANT|RUN",
    help="What to compare with: a variant of the run, or another run (id, tag, latest~1, "
    "branch:NAME).",
)
fail_on_option = click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="RULE",
    help="Fail when this got worse than the baseline, e.g. 'latency_p90>5%'; may be repeated.",
)


def load(
    ref: str, *, baseline: str = "float", budgets: tuple[Budget, ...] = ()
) -> tuple[Run, Comparison, Verdict]:
    """The run that `ref` names, compared and judged. EP601 when there is none."""
    found = conclusion(ref, baseline=baseline, budgets=budgets)
    return found.run, found.comparison, found.verdict


def conclusion(
    ref: str, *, baseline: str = "float", budgets: tuple[Budget, ...] = ()
) -> Conclusion:
    """The run that `ref` names with its comparison and verdict. EP601, EP105."""
    from edgepack.concluding import conclude_stored

    return conclude_stored(ref, baseline=baseline, budgets=budgets)


def devices(run: Run) -> dict[str, Device]:
    """The run's devices as registered now; one that is gone keeps its name and profile."""
    from edgepack.concluding import devices_of

    return devices_of(run)

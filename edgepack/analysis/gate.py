"""The gate: measured values held against budgets. A verdict is a value, never an exception.

A budget speaks about the devices of the run that its selector names: a device's name,
"tag:<tag>", "profile:<profile>" or "*". All budgets that name a device apply to it. On each
device the verdict rests on one variant: the one that the budget names, else the recommended
one, because that is what would be shipped. The other variants are checked as well, for
information (`Check.decides` is False): they tell what else would have passed.

Where another accelerator than the CPU was asked for, its share of the operations is checked
against 1.0 unless a budget says less: a silent fallback fails the gate, also without a budget.

A limit fails when the measured value is beyond it; a regression when it is beyond the margin
and not chance (`analysis.regression`), against the same variant on the same device of the
baseline run, or without one against the baseline variant. What was not measured is UNMEASURED:
a failed device, a device without a recommended variant, a quality without labels, times from
an emulator, a baseline that is not alike, and a budget that names no device of the run. A
failure outweighs what is unmeasured, and nothing unmeasured passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgepack.analysis import limits, regression
from edgepack.analysis.across import counterpart
from edgepack.analysis.bench import Bench, Entry, benches
from edgepack.analysis.budgets import from_profile, load
from edgepack.analysis.limits import ACCELERATED, LIMITS
from edgepack.model import Budget, Check, Comparison, Device, Run, Verdict, VerdictStatus

__all__ = ["LIMITS", "from_profile", "judge", "load"]


def judge(
    run: Run,
    comparison: Comparison,
    budgets: Sequence[Budget],
    devices: Mapping[str, Device],
    baseline: Run | None = None,
) -> Verdict:
    """The verdict of a run; status NONE without budgets and without a fallback to the CPU.

    `devices` gives the tags and profiles that selectors name; a device of the run that is not
    in it is known by its name and its measurements' profile. baseline: the run that regressions
    are against; None: the comparison's baseline variant.
    """
    measured = benches(run)
    case = _Case(run=run, comparison=comparison, baseline=baseline)
    checks: list[Check] = []
    for bench in measured:
        applying = [budget for budget in budgets if _names(budget.selector, bench, devices)]
        for budget in _with_accelerator(applying, bench):
            checks += _checks(budget, bench, case)
    for budget in budgets:
        if not any(_names(budget.selector, bench, devices) for bench in measured):
            checks += _unmeasured(budget, "", budget.variant or "")
    if not budgets:  # nobody asked for a gate: only a fallback is worth one
        checks = [check for check in checks if check.status is VerdictStatus.FAIL]
    if not any(check.decides for check in checks):
        return Verdict(status=VerdictStatus.NONE)
    checks.sort(key=lambda check: not check.decides)  # stable: the deciding ones first
    return Verdict(status=_overall(checks), checks=tuple(checks))


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is judged, and against what."""

    run: Run
    comparison: Comparison
    baseline: Run | None

    def base(self, bench: Bench, entry: Entry) -> tuple[regression.Side | None, str]:
        """The other side of a regression, and why there is none."""
        if self.baseline is None:
            name = self.comparison.baseline
            found, run = bench.get(name), self.run
            missing = f"the run has no {name} on {bench.device}"
        else:
            found, run = counterpart(self.baseline, bench.device, entry.name), self.baseline
            missing = f"run {run.run_id} has no {entry.name} on {bench.device}"
        return (regression.Side(run=run, entry=found), "") if found else (None, missing)


def _names(selector: str, bench: Bench, devices: Mapping[str, Device]) -> bool:
    device = devices.get(bench.device)
    if selector.startswith("tag:"):
        return device is not None and selector.removeprefix("tag:") in device.tags
    if selector.startswith("profile:"):
        profiles = {entry.measurement.profile for entry in bench.entries}
        return selector.removeprefix("profile:") in profiles | (
            {device.profile} if device else set()
        )
    return selector in ("*", bench.device)


def _with_accelerator(budgets: Sequence[Budget], bench: Bench) -> Sequence[Budget]:
    """The device's budgets, the check of the accelerator among them where one was asked for."""
    asked = any(entry.measurement.accelerator.requested != "cpu" for entry in bench.entries)
    if not asked or any(ACCELERATED in budget.limits for budget in budgets):
        return budgets
    variant = next((budget.variant for budget in budgets if budget.variant), None)
    implied = Budget(selector=bench.device, limits={ACCELERATED: 1.0}, variant=variant)
    return [*budgets, implied]


def _checks(budget: Budget, bench: Bench, case: _Case) -> Iterator[Check]:
    asked = budget.variant or case.comparison.recommended.get(bench.device, "")
    chosen = bench.get(asked)
    if chosen is None:
        yield from _unmeasured(budget, bench.device, asked)
    for entry in bench.entries:
        for limit, bound in budget.limits.items():
            found = _found(limit, bound, bench, entry, case)
            yield Check(
                budget=f"{budget.selector}.{limit}",
                device=bench.device,
                variant=entry.name,
                value=found.value,
                limit=bound,
                status=found.status,
                decides=entry is chosen,
                at_least=limits.at_least(limit, entry),
                note=found.note,
            )
        if budget.accelerator is not None:
            yield _accelerated(budget, bench, entry, decides=entry is chosen)


def _found(limit: str, bound: float, bench: Bench, entry: Entry, case: _Case) -> regression.Finding:
    if limit in limits.REGRESSIONS:
        base, missing = case.base(bench, entry)
        now = regression.Side(run=case.run, entry=entry)
        return regression.held(limit, bound, now, base, missing)
    few = limits.too_few(limit, entry)
    if few:
        return regression.Finding(status=VerdictStatus.UNMEASURED, note=few)
    value = limits.value(limit, entry, bench.get(case.comparison.baseline))
    percent = limits.in_percent(limit, bound, entry)
    if percent:
        return regression.Finding(status=VerdictStatus.FAIL, value=value, note=percent)
    status = _status(value, bound, at_least=limits.at_least(limit, entry))
    emulated = value is None and limits.says_nothing(limit, entry)
    return regression.Finding(
        status=status, value=value, note="measured on an emulator" if emulated else ""
    )


def _accelerated(budget: Budget, bench: Bench, entry: Entry, *, decides: bool) -> Check:
    """Whether the accelerator that the budget asks for ran the variant, wholly or in part."""
    ran = entry.measurement.accelerator
    value = None
    if entry.latency is not None:
        value = float(ran.actual == budget.accelerator and ran.ops_delegated != 0)
    part = ran.ops_delegated is not None and ran.ops_total is not None
    taken = f", {ran.ops_delegated} of {ran.ops_total} ops" if part else ""
    return Check(
        budget=f"{budget.selector}.accelerator",
        device=bench.device,
        variant=entry.name,
        value=value,
        limit=1.0,
        status=_status(value, 1.0, at_least=True),
        decides=decides,
        at_least=True,
        note=f"asked for {budget.accelerator}, ran on {ran.actual}{taken}",
    )


def _unmeasured(budget: Budget, device: str, variant: str) -> Iterator[Check]:
    for limit, bound in budget.limits.items():
        yield Check(
            budget=f"{budget.selector}.{limit}",
            device=device,
            variant=variant,
            value=None,
            limit=bound,
            status=VerdictStatus.UNMEASURED,
            at_least=limit in ("quality", ACCELERATED),
        )
    if budget.accelerator is not None:
        yield Check(
            budget=f"{budget.selector}.accelerator",
            device=device,
            variant=variant,
            value=None,
            limit=1.0,
            status=VerdictStatus.UNMEASURED,
            at_least=True,
        )


def _status(value: float | None, bound: float, *, at_least: bool) -> VerdictStatus:
    if value is None:
        return VerdictStatus.UNMEASURED
    met = value >= bound if at_least else value <= bound
    return VerdictStatus.PASS if met else VerdictStatus.FAIL


def _overall(checks: Sequence[Check]) -> VerdictStatus:
    statuses = {check.status for check in checks if check.decides}
    for status in (VerdictStatus.FAIL, VerdictStatus.UNMEASURED):
        if status in statuses:
            return status
    return VerdictStatus.PASS

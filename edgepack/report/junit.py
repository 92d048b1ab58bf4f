"""The verdict as JUnit XML, which every pipeline can show: one test case a check."""

from __future__ import annotations

from typing import Any

from edgepack.model import Check, Run, Verdict, VerdictStatus
from edgepack.report import text, view


def render(run: Run, verdict: Verdict) -> str:
    """The checks that decide, a suite a device; one skipped case when there was no budget.

    A limit that is not met is a failure, one that could not be measured an error: neither lets
    a pipeline pass.
    """
    import junitparser

    report = junitparser.JUnitXml(name="edgepack")
    deciding = [check for check in verdict.checks if check.decides]
    by_device: dict[str, list[Check]] = {}
    for check in deciding:
        by_device.setdefault(check.device or "no device", []).append(check)
    for device, checks in by_device.items():
        suite = junitparser.TestSuite(f"edgepack gate: {text.plain(device)}")
        suite.timestamp = text.plain(run.started_at)
        suite.add_property("run", text.plain(run.run_id))
        for check in checks:
            suite.add_testcase(_case(check))
        report.add_testsuite(suite)
    if not deciding:
        suite = junitparser.TestSuite("edgepack gate")
        case = junitparser.TestCase("budget", classname="edgepack")
        case.result = [junitparser.Skipped("No budget was given.")]
        suite.add_testcase(case)
        report.add_testsuite(suite)
    report.update_statistics()
    written: bytes = report.tostring()
    return written.decode("utf-8")


def _case(check: Check) -> Any:
    import junitparser

    name = text.plain(f"{check.variant or 'no variant'}: {check.budget}")
    case = junitparser.TestCase(name, classname=text.plain(f"edgepack.{check.device}"))
    if check.status is VerdictStatus.FAIL:
        case.result = [junitparser.Failure(view.check(check), "limit")]
    elif check.status is VerdictStatus.UNMEASURED:
        case.result = [junitparser.Error(view.check(check), "unmeasured")]
    return case

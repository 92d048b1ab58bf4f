"""The verdict as GitHub workflow commands, and the page of a job's summary.

A command is a line `::error title=…::message`. In the message "%", CR and LF are escaped, in a
property ":" and "," as well (the rules of GitHub's own toolkit); every text has gone through
`text.plain` before, which also keeps what a device said from being a command of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.model import Check, Run, Verdict, VerdictStatus
from edgepack.report import text, view

_LEVEL = {VerdictStatus.FAIL: "error", VerdictStatus.UNMEASURED: "error"}
_SAID = {VerdictStatus.FAIL: "limit exceeded", VerdictStatus.UNMEASURED: "not measured"}


def commands(run: Run, verdict: Verdict) -> Iterator[str]:
    """One line for each check that does not pass, or one notice when all do."""
    for check in verdict.checks:
        if check.decides and check.status in _LEVEL:
            yield command(_LEVEL[check.status], _title(check), view.check(check))
    if verdict.status in (VerdictStatus.PASS, VerdictStatus.NONE):
        source = text.plain(run.package.source_name)
        yield command("notice", "edgepack gate", f"{source}: {view.verdict(verdict)}")


def command(level: str, title: str, message: str) -> str:
    """One workflow command; level: "error", "warning" or "notice"."""
    return f"::{level} title={_property(title)}::{_data(message)}"


def _title(check: Check) -> str:
    where = text.plain(check.device) or "no device"
    return f"edgepack: {_SAID[check.status]} on {where}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")

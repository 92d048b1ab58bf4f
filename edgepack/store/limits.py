"""What a run must be to be stored: the last look at what devices, files and people said.

Texts may hold anything; they are kept in JSON and reach columns cleaned. Numbers and names
that a database, a file name or a statistic could stumble over are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Run

_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-z]{1,40}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_NS = 2**63 - 1
_MOST_THREADS = 2**31 - 1
_MOST_BYTES = 2**63 - 1


def check(run: Run) -> None:
    """Refuse a run that no measuring can have made. EP610."""
    if not _RUN_ID.fullmatch(run.run_id):
        _refuse("its id is not a time and some letters (20261122T150405-ab12cd)")
    if not _DIGEST.fullmatch(run.package.digest):
        _refuse("its package's digest is not a SHA-256")
    for variant in run.package.variants:
        if not 0 <= variant.bytes <= _MOST_BYTES:
            _refuse(f"a variant has {variant.bytes} bytes")
    for measured in run.measurements:
        check_measurement(measured)


def check_measurement(measured: Measurement) -> None:
    """Refuse times and counts that cannot be. EP610."""
    if not 0 <= measured.threads <= _MOST_THREADS:
        _refuse(f"something was measured with {measured.threads} threads")
    for kind, value in _numbers(measured):
        if not 0 <= value <= _MOST_NS:
            _refuse(f"{kind} is {value}")


def _numbers(measured: Measurement) -> Iterator[tuple[str, int]]:
    for values in measured.rounds:
        if values:
            yield "a latency in nanoseconds", min(values)
            yield "a latency in nanoseconds", max(values)
    for kind, value in (
        ("a load time in nanoseconds", measured.load_ns),
        ("a first inference in nanoseconds", measured.first_ns),
        ("a process's start in nanoseconds", measured.process_ns),
        ("a delegate's set-up in nanoseconds", measured.setup_ns),
        ("the clock's cost in nanoseconds", measured.timer_ns),
        ("the peak memory in bytes", measured.peak_rss_bytes),
    ):
        if value is not None:
            yield kind, value


def _refuse(what: str) -> NoReturn:
    raise EdgepackError(
        "EP610",
        f"the run cannot be stored: {what}",
        hint="Whoever wrote it is faulty or hostile; measure again with edgepack run.",
    )

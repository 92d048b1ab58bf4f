"""Boards that misbehave while they measure: each ends in a code of its own and a next step."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepack.fleet import DeviceReport, run_jobs
from edgepack.model import Blob, Device, EvalData, Event, Failure, Job, Measurement, Status

from .conftest import DATA
from .sshd import Sshd
from .test_faults import long, measuring, run

Make = Callable[..., Job]

TEN_YEARS_S = 10 * 365 * 86400


@pytest.fixture(autouse=True)
def _nothing_is_left(board: Sshd) -> Iterator[None]:
    yield
    assert board.free(), "an orphan"
    assert not list(board.home.rglob("*.part"))


def by_name(report: DeviceReport) -> dict[str, Measurement]:
    assert report.failure is None, report.failure
    return {measurement.variant: measurement for measurement in report.measurements}


def told(failure: Failure | None, code: str) -> str:
    """What a user reads of a failure, which must have this code and a hint."""
    assert failure is not None
    assert failure.code == code
    assert failure.hint
    return failure.what + " " + failure.hint


def with_python(board: Sshd, script: str) -> Device:
    """The board with a `python` that is this shell script; $PYTHON is the real one."""
    python = board.folder / "python"
    python.write_text(f"#!/bin/sh\nPYTHON='{sys.executable}'\n{script}\n")
    python.chmod(0o755)
    return replace(board.device(), python=str(python))


def signal_worker(board: Sshd, number: signal.Signals) -> None:
    """Send a signal to the worker that was started first, which holds 'float'."""
    workers = [pid for pid, command in board.processes().items() if "worker" in command]
    os.kill(min(workers), number)


def test_a_worker_that_crashes(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device())
    job = replace(job, settings=replace(job.settings, max_s=3.0, min_rounds=100_000))
    found = by_name(run(job, measuring(lambda: signal_worker(board, signal.SIGSEGV))))
    assert found["float"].status is Status.CRASHED
    assert "signal 11 (SIGSEGV)" in told(found["float"].failure, "EP503")
    assert found["int8"].status is Status.OK, found["int8"].failure


def test_a_worker_that_hangs(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device())
    job = replace(
        job, settings=replace(job.settings, max_s=1.5, min_rounds=100_000, timeout_s=24.0)
    )
    found = by_name(run(job, measuring(lambda: signal_worker(board, signal.SIGSTOP))))
    assert found["float"].status is Status.TIMEOUT
    assert "timeout" in told(found["float"].failure, "EP408")
    assert found["int8"].status is Status.OK, found["int8"].failure


def test_data_beyond_the_boards_memory(board: Sshd, make_job: Make, tmp_path: Path) -> None:
    """64 GB of samples, as the file says, on a board whose processes may have 16."""
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 4, 4, 1)}
    np.lib.format.write_array_header_1_0(header, shape)
    file = tmp_path / "data.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x:image.npy", header.getvalue())
    job = with_data(make_job(with_python(board, 'ulimit -v 16000000; exec "$PYTHON" "$@"')), file)
    for measurement in by_name(run(job)).values():
        assert measurement.status is Status.FAILED
        assert "out of memory" in told(measurement.failure, "EP505")


def with_data(job: Job, file: Path) -> Job:
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    blob = Blob(sha256=digest, bytes=len(content), path=str(file))
    data = EvalData(sha256=digest, bytes=len(content), samples=10**9, task="none")
    return replace(job, data=data, blobs=(*job.blobs, blob))


# Passes the agent's events on until its first latencies; these arrive with a bit of the text
# turned, or not at all.
DAMAGE = r"""
import os, re, sys
how, seen = sys.argv[1], b""
while b'"samples"' not in seen:
    os.write(1, seen)
    seen = os.read(0, 1 << 16) or sys.exit("no samples came")
at = seen.index(b'"samples"')
if how == "cut":
    os.write(1, seen[: at + 20])
    sys.exit(0)
packed = re.search(rb'"ns": ?"([^"]{8})', seen[at:])
at = {"latencies": at + packed.end(1) - 3, "name": at + 1}[how]
os.write(1, seen[:at] + bytes([seen[at] ^ 1]) + seen[at + 1 :])
while seen:
    seen = os.read(0, 1 << 16)
    os.write(1, seen)
"""


@pytest.mark.parametrize(
    ("how", "codes"), [("latencies", ("EP501",)), ("name", ("EP501",)), ("cut", ("EP502", "EP407"))]
)
def test_events_that_arrive_damaged(
    board: Sshd, make_job: Make, how: str, codes: tuple[str, ...]
) -> None:
    filter_ = board.folder / "damage.py"
    filter_.write_text(DAMAGE)
    device = with_python(board, f'"$PYTHON" "$@" | "$PYTHON" -I {filter_} {how}')
    report = run(long(make_job(device)))
    assert report.failure is not None
    told(report.failure, report.failure.code)
    assert report.failure.code in codes
    assert not any(measurement.rounds for measurement in report.measurements)
    assert all(measurement.status is Status.FAILED for measurement in report.measurements)
    assert run(make_job(board.device())).failure is None


@pytest.fixture(scope="module")
def stepped_clock(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]
) -> Path:
    require(shutil.which("cc"), "no C compiler")
    library = tmp_path_factory.mktemp("clock") / "stepped_clock.so"
    source = DATA / "stepped_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_ten_years_off_and_then_set_right(
    board: Sshd, make_job: Make, stepped_clock: Path, years: int
) -> None:
    step = board.folder / "step"
    step.write_text(str(years // 10 * TEN_YEARS_S))
    preload = f"LD_PRELOAD={stepped_clock} STEPPED_CLOCK={step}"
    device = with_python(board, f'export {preload}; exec "$PYTHON" "$@"')
    off = by_name(run(make_job(device)))
    assert {name: found.status for name, found in off.items()} == dict.fromkeys(off, Status.OK)
    assert not any("clock-stepped" in found.flags for found in off.values())
    job = make_job(device)
    job = replace(job, settings=replace(job.settings, max_s=2.0, min_rounds=100_000))
    report = run(job, measuring(step.unlink))  # set right on the way
    for found in by_name(report).values():
        assert found.status is Status.OK
        assert "clock-stepped" in found.flags
        assert max(value for values in found.rounds for value in values) < 60e9
    assert report.transfer.blob_bytes == 0


def test_a_board_that_another_measures_on_until_that_one_dies(board: Sshd, make_job: Make) -> None:
    at_work = threading.Event()
    holder: list[DeviceReport] = []
    job = long(make_job(board.device()))
    first = threading.Thread(target=lambda: holder.append(run(job, measuring(at_work.set))))
    first.start()
    assert at_work.wait(60)
    (older,) = board.agents()
    short = make_job(board.device())
    asked = replace(short, settings=replace(short.settings, wait_s=0.0))
    refused = run(asked)
    assert f"process {os.getpid()}" in told(refused.failure, "EP410")
    waited: list[Event] = []

    def kill_the_holder(event: Event) -> None:
        waited.append(event)
        if "waiting" in event.message and first.is_alive():
            with contextlib.suppress(ProcessLookupError):  # the second time
                os.kill(older, signal.SIGKILL)

    patient = replace(asked, settings=replace(asked.settings, wait_s=40.0))
    (second,) = run_jobs([patient], emit=kill_the_holder)
    first.join(30)
    assert by_name(second)["float"].status is Status.OK
    assert holder[0].failure is not None
    assert holder[0].failure.code in ("EP502", "EP407")

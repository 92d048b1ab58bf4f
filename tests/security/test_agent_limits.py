"""The agent takes no more of a board than it needs, and always ends."""

from __future__ import annotations

import io
import os
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgepack.resources import agent_source
from tests.agent.host import DATA, Host, make_job


@pytest.fixture
def running(tmp_path: Path) -> Host:
    with Host(tmp_path / "home") as host:
        job, blobs = make_job(
            {"float": (DATA / "classifier_float.tflite").read_bytes()},
            max_s=30.0,
            min_rounds=100000,
        )
        host.send(job)
        host.push(blobs)
        host.until("progress", stage="measure")
        yield host


def test_it_runs_behind_the_boards_own_work_and_leaves_no_core_files(running: Host) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for pid in (running.process.pid, *running.workers()):
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + 1)
        assert "Max core file size        0 " in Path(f"/proc/{pid}/limits").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert b"-I" in command


def data_limit(pid: int) -> str:
    """RLIMIT_DATA of a process, in bytes."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max data size")
    ]
    return line.split()[3]


def test_a_worker_takes_no_more_memory_than_the_board_has(running: Host) -> None:
    board = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert running.workers()
    assert {data_limit(pid) for pid in running.workers()} == {str(board)}
    assert data_limit(running.process.pid) == "unlimited"


def test_a_variant_that_wants_more_memory_than_it_may_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # it maps memory for each core
    limit = 400 << 20
    x, y = np.zeros((limit // 16, 4, 4, 1), np.uint8), np.zeros(limit // 16, np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"x:image": x, "y": y})
    models = {"float": (DATA / "classifier_float.tflite").read_bytes()}
    job, blobs = make_job(models, buffer.getvalue(), memory_limit_bytes=limit)
    with Host(tmp_path / "home") as host:
        host.serve(job, blobs)
        (result,) = host.all("result")
        assert (result["status"], result["error"]["code"]) == ("failed", "EP505")
        assert host.all("environment")[0]["environment"]["memory_limit_bytes"] == limit
        assert host.all("done")


@pytest.mark.parametrize(
    ("wanted", "accelerator", "limited"),
    [(None, "cpu", True), (None, "gpu", False), (None, "delegate:/x.so", False), (0, "cpu", False)],
)
def test_what_is_limited_where_nothing_is_asked(
    wanted: int | None, accelerator: str, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(agent_source().parent))
    from edgepack_agent import memory

    assert bool(memory.limit_for(wanted, accelerator)) is limited
    assert memory.limit_for(7, accelerator) == 7


def test_its_files_are_private(running: Host, tmp_path: Path) -> None:
    inside = list((tmp_path / "home").rglob("*"))
    assert inside
    assert [p for p in inside if stat.S_IMODE(p.stat().st_mode) & 0o077] == []


def test_its_time_ends_also_while_the_host_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(agent_source().parent))
    from edgepack_agent.pulse import Pulse

    class Writer:
        def pulse(self) -> None:
            pass

    ended: list[float] = []
    began = time.monotonic()

    def end() -> None:
        ended.append(time.monotonic() - began)
        threading.Event().wait()  # as a process that has ended

    Pulse(Writer(), end, end).end_after(0.6)
    while not ended and time.monotonic() - began < 20:
        time.sleep(0.05)
    assert ended and ended[0] >= 0.6

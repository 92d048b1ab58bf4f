"""Faults injected for real, at whatever moment: results are kept, nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack.fleet import DeviceReport, run_jobs
from edgepack.model import Event, Job, Status

from . import package
from .sshd import Sshd
from .test_resume import SHORT, kept, register, start

Make = Callable[..., Job]


def run(job: Job, emit: Callable[[Event], None] = lambda event: None) -> DeviceReport:
    (report,) = run_jobs([job], emit=emit)
    return report


def long(job: Job) -> Job:
    """Still measuring whatever the test does to it."""
    return replace(job, settings=replace(job.settings, max_s=50.0, min_rounds=100_000))


def on_board(board: Sshd) -> int:
    return sum(file.stat().st_size for file in (board.home / "blobs").glob("*"))


@pytest.mark.parametrize("seed", range(4))
def test_an_upload_cut_anywhere_goes_on_there(board: Sshd, make_job: Make, seed: int) -> None:
    job = make_job(board.device(), padding=6_000_000)
    total = sum(blob.bytes for blob in job.blobs)
    offset = random.Random(seed).randrange(total)
    cut = threading.Event()

    def cut_there(event: Event) -> None:
        """And whenever it goes on: one cut alone is got over."""
        if event.stage == "push" and ((event.done or 0) >= offset or cut.is_set()):
            cut.set()
            board.cut()

    first = run(job, cut_there)
    if first.failure is not None:  # else everything was there when the link was cut
        assert first.failure.code == "EP407"
    assert board.free()
    for file in (board.home / "blobs").iterdir():
        whole = next(b for b in job.blobs if file.name.startswith(b.sha256))
        assert file.suffix == ".part" or file.stat().st_size == whole.bytes
    there = on_board(board)
    second = run(job)
    assert second.failure is None
    assert second.transfer.blob_bytes == total - there
    assert not list(board.home.rglob("*.part"))


def measuring(act: Callable[[], None]) -> Callable[[Event], None]:
    """An `emit` that does something once, when the device begins to measure."""
    done = threading.Event()

    def emit(event: Event) -> None:
        if event.stage in ("warmup", "measure") and not done.is_set():
            done.set()
            act()

    return emit


def test_a_killed_agent_is_an_answer_and_leaves_nothing(board: Sshd, make_job: Make) -> None:
    def kill() -> None:
        for pid in board.agents():
            os.kill(pid, signal.SIGKILL)

    report = run(long(make_job(board.device())), measuring(kill))
    assert report.failure is not None
    assert report.failure.code in ("EP502", "EP407")
    assert board.free()
    assert run(make_job(board.device())).failure is None  # its lease went with it


def test_a_stopped_agent_is_found_where_tcp_still_answers(board: Sshd, make_job: Make) -> None:
    stopped: list[int] = []
    since: list[float] = []

    def stop() -> None:
        stopped.extend(board.agents())
        since.append(time.monotonic())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    report = run(long(make_job(board.device())), measuring(stop))
    assert report.failure is not None
    assert report.failure.code == "EP407"
    assert "nothing for 8 s" in report.failure.what
    assert all(m.status is Status.FAILED for m in report.measurements)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert board.free()


def test_a_host_that_stands_still_is_taken_for_dead(board: Sshd, tmp_path: Path) -> None:
    package.write(tmp_path / "pack")
    words = ["bench", str(tmp_path / "pack"), *register(board)]
    host = start(*words, "--mode", "sustained", "--max-seconds", "40")
    wait_for(lambda: len(board.processes()) >= 3)
    host.send_signal(signal.SIGSTOP)
    assert board.free()
    host.kill()
    host.communicate()


def test_the_second_ctrl_c_ends_it_at_once(board: Sshd, tmp_path: Path) -> None:
    """While a device that never answers is waited for."""
    package.write(tmp_path / "pack")
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    register(board)
    from edgepack import config
    from edgepack.registry import Registry

    registry = Registry(config.devices_file())
    registry.remove("board0")
    registry.add(replace(board.device("board0"), python=str(slow)))
    host = start("bench", str(tmp_path / "pack"), "-d", "board0", "-d", "local", *SHORT)
    assert host.stderr is not None
    while "local float" not in host.stderr.readline():
        assert host.poll() is None
    host.send_signal(signal.SIGINT)
    time.sleep(0.3)
    host.send_signal(signal.SIGINT)
    host.communicate(timeout=30)
    assert host.returncode == 130
    assert all(device == "local" for device, _ in kept())


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


HOSTILE = """
import json, os, sys
flood = sys.argv[1]
os.write(1, b"\\x1e" + json.dumps({"event": "agent", "have": True}).encode() + b"\\n")
piece = os.urandom(1 << 16) if flood == "noise" else b"x" * (1 << 16)
if flood == "record":
    os.write(1, b"\\x1e")
try:
    for _ in range(16384):
        os.write(1, piece)
except OSError:
    pass
"""


@pytest.mark.parametrize("flood", ["record", "noise"])
def test_a_gigabyte_of_nonsense_is_no_result_and_takes_no_memory(
    board: Sshd, make_job: Make, tmp_path: Path, flood: str
) -> None:
    script = tmp_path / "hostile.py"
    script.write_text(HOSTILE)
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nexec {sys.executable} {script} {flood}\n")
    fake.chmod(0o755)
    job = make_job(replace(board.device(), python=str(fake)))
    before = peak()
    report = run(job)
    assert report.failure is not None
    assert report.failure.code in ("EP501", "EP404", "EP407", "EP502", "EP408")
    assert not any(m.status is Status.OK for m in report.measurements)
    assert peak() - before < 50_000_000


def peak() -> int:
    """This process's largest memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="a link that can be cut needs root")
def test_a_partition_is_found_and_nothing_goes_on_behind_it(tmp_path: Path, make_job: Make) -> None:
    namespace = f"eptest{os.getpid()}"
    near, far = f"epn{os.getpid() % 100000}", f"epf{os.getpid() % 100000}"
    setup = f"""
        ip netns add {namespace} && ip link add {near} type veth peer name {far} netns {namespace}
        ip addr add 10.77.0.1/30 dev {near} && ip link set {near} up
        ip -n {namespace} addr add 10.77.0.2/30 dev {far} && ip -n {namespace} link set {far} up
        ip -n {namespace} link set lo up
    """
    done = subprocess.run(setup, shell=True, capture_output=True, text=True)
    if done.returncode:
        subprocess.run(["ip", "netns", "del", namespace], check=False)
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
    Path("/run/sshd").mkdir(exist_ok=True)
    within = ("ip", "netns", "exec", namespace)
    board = Sshd(tmp_path / "far", address="10.77.0.2", within=within)
    board.start()
    cut_at: list[float] = []

    def cut() -> None:
        cut_at.append(time.monotonic())
        subprocess.run(["ip", "link", "set", near, "down"], check=True)

    try:
        report = run(long(make_job(board.device())), measuring(cut))
        found = time.monotonic() - cut_at[0]
        assert report.failure is not None
        assert report.failure.code == "EP407"
        assert board.free()
        gone = time.monotonic() - cut_at[0]
        print(f"verdict after {found:.1f} s, board free after {gone:.1f} s")
        subprocess.run(["ip", "link", "set", near, "up"], check=True)
        assert run(make_job(board.device())).failure is None
    finally:
        board.stop()
        subprocess.run(["ip", "netns", "del", namespace], check=True)

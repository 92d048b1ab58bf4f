"""Jobs on real sshd devices: what a run costs, and how each fault ends."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import config
from edgepack.fleet import DeviceReport, conversation, run_jobs
from edgepack.model import Event, Job, RuntimeSpec, Status

from .sshd import Sshd, fingerprint, free_port, keygen

Make = Callable[..., Job]


def run(*jobs: Job, emit: Callable[[Event], None] = lambda event: None) -> dict[str, DeviceReport]:
    return {report.device: report for report in run_jobs(jobs, emit=emit, connect_timeout_s=10)}


def one(job: Job, emit: Callable[[Event], None] = lambda event: None) -> DeviceReport:
    return run(job, emit=emit)[job.device.name]


def assert_failed(report: DeviceReport, code: str, status: Status) -> str:
    """Every variant has the failure; the text that a user reads."""
    assert report.failure is not None
    assert report.failure.code == code
    assert report.failure.hint
    assert [m.status for m in report.measurements] == [status, status]
    assert all(m.failure == report.failure for m in report.measurements)
    return report.failure.what + report.failure.hint


def leftovers(board: Sshd) -> list[str]:
    return [file.name for file in board.home.rglob("*") if ".part" in file.name]


def test_a_run_measures_and_the_second_pushes_nothing(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device())
    first, second = one(job), one(job)
    for report in (first, second):
        assert report.failure is None
        assert [(m.variant, m.status) for m in report.measurements] == [
            ("float", Status.OK),
            ("int8", Status.OK),
        ]
        for measurement in report.measurements:
            assert measurement.runtime is not None
            assert measurement.runtime.name == "ai-edge-litert"
            assert len(measurement.rounds) >= 3
            assert all(value > 0 for values in measurement.rounds for value in values)
            assert measurement.environment["cpu"]["cores"] >= 1
            assert "after" in measurement.environment
        assert (report.transfer.connections, report.transfer.execs) == (1, 1)
        assert report.transfer.cipher == "aes128-gcm@openssh.com"
    assert first.transfer.blob_bytes == sum(blob.bytes for blob in job.blobs)
    assert first.transfer.agent_bytes > 0
    assert second.transfer.blob_bytes == 0
    assert second.transfer.agent_bytes == 0
    assert second.transfer.sent_bytes < first.transfer.sent_bytes
    assert leftovers(board) == []
    assert board.home.stat().st_mode & 0o077 == 0


def test_a_chatty_rc_file_does_no_harm(start_sshd: Callable[..., Sshd], make_job: Make) -> None:
    rc = "ForceCommand sh -c 'echo Welcome aboard; echo {}; exec sh -c \"$SSH_ORIGINAL_COMMAND\"'"
    report = one(make_job(start_sshd("chatty", rc).device()))
    assert report.failure is None
    assert [m.status for m in report.measurements] == [Status.OK, Status.OK]


def test_unreachable_and_the_others_keep_their_results(board: Sshd, make_job: Make) -> None:
    gone = replace(board.device("gone"), port=free_port())
    reports = run(make_job(gone), make_job(board.device()))
    assert str(gone.port) in assert_failed(reports["gone"], "EP401", Status.UNREACHABLE)
    assert [m.status for m in reports["board"].measurements] == [Status.OK, Status.OK]


def test_a_silent_host_is_given_up(board: Sshd, make_job: Make) -> None:
    with socket.socket() as silent:  # takes connections and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        device = replace(board.device(), port=silent.getsockname()[1])
        report = next(iter(run_jobs([make_job(device)], emit=print, connect_timeout_s=1)))
    assert_failed(report, "EP401", Status.UNREACHABLE)


def test_a_dropped_handshake_is_tried_again(board: Sshd, make_job: Make) -> None:
    """As a gateway beyond MaxStartups does: it takes the connection and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        threading.Thread(target=_drop_two_then_forward, args=(gateway, board.port)).start()
        device = replace(board.device(), port=gateway.getsockname()[1])
        report = one(make_job(device))
    assert report.failure is None
    assert report.transfer.connections == 3
    assert report.transfer.execs == 1


def _drop_two_then_forward(gateway: socket.socket, port: int) -> None:
    for _ in range(2):
        gateway.accept()[0].close()
    near = gateway.accept()[0]
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        to = {near: far, far: near}
        while True:
            for ready in select.select([near, far], [], [])[0]:
                try:
                    data = ready.recv(65536)
                except ConnectionResetError:  # the end of a connection, as good as the other
                    return
                if not data:
                    return
                to[ready].sendall(data)


def test_a_changed_host_key_stops_it_with_both_fingerprints(board: Sshd, make_job: Make) -> None:
    device, old = board.device(), board.fingerprint()
    board.change_host_key()
    text = assert_failed(one(make_job(device)), "EP402", Status.UNREACHABLE)
    assert old in text
    assert board.fingerprint() in text
    assert "edgepack device trust board" in text
    assert not board.home.exists()


def test_a_host_key_of_another_type_is_a_changed_one(board: Sshd, make_job: Make) -> None:
    other = keygen(board.folder / "rsa", "rsa")
    public = other.with_suffix(".pub").read_text().split()
    device = replace(board.device(), host_keys=(f"{public[0]} {public[1]}",))
    text = assert_failed(one(make_job(device)), "EP402", Status.UNREACHABLE)
    assert fingerprint(other) in text
    assert board.fingerprint() in text


def test_the_type_of_the_pinned_key_is_negotiated(
    start_sshd: Callable[..., Sshd], make_job: Make, tmp_path: Path
) -> None:
    rsa = keygen(tmp_path / "rsa", "rsa")
    board = start_sshd("two-keys", f"HostKey {rsa}")
    public = rsa.with_suffix(".pub").read_text().split()
    device = replace(board.device(), host_keys=(f"{public[0]} {public[1]}",))
    assert one(make_job(device)).failure is None


def test_no_pinned_key_means_no_connection(board: Sshd, make_job: Make) -> None:
    report = one(make_job(board.device(pinned=False)))
    assert "device trust board" in assert_failed(report, "EP402", Status.UNREACHABLE)
    assert report.transfer.connections == 0


def test_a_refused_login(board: Sshd, make_job: Make) -> None:
    board.authorized.write_text("")
    text = assert_failed(one(make_job(board.device())), "EP403", Status.UNREACHABLE)
    assert str(board.key) in text


@pytest.mark.parametrize("content", [None, "not a key"])
def test_an_unusable_key_file(
    board: Sshd, make_job: Make, tmp_path: Path, content: str | None
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    device = replace(board.device(), key=str(key))
    assert str(key) in assert_failed(one(make_job(device)), "EP403", Status.UNREACHABLE)


def test_an_encrypted_key_file_asks_for_the_agent(board: Sshd, make_job: Make) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(board.key)]
    subprocess.run(command, check=True, capture_output=True)
    text = assert_failed(one(make_job(board.device())), "EP403", Status.UNREACHABLE)
    assert "ssh-add" in text


@pytest.fixture
def ssh_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    path = str(tmp_path / "agent.sock")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    while not Path(path).exists():
        assert process.poll() is None
    yield
    process.terminate()
    process.wait(10)


def test_the_ssh_agent_logs_in(board: Sshd, make_job: Make, ssh_agent: None) -> None:
    device = replace(board.device(), key=None)
    assert "none in the ssh-agent" in assert_failed(
        one(make_job(device)), "EP403", Status.UNREACHABLE
    )
    subprocess.run(["ssh-add", "-q", str(board.key)], check=True)
    assert one(make_job(device)).failure is None


def test_no_python(board: Sshd, make_job: Make) -> None:
    report = one(make_job(replace(board.device(), python="/nowhere/py thon3")))
    assert "--python" in assert_failed(report, "EP404", Status.FAILED)


def test_something_that_is_no_python(board: Sshd, make_job: Make) -> None:
    report = one(make_job(replace(board.device(), python="/bin/false")))
    assert_failed(report, "EP404", Status.FAILED)


def test_no_runtime(board: Sshd, make_job: Make) -> None:
    profile = replace(
        config.load_profile("desktop"), runtimes=(RuntimeSpec(name="tflite-runtime"),)
    )
    report = one(make_job(board.device(), profile=profile))
    assert {m.failure.code for m in report.measurements if m.failure} == {"EP405"}
    assert all(m.status in (Status.FAILED, Status.UNSUPPORTED) for m in report.measurements)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("size", ["16k", "4m"])
def test_a_full_disk_leaves_nothing_behind(board: Sshd, make_job: Make, size: str) -> None:
    """16k: not even the agent fits. 4m: the agent fits and the blobs do not."""
    board.home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "edgepack-test", str(board.home)]
    subprocess.run(mount, check=True)
    try:
        report = one(make_job(board.device(), padding=5_000_000))
        assert_failed(report, "EP406", Status.FAILED)
        assert report.transfer.blob_bytes == 0
        assert leftovers(board) == []
    finally:
        subprocess.run(["umount", str(board.home)], check=True)


def test_after_a_cut_only_the_rest_is_sent(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device(), padding=20_000_000)
    total = sum(blob.bytes for blob in job.blobs)
    cut = threading.Event()

    def cut_at_half(event: Event) -> None:
        """And whenever it goes on: one cut alone is got over."""
        if event.stage == "push" and event.done and (event.done > total / 2 or cut.is_set()):
            cut.set()
            board.cut()

    assert_failed(one(job, emit=cut_at_half), "EP407", Status.FAILED)
    blobs = board.home / "blobs"
    kept = sum(file.stat().st_size for file in blobs.iterdir())
    assert 0 < kept < total
    report = one(job)
    assert report.failure is None
    assert report.transfer.blob_bytes == total - kept
    assert leftovers(board) == []


def test_a_cut_push_goes_on_by_itself(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device(), padding=20_000_000)
    total = sum(blob.bytes for blob in job.blobs)
    said: list[str] = []
    cut = threading.Event()

    def cut_once(event: Event) -> None:
        said.append(event.message)
        if event.stage == "push" and event.done and event.done > total / 2 and not cut.is_set():
            cut.set()
            board.cut()

    report = one(job, emit=cut_once)
    assert report.failure is None
    assert any("goes on from there" in message for message in said)
    assert report.transfer.connections == report.transfer.execs == 2
    assert total <= report.transfer.blob_bytes < 1.5 * total
    assert leftovers(board) == []


def test_a_push_may_take_longer_than_an_answer(
    board: Sshd, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 8.0)
    job = make_job(board.device(), padding=5_000_000)
    job = replace(job, settings=replace(job.settings, wait_s=0.0))
    times: list[float] = []

    def slowly(event: Event) -> None:
        if event.stage == "push":
            times.append(time.monotonic())
            time.sleep(0.5)

    assert one(job, emit=slowly).failure is None
    assert times[-1] - times[0] > 8.0


def test_cancelling_keeps_what_was_measured(board: Sshd, make_job: Make) -> None:
    job = make_job(board.device())
    job = replace(job, settings=replace(job.settings, max_s=50, min_rounds=100_000))
    cancel = threading.Event()

    def cancel_when_measuring(event: Event) -> None:
        if event.kind == "samples":
            cancel.set()

    reports = list(run_jobs([job], emit=cancel_when_measuring, cancel=cancel))
    assert reports[0].interrupted
    assert any(measurement.rounds for measurement in reports[0].measurements)


def test_a_device_that_never_answers_is_given_up(
    board: Sshd, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 5.0)
    python = _script(board.folder / "hang", "echo thinking; exec sleep 40")
    report = one(make_job(replace(board.device(), python=str(python))))
    assert "thinking" in assert_failed(report, "EP408", Status.TIMEOUT)


def test_cancelling_does_not_wait_for_a_device_that_never_answers(
    board: Sshd, make_job: Make
) -> None:
    python = _script(board.folder / "hang", "sleep 20; exit 1")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    job = make_job(replace(board.device(), python=str(python)))
    report = next(iter(run_jobs([job], emit=print, cancel=cancel)))
    assert report.interrupted
    assert report.failure is not None
    assert "interrupted" in report.failure.what


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path

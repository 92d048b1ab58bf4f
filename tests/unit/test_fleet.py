"""The fleet against agents that misbehave: real processes, real pipes, scripted words."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import agent
from edgepack.fleet import DeviceReport, run_jobs
from edgepack.model import Event, Job, Status
from tests.scripted import CONTENT, SHA, make_job, scripted


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


@pytest.fixture
def run(job: Job, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DeviceReport]:
    """Runs the job with an agent that is this script."""

    def run_with(script: str) -> DeviceReport:
        bundle = scripted(script)
        monkeypatch.setattr(agent, "bundle", lambda: bundle)
        return next(iter(run_jobs([job], emit=lambda event: None)))

    return run_with


Run = Callable[[str], DeviceReport]


def test_a_proper_agent_gives_a_measurement(run: Run) -> None:
    report = run("""
        start()
        samples(1)
        samples(0)
        say("environment", environment={"cpu": "x"})
        data = base64.b64encode(zlib.compress(bytes(8))).decode()
        say("outputs", variant="int8", output="y", dtype="float32", shape=[2, 1], n=2, data=data)
        result(rounds=2, flags=["throttled"], peak_rss_bytes=5, threads=3)
        say("state", state={"load": 1})
        done()
    """)
    assert report.failure is None
    (measurement,) = report.measurements
    assert measurement.status is Status.OK
    assert measurement.rounds == ((10, 20), (10, 20))
    assert measurement.flags == ("throttled",)
    assert (measurement.peak_rss_bytes, measurement.threads) == (5, 3)
    assert measurement.environment == {"cpu": "x", "after": {"load": 1}}
    assert report.outputs["int8"]["y"].shape == (2, 1)


def test_whoever_watches_hears_of_rounds_now_and_then(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = scripted("""
        start()
        for number in range(100):
            samples(number)
        result(rounds=100)
        done()
    """)
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    heard: list[Event] = []
    (report,) = run_jobs([job], emit=heard.append)
    told = [each for each in heard if each.kind == "samples"]
    assert 1 <= len(told) < 100 and len(report.measurements[0].rounds) == 100
    assert (told[0].variant, told[0].done, told[0].value) == ("int8", 1, 0.015), "µs"


def test_only_the_missing_bytes_are_sent(run: Run) -> None:
    report = run(f"""
        hello()
        hear()
        say("need", blobs=[{{"sha256": "{SHA}", "have": 2000}}], free_bytes=1)
        chunk = hear()
        data = sys.stdin.buffer.read(chunk["size"])
        if chunk["encoding"] == "zlib":
            data = zlib.decompress(data)
        right = hashlib.sha256(data).hexdigest() == "{hashlib.sha256(CONTENT[2000:]).hexdigest()}"
        samples()
        result(status="ok" if right and chunk["offset"] == 2000 else "failed")
        done()
    """)
    assert report.measurements[0].status is Status.OK
    assert report.transfer.blob_bytes == 3000


@pytest.mark.parametrize(
    "script",
    [
        "start(); say('samples', variant='other', round=0, start_ns=0, ns=pack(1))",
        "start(); samples(); samples()",
        "start(); samples(); result(rounds=2)",
        "start(); result(rounds=0)",
        "start(); samples(); result(); samples(1)",
        "start(); samples(); result(); result()",
        "start(); done()",
        'start(); samples(); result(); os.write(1, 2 * (chr(30) + \'{"event":"done"}\' + '
        "chr(10)).encode())",
        "hello(protocol=2)",
        "hello(digest='0' * 64)",
        "hello(); hear(); say('need', blobs=[{'sha256': '0' * 64, 'have': 0}])",
        f"hello(); hear(); say('need', blobs=[{{'sha256': '{SHA}', 'have': 5001}}])",
        "start(); say('need', blobs=[])",
        "start(); say('agent', have=True)",
        "start(); print(chr(30) + '{', flush=True)",
        "start(); print(chr(30) + 'x' * 9_000_000, flush=True)",
        "start(); raw = (b'\\x01' + bytes(7)) * 1_000_000; "
        "many = base64.b64encode(zlib.compress(raw)).decode(); "
        "[say('samples', variant='int8', round=n, start_ns=0, ns=many) for n in range(5)]",
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, script: str) -> None:
    report = run(script + "; time.sleep(60)")
    assert report.failure is not None
    assert report.failure.code == "EP501"
    if report.measurements[0].status is not Status.OK:  # a result that came before stays
        assert report.measurements[0].failure == report.failure
        assert report.measurements[0].rounds == ()


@pytest.mark.parametrize(
    ("script", "code", "word"),
    [
        ("start(); os.kill(os.getpid(), 11)", "EP502", "-11"),
        ("start(); sys.stderr.write('out of luck'); sys.exit(9)", "EP502", "out of luck"),
        ("start(); say('error', code='EP405', what='no runtime', hint='x')", "EP405", "no runtime"),
        ("raise SystemExit(3)", "EP502", "3"),
    ],
)
def test_an_agent_that_ends_early_says_why(run: Run, script: str, code: str, word: str) -> None:
    report = run(script)
    assert report.failure is not None
    assert report.failure.code == code
    assert word in report.failure.what
    assert report.measurements[0].status is Status.FAILED


def test_the_agents_own_error_beats_the_broken_pipe(run: Run) -> None:
    report = run(f"""
        hello()
        hear()
        say("error", code="EP406", what="full", hint="tidy up")
        say("need", blobs=[{{"sha256": "{SHA}", "have": 0}}])
        os.close(0)
        time.sleep(0.5)
    """)
    assert report.failure is not None
    assert report.failure.code == "EP406"


def test_a_slow_shell_gets_no_heartbeat_before_the_agent(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The device would take it for the agent's first bytes."""
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 1.5\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    bundle = scripted("start(); samples(); result(); done()")
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    device = replace(job.device, python=str(slow))
    (report,) = run_jobs([replace(job, device=device)], emit=lambda event: None)
    assert report.failure is None


def test_an_agent_that_ended_well_while_it_was_spoken_to(run: Run) -> None:
    """Its input is closed, so the next heartbeat fails; all that it said is there to be read."""
    report = run("""
        start()
        os.close(0)
        time.sleep(1.2)
        samples()
        result()
        done()
    """)
    assert report.failure is None
    assert report.measurements[0].status is Status.OK


def test_heartbeats_come_every_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepack.fleet.conversation._STORE_S", -590.0)
    report = run("""
        start()
        kinds = [hear()["type"] for _ in range(2)]
        samples()
        result(status="ok" if kinds == ["heartbeat"] * 2 else "failed")
        done()
    """)
    assert report.measurements[0].status is Status.OK


def test_a_job_that_takes_too_long_is_a_timeout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepack.fleet.conversation._STORE_S", -599.0)
    report = run("start(); samples(); time.sleep(60)")
    assert report.measurements[0].status is Status.TIMEOUT
    assert report.measurements[0].rounds == ((10, 20),)


def test_a_package_file_that_is_gone_is_an_error(run: Run, job: Job) -> None:
    Path(job.blobs[0].path).unlink()
    report = run(f"""
        hello()
        hear()
        say("need", blobs=[{{"sha256": "{SHA}", "have": 0}}])
        time.sleep(60)
    """)
    assert report.failure is not None
    assert report.failure.code == "EP208"


def test_ctrl_c_keeps_what_was_measured(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = scripted("""
        start()
        samples()
        say("progress", stage="measure", variant="int8", done=1, total=2)
        while hear()["type"] != "cancel":
            pass
        result(flags=["cancelled"])
        done()
    """)
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    reports = []

    def interrupt(event: Event) -> None:
        if event.stage == "measure" and event.kind == "progress":
            os.kill(os.getpid(), signal.SIGINT)

    # Where the tests were started in the background, a shell has had the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for report in run_jobs([job], emit=interrupt):
                reports.append(report)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reports[0].interrupted
    assert reports[0].measurements[0].rounds == ((10, 20),)


def test_a_killed_host_leaves_no_process(tmp_path: Path) -> None:
    """The agent's standard input ends with the host; `sleep` stands for its children."""
    pid_file = tmp_path / "pid"
    host = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            from edgepack.transport.local import LocalTransport
            session = LocalTransport().open(
                "{sys.executable} -c 'import os, sys; print(os.getpid(), flush=True);"
                " sys.stdin.read()'"
            )
            open({str(pid_file)!r}, "wb").write(session.receive(20))
            session.receive(20)
        """)]
    )  # fmt: skip
    pid = _eventually(lambda: pid_file.exists() and pid_file.read_text().strip())
    host.send_signal(signal.SIGKILL)
    host.wait()
    assert _eventually(lambda: not Path(f"/proc/{pid}").exists())


def _eventually(condition: Callable[[], object]) -> object:
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value

"""Children that crash or hang, hosts that die or change their mind, runtimes that are missing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .host import Event, Host, make_job

Job = Callable[..., tuple[Event, dict[str, bytes]]]

# Long enough that the job is still in its rounds whatever the test does to it.
LONG = {"min_rounds": 100000, "max_s": 40.0, "timeout_s": 60.0}


def in_rounds(host: Host, job: tuple[Event, dict[str, bytes]]) -> None:
    """Bring a job to where both variants have been measured twice."""
    host.send(job[0])
    host.push(job[1])
    for name in ("float", "int8"):
        host.until("samples", variant=name)
    host.until("samples", round=1)


def ended(pids: list[int]) -> bool:
    """Whether these processes are gone, waiting a while for it."""
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "killed_by", [signal.SIGSEGV, signal.SIGKILL, signal.SIGILL], ids=lambda s: s.name
)
def test_a_crash_is_a_result_and_the_others_go_on(
    host: Host, job: Job, killed_by: signal.Signals
) -> None:
    in_rounds(host, job(min_rounds=100000, max_s=3.0))
    host.signal_worker(0, killed_by)
    host.rest()
    results = host.results()
    crashed = results["float"]
    assert (crashed["status"], crashed["error"]["code"]) == ("crashed", "EP503")
    assert f"signal {killed_by.value} ({killed_by.name})" in crashed["error"]["what"]
    assert crashed["rounds"] == sum(e["variant"] == "float" for e in host.all("samples")) > 0
    assert results["int8"]["status"] == "ok"
    assert results["int8"]["quality"]["value"] == 1.0
    assert results["int8"]["rounds"] > crashed["rounds"]
    assert host.exit_code() == 0


def test_a_child_that_dies_while_it_waits(host: Host, job: Job) -> None:
    """Killed between its turns, so that the next command meets a broken pipe."""
    message, blobs = job()
    host.send(message)
    host.push(blobs)
    host.until("progress", stage="load", variant="int8")
    host.signal_worker(0, signal.SIGKILL)
    host.rest()
    assert host.results()["float"]["status"] == "crashed"
    assert host.results()["float"]["rounds"] == 0
    assert host.results()["int8"]["status"] == "ok"
    assert host.exit_code() == 0


def test_a_hang_is_a_timeout_and_the_others_are_kept(host: Host, job: Job) -> None:
    in_rounds(host, job(min_rounds=100000, max_s=2.0, timeout_s=8.0))
    host.signal_worker(0, signal.SIGSTOP)
    host.rest()
    results = host.results()
    assert (results["float"]["status"], results["float"]["error"]["code"]) == ("timeout", "EP408")
    assert results["int8"]["status"] == "ok"
    assert host.exit_code() == 0


def test_a_file_that_is_no_model_fails_alone(host: Host, classifiers: dict[str, bytes]) -> None:
    models = {"broken": classifiers["float"][:1200], "whole": classifiers["float"]}
    host.serve(*make_job(models))
    results = host.results()
    assert results["broken"]["status"] in ("failed", "crashed")
    assert results["broken"]["accelerator"]["actual"] == "none"
    assert results["whole"]["status"] == "ok"


def test_the_end_of_input_ends_everything(host: Host, job: Job) -> None:
    in_rounds(host, job(**LONG))
    workers = host.workers()
    assert len(workers) == 2
    host.close_stdin()
    assert host.exit_code() == 3
    assert ended(workers)


def test_silence_ends_everything(host: Host, job: Job) -> None:
    in_rounds(host, job(**LONG))
    workers = host.workers()
    host.heartbeats.clear()
    assert host.exit_code(timeout=13.0) == 3
    assert ended(workers)


def test_silence_before_the_job_ends_the_agent(home: Path) -> None:
    with Host(home, heartbeats=False) as host:
        assert host.exit_code(timeout=13.0) == 3


def test_heartbeats_keep_it_alive(host: Host, job: Job) -> None:
    in_rounds(host, job(min_rounds=100000, max_s=12.0))
    host.rest()
    assert host.exit_code() == 0


def test_a_killed_agent_leaves_no_child(host: Host, job: Job) -> None:
    in_rounds(host, job(**LONG))
    workers = host.workers()
    os.kill(host.process.pid, signal.SIGKILL)
    host.exit_code()
    assert ended(workers)


def test_cancel_keeps_what_was_measured(host: Host, job: Job) -> None:
    in_rounds(host, job(**LONG))
    workers = host.workers()
    host.send({"type": "cancel"})
    events = host.rest()
    assert (events[-1]["event"], events[-1]["cancelled"]) == ("done", True)
    for result in host.results().values():
        assert result["status"] == "ok"
        assert result["rounds"] > 0
        assert {"cancelled", "not-converged"} <= set(result["flags"])
    assert host.exit_code() == 0
    assert ended(workers)


def test_cancel_with_a_hanging_child(host: Host, job: Job) -> None:
    in_rounds(host, job(**LONG))
    host.signal_worker(0, signal.SIGSTOP)
    host.send({"type": "cancel"})
    assert host.rest()[-1]["cancelled"] is True
    hanging = host.results()["float"]
    assert hanging["rounds"] > 0
    assert hanging["status"] == "ok"  # cancelled, and not waited for until its time was up


def test_cancel_before_anything_was_measured(host: Host, job: Job) -> None:
    host.send(job()[0])
    host.until("need")
    host.send({"type": "cancel"})
    assert host.rest()[-1]["cancelled"] is True
    assert not host.results()


def test_no_runtime_says_which_and_why(home: Path, job: Job, bare: Callable[[Path], str]) -> None:
    with Host(home, python=bare(Path(sys.executable))) as host:
        host.serve(*job(runtimes=("ai-edge-litert", "tflite-runtime", "no-such-runtime")))
        (error,) = host.all("error")
        assert error["code"] == "EP405"
        for reason in (
            "ai-edge-litert: ModuleNotFoundError: No module named 'numpy'",
            "tflite-runtime: ModuleNotFoundError",
            "no runtime 'no-such-runtime'",
        ):
            assert reason in error["what"]
        assert host.events[-1]["event"] == "done"
        assert host.exit_code() == 1


def test_stray_prints_stay_out_of_the_events(
    home: Path, tmp_path: Path, job: Job, bare: Callable[[Path], str]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "numpy.py").write_text(
        "import os\nprint('a stray print', flush=True)\nos.write(1, b'a native message\\n')\n"
        "raise ImportError('built for another board')\n"
    )
    with Host(home, python=bare(Path(sys.executable))) as host:
        host.serve(*job(sys_path=[str(site)]))
        assert "built for another board" in host.all("error")[0]["what"]
        assert host.noise == b""
        assert "a stray print" in host.log()
        assert "a native message" in host.log()

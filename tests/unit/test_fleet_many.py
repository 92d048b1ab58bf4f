"""Many devices at once: what one of them does is nothing to the others."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgepack import agent, config, transport
from edgepack.fleet import run_jobs
from edgepack.fleet.gateways import Gateways
from edgepack.model import Device, Event, Job, Status
from edgepack.registry import Registry
from edgepack.transport.local import LocalTransport
from edgepack.transport.ssh import route
from tests.scripted import make_job, scripted


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


def test_many_devices_run_at_once_and_emit_one_at_a_time(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = scripted("start(); samples(); result(); done()")
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    inside = threading.Lock()

    def emit(event: Event) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        inside.release()

    jobs = [replace(job, device=replace(job.device, name=f"d{n}")) for n in range(8)]
    reports = list(run_jobs(jobs, emit=emit, width=4))
    assert {report.device for report in reports} == {f"d{n}" for n in range(8)}
    assert all(report.failure is None for report in reports)


def test_the_agent_that_is_announced_is_the_one_that_is_sent(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def another_each_time() -> agent.AgentBundle:
        made.append(len(made))
        return scripted(f"start(); samples(); result(); done()  # {len(made)}")

    monkeypatch.setattr(agent, "bundle", another_each_time)
    (report,) = run_jobs([job], emit=print)
    assert report.failure is None


def test_an_error_nobody_foresaw_is_one_devices_failure(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = scripted("start(); samples(); result(); done()")
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    reach = transport.for_device

    def reach_but_one(device: Device, **more: Any) -> Any:
        if device.name == "d1":
            raise ZeroDivisionError("what nobody foresaw")
        return reach(device, **more)

    monkeypatch.setattr(transport, "for_device", reach_but_one)
    jobs = [replace(job, device=replace(job.device, name=f"d{n}")) for n in range(3)]
    told: list[Event] = []
    reports = {report.device: report for report in run_jobs(jobs, emit=told.append)}
    assert [reports[name].failure for name in ("d0", "d2")] == [None, None]
    failure = reports["d1"].failure
    assert failure is not None
    assert (failure.code, reports["d1"].measurements[0].failure) == ("EP502", failure)
    assert "ZeroDivisionError: what nobody foresaw" in failure.what
    assert "test_fleet_many.py:" in failure.what, "there is no traceback to look at"
    assert [event.device for event in told if event.kind == "failed"] == ["d1"]


def test_what_was_heard_before_an_error_nobody_foresaw_is_kept(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = scripted("start(); samples(); result(); done()")
    monkeypatch.setattr(agent, "bundle", lambda: bundle)

    def unforeseen(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("edgepack.fleet.conversation.Conversation._check_complete", unforeseen)
    (report,) = run_jobs([job], emit=lambda event: None)
    assert report.failure is not None
    assert report.failure.code == "EP502"
    assert report.measurements[0].status is Status.OK


def test_what_emit_raises_ends_the_run(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the caller's, and no failure of a device."""
    bundle = scripted("start(); samples(); result(); done()")
    monkeypatch.setattr(agent, "bundle", lambda: bundle)

    heard: list[Event] = []

    def emit(event: Event) -> None:
        heard.append(event)
        if len(heard) == 1:
            raise ZeroDivisionError(event.kind)

    with pytest.raises(ZeroDivisionError):
        list(run_jobs([job], emit=emit))


class _Behind:
    """A transport with one place, as through a gateway that is used up; the pipes are local."""

    def __init__(self, places: threading.Semaphore) -> None:
        self._places = places
        self._local = LocalTransport()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._local, name)

    def open(self, command: str) -> Any:
        self._places.acquire()
        session = self._local.open(command)
        close = session.close

        def close_and_leave() -> None:
            close()
            self._places.release()

        monkey: Any = session
        monkey.close = close_and_leave
        return session


def test_who_waits_for_a_gateway_holds_up_nobody_else(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind the gateway measure until the board that needs none, and came last, is done."""
    marker = tmp_path / "straight"
    bundle = scripted(f"""
        name, found = start()["job_id"], False
        end = time.monotonic() + (6 if name != "straight" else 0)
        while not found and time.monotonic() < end:
            found = os.path.exists({str(marker)!r})
            time.sleep(0.05)
        if name == "straight":
            open({str(marker)!r}, "w").close()
        samples()
        result(flags=["found"] if found else [])
        done()
    """)
    monkeypatch.setattr(agent, "bundle", lambda: bundle)
    monkeypatch.setattr(route, "GATEWAY_SESSIONS", 1)
    monkeypatch.setenv("EDGEPACK_SSH_CONFIG", "/dev/null")
    Registry(config.devices_file()).add(Device(name="gate", profile="p", host="10.0.0.1"))
    places = threading.Semaphore(1)
    monkeypatch.setattr(
        transport, "for_device", lambda device, **_: _Behind(places) if device.jump else local
    )
    local = LocalTransport()
    place = Gateways.place

    def place_late(self: Gateways, device: Device) -> Any:
        time.sleep(0 if device.jump else 0.5)
        return place(self, device)

    monkeypatch.setattr(Gateways, "place", place_late)

    def named(name: str, jump: str | None) -> Job:
        device = replace(job.device, name=name, transport="ssh", host=name, jump=jump)
        return replace(job, job_id=name, device=device)

    # Two spellings of one gateway.
    spelt = ("gate", "10.0.0.1", "gate")
    jobs = [named(f"behind{n}", jump) for n, jump in enumerate(spelt)]
    reports = {
        report.device: report
        for report in run_jobs([*jobs, named("straight", None)], emit=lambda event: None, width=1)
    }
    assert all(report.failure is None for report in reports.values())
    assert [reports[each.device.name].measurements[0].flags for each in jobs] == [("found",)] * 3

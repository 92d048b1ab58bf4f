"""Devices in the loop: side by side, each with the source beside the candidates."""

from __future__ import annotations

import threading

import pytest

from edgepack import inloop
from edgepack.fleet import DeviceReport
from edgepack.model import Device, Failure, Measurement, Profile, RuntimeSpec, Status, Transfer
from edgepack.plan import Target
from edgepack.searching.gauge import (
    SOURCE,
    DeviceLostError,
    Gauge,
    Setting,
    is_this_host,
    lost,
    patience,
)

PROFILE = Profile(
    name="desktop", title="", arch=("x86_64",), runtimes=(RuntimeSpec(name="ai-edge-litert"),)
)
GONE = Failure(code="EP401", what="nobody answers", hint="Switch it on.")


def target(name, **where):
    return Target(device=Device(name=name, profile="desktop", **where), profile=PROFILE)


@pytest.fixture
def jobs(monkeypatch):
    """What was asked of devices; "gone" fails, both others answer only when both were asked."""
    asked = []
    together = threading.Barrier(2, timeout=30)

    def measure(files, targets, *, settings, emit, device_data=None):
        [one] = targets
        asked.append((one, dict(files), settings))
        if one.device.name != "gone":
            together.wait()
        failure = GONE if one.device.name == "gone" else None
        status = Status.UNREACHABLE if failure else Status.OK
        measured = tuple(
            Measurement(
                variant=name,
                device=one.device.name,
                profile="desktop",
                status=status,
                failure=failure,
                rounds=() if failure else ((1000, 1000),),
            )
            for name in files
        )
        return [
            DeviceReport(
                device=one.device.name,
                measurements=measured,
                transfer=Transfer(device=one.device.name),
                failure=failure,
            )
        ]

    monkeypatch.setattr(inloop, "measure", measure)
    return asked


def test_devices_measure_at_once_and_the_source_every_time(jobs):
    with Gauge([target("a"), target("b")], b"source", seed=3, emit=print) as gauge:
        futures = gauge.begin({"t001": b"one"}, Setting())
        found = {device: future.result(60) for device, future in futures.items()}
    assert set(found) == {"a", "b"}
    assert all(set(by_name) == {SOURCE, "t001"} for by_name in found.values())
    assert all(files[SOURCE] == b"source" for _, files, _ in jobs)
    assert {settings.seed for _, _, settings in jobs} == {3}


def test_a_lost_device_says_why_and_the_others_go_on(jobs):
    with Gauge([target("a"), target("gone"), target("b")], b"s", seed=0, emit=print) as gauge:
        futures = gauge.begin({"t001": b"one"}, Setting())
        with pytest.raises(DeviceLostError) as caught:
            futures["gone"].result(60)
        assert caught.value.failure == GONE
        gauge.drop("gone")
        assert [one.device.name for one in gauge.targets] == ["a", "b"]
        assert futures["a"].result(60)["t001"].status is Status.OK


def test_a_setting_is_threads_and_runtime(jobs):
    with Gauge([target("a"), target("b")], b"s", seed=0, emit=print) as gauge:
        setting = Setting(threads=2, runtime="tflite-runtime==2.14.0")
        for future in gauge.begin({}, setting).values():
            future.result(60)
    for one, _, settings in jobs:
        wanted = RuntimeSpec(name="tflite-runtime", version="2.14.0", exact=True)
        assert one.profile.runtimes == (wanted,)
        assert settings.threads == 2


def test_a_busy_device_is_waited_for_within_reason(jobs):
    for seconds, waits in ((None, 600.0), (3600.0, 600.0), (200.0, 200.0), (5.0, 60.0)):
        wait_s = patience(seconds)
        assert wait_s == waits
        with Gauge([target("a"), target("b")], b"s", seed=0, emit=print, wait_s=wait_s) as gauge:
            for future in gauge.begin({}, Setting()).values():
                future.result(60)
        assert jobs[-1][2].wait_s == waits


def test_a_device_that_stayed_busy_says_how_to_go_on():
    busy = Failure(code="EP410", what="the device is measured by x", hint="--wait SECONDS")
    error = lost(DeviceLostError("a", busy), "s1")
    assert (error.code, error.where) == ("EP410", "a")
    assert "edgepack search --resume s1" in error.hint and "--wait" not in error.hint
    assert lost(DeviceLostError("gone", GONE), "s1").hint == GONE.hint


def test_the_host_rests_only_while_it_measures_itself():
    assert is_this_host(target("local", transport="local"))
    assert is_this_host(target("me", host="127.0.0.1"))
    assert not is_this_host(target("pi4", host="192.0.2.4"))

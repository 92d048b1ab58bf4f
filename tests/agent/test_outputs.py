"""Outputs for the host's own metrics: event after event, each below its limit, none twice."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgepack_agent import variant

from edgepack.errors import EdgepackError
from edgepack.fleet.report import Collector
from edgepack.model import Device, JobSettings, Profile
from edgepack.model import Job as HostJob
from edgepack.transport import events

from .host import Event, Host

Job = Callable[..., tuple[Event, dict[str, bytes]]]


def test_all_samples_come_where_the_host_judges(host: Host, job: Job) -> None:
    host.serve(*job(parity_samples=2, output_samples=1000))
    sent = {event["variant"]: event for event in host.all("outputs")}
    assert {name: (e["first"], e["n"]) for name, e in sent.items()} == {
        "float": (0, 32), "int8": (0, 32),
    }  # fmt: skip


@pytest.fixture
def loaded(monkeypatch):
    """A variant of ten samples with 8 bytes of output each, 24 bytes an event."""
    monkeypatch.setattr(variant, "OUTPUT_BYTES", 24)
    made: Any = object.__new__(variant.LoadedVariant)
    made.sent = []
    made._writer = SimpleNamespace(send=made.sent.append)
    made._samples = SimpleNamespace(count=10)
    made._runtime = SimpleNamespace(outputs=[SimpleNamespace(name="y")])
    made._infer = lambda index: [np.array([[float(index)]])]
    return made


def test_events_follow_each_other_without_gap(loaded: Any) -> None:
    first = 0
    while sent := loaded.outputs({"first": first, "n": 100 - first})["sent"]:
        first += sent
    assert [(event["first"], event["n"]) for event in loaded.sent] == [
        (0, 3), (3, 3), (6, 3), (9, 1),
    ]  # fmt: skip
    raw = [zlib.decompress(base64.b64decode(event["data"])) for event in loaded.sent]
    assert np.frombuffer(b"".join(raw)).tolist() == list(range(10))


@pytest.fixture
def collector() -> Collector:
    profile = Profile(name="p", title="p", arch=("x86_64",), runtimes=())
    job = HostJob(
        job_id="j",
        device=Device(name="d", profile="p"),
        profile=profile,
        variants=(SimpleNamespace(name="v"),),  # type: ignore[arg-type]  # only the name is read
        data=None,
        blobs=(),
        settings=JobSettings(output_samples=4),
    )
    return Collector(job)


def piece(first: int, values: list[float]) -> events.Outputs:
    data = base64.b64encode(zlib.compress(np.array(values).tobytes())).decode()
    return events.Outputs(
        event="outputs", variant="v", output="y", dtype="float64",
        shape=(len(values), 1), n=len(values), first=first, data=data,
    )  # fmt: skip


def test_the_host_joins_them(collector: Collector) -> None:
    collector.feed(piece(0, [1.0, 2.0]))
    collector.feed(piece(2, [3.0]))
    assert collector.outputs["v"]["y"].tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_repetition_or_a_gap_is_refused(collector: Collector, first: int) -> None:
    collector.feed(piece(0, [1.0, 2.0]))
    with pytest.raises(EdgepackError) as caught:
        collector.feed(piece(first, [3.0]))
    assert caught.value.code == "EP501"

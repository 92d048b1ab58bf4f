"""Jobs that the agent must refuse, through its real standard input."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from .host import JOBS, Event, Host

Job = Callable[..., tuple[Event, dict[str, bytes]]]


def refusal(host: Host, job: Event) -> Event:
    host.send(job)
    error = host.until("error")
    assert host.rest()[-1]["event"] == "done"
    assert not host.all("need")
    assert host.exit_code() == 1
    assert "Traceback" not in host.log()
    return error


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("power",), "power"),
        (("settings", "warmup_rounds"), "settings.warmup_rounds"),
        (("data", "crop"), "data.crop"),
        (("blobs", 0, "mode"), "blobs[0].mode"),
        (("data", "transforms", "image", "gamma"), "data.transforms.image.gamma"),
    ],
)
def test_an_unknown_field_is_refused(
    host: Host, job: Job, path: tuple[Any, ...], named: str
) -> None:
    message = copy.deepcopy(job()[0])
    target = message
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = 1
    assert not JOBS.is_valid(message)
    error = refusal(host, message)
    assert error["code"] == "EP501"
    assert error["what"].endswith(named)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threads": 0}, "threads"),
        ({"threads": True}, "threads"),
        ({"schema": "edgepack.job/2"}, "schema"),
        ({"variants": []}, "variants"),
        ({"blobs": [{"sha256": "../../etc/passwd", "bytes": 1}]}, "blobs[0].sha256"),
        ({"ci": 0}, "settings.ci"),
        ({"ci": float("nan")}, "settings.ci"),
        ({"min_rounds": "ten"}, "settings.min_rounds"),
        ({"timeout_s": 0.2}, "settings.timeout_s"),
        ({"probes": ["thermometer"]}, "thermometer"),
        ({"data": {}}, "data."),
        ({"settings": None}, "settings"),
        ({"blobs": [{"sha256": "0" * 64, "bytes": 1}]}, "variants[0].sha256"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    host: Host, job: Job, changes: dict[str, Any], named: str
) -> None:
    error = refusal(host, job(**changes)[0])
    assert error["code"] == "EP105"
    assert named in error["what"]


def test_a_missing_field_is_named(host: Host, job: Job) -> None:
    message = job()[0]
    del message["settings"]
    assert "settings" in refusal(host, message)["what"]


def test_the_same_variant_twice(host: Host, job: Job) -> None:
    message = job()[0]
    message["variants"][1]["name"] = "float"
    assert "variants" in refusal(host, message)["what"]


@pytest.mark.parametrize(
    "noise",
    [b"Last login: today\n", b"[1]\n", b"\xff\xfe\n", b"{}\n", b"[" * 100000 + b"\n"],
    ids=["text", "array", "not UTF-8", "no type", "deep"],
)
def test_a_chatty_host_is_refused(host: Host, noise: bytes) -> None:
    host.until("hello")
    host.write(noise)
    assert host.until("error")["code"] == "EP501"
    host.rest()
    assert host.exit_code() == 1


def test_a_chunk_before_the_job(host: Host) -> None:
    host.chunk("0" * 64, 0, b"x")
    assert host.until("error")["code"] == "EP501"


def test_messages_after_the_blobs_are_refused(host: Host, job: Job) -> None:
    message, blobs = job(min_rounds=100000, max_s=20.0)
    host.send(message)
    host.push(blobs)
    host.until("samples")
    host.send(message)
    assert host.until("error")["code"] == "EP501"
    host.rest()
    assert host.exit_code() == 1


def test_a_message_in_pieces(host: Host, job: Job) -> None:
    message, blobs = job()
    text = json.dumps(message).encode() + b"\n"
    for start in range(0, len(text), 100):
        host.write(text[start : start + 100])
    host.push(blobs)
    host.rest()
    assert len(host.results()) == 2

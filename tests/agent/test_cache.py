"""The board's cache: the longest unused goes first, never what the job needs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .host import Host, make_job, sha256

WEEK_S = 7 * 86400


def used(path: Path, seconds_ago: float) -> None:
    when = time.time() - seconds_ago
    os.utime(path, (when, when))


def blob(home: Path, content: bytes, seconds_ago: float, name: str | None = None) -> Path:
    folder = home / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or sha256(content))
    path.write_bytes(content)
    used(path, seconds_ago)
    return path


@pytest.fixture
def model(classifiers: dict[str, bytes]) -> bytes:
    return classifiers["float"]


def test_the_longest_unused_goes_and_what_the_job_needs_stays(home: Path, model: bytes) -> None:
    needed = blob(home, model, 5000)
    oldest, old, new = (blob(home, bytes([n]) * 10_000, 1000 - n) for n in range(3))
    job = make_job({"float": model}, cache_bytes=len(model) + 20_000)
    with Host(home) as host:
        host.serve(*job)
        assert host.results()["float"]["status"] == "ok"
        assert "10000 bytes" in host.all("log")[0]["message"]
        assert host.all("need")[0]["blobs"] == []
    assert [path.exists() for path in (needed, oldest, old, new)] == [True, False, True, True]
    assert time.time() - needed.stat().st_mtime < 100  # used now


def test_what_comes_is_counted(home: Path, model: bytes) -> None:
    old = blob(home, b"x" * 1000, 10)
    with Host(home) as host:
        host.serve(*make_job({"float": model}, cache_bytes=len(model) + 999))
        assert host.results()["float"]["status"] == "ok"
    assert not old.exists()


def test_a_cap_smaller_than_the_job_keeps_the_job(home: Path, model: bytes) -> None:
    for wanted in (1, 0):
        with Host(home) as host:
            host.serve(*make_job({"float": model}, cache_bytes=0))
            assert len(host.all("stored")) == wanted
            assert host.results()["float"]["status"] == "ok"


def test_old_parts_and_agents_go(home: Path, model: bytes) -> None:
    stale = blob(home, b"x", WEEK_S + 100, "0" * 64 + ".part")
    fresh = blob(home, b"x", WEEK_S - 100, "1" * 64 + ".part")
    ours = blob(home, model[:1000], WEEK_S + 100, sha256(model) + ".part")
    agents = home / "agent"
    agents.mkdir()
    (agents / "old.pyz").write_bytes(b"x")
    used(agents / "old.pyz", WEEK_S + 100)
    with Host(home) as host:
        host.send(make_job({"float": model})[0])
        assert host.until("need")["blobs"] == [{"sha256": sha256(model), "have": 1000}]
    assert [path.exists() for path in (stale, fresh, ours)] == [False, True, True]
    assert not (agents / "old.pyz").exists()

"""One session at a time on a board; a dead, hung or outrun owner's lease ends by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .host import Event, Host

Job = Callable[..., tuple[Event, dict[str, bytes]]]

LONG = {"min_rounds": 100000, "max_s": 40.0, "timeout_s": 60.0}


def measuring(host: Host, job: tuple[Event, dict[str, bytes]]) -> int:
    """Bring a job to its rounds; its token."""
    host.send(job[0])
    token = host.until("lease")["token"]
    host.push(job[1])
    host.until("samples", round=1)
    return int(token)


def test_a_second_session_waits_for_the_first(home: Path, job: Job) -> None:
    with Host(home) as first, Host(home) as second:
        measuring(first, job(min_rounds=100000, max_s=3.0))
        second.send(job(wait_s=30.0)[0])
        assert "waiting for tests" in second.until("log")["message"]
        first.rest()
        second.push({})
        second.rest()
        assert len(second.results()) == 2
        assert second.all("lease")[0]["waited_s"] > 0
        tokens = [host.all("lease")[0]["token"] for host in (first, second)]
        assert tokens == [1, 2]
        assert second.all("environment")[0]["environment"]["lease"]["token"] == 2


def test_who_will_not_wait_is_told_who_measures_and_how_long(home: Path, job: Job) -> None:
    with Host(home) as first, Host(home) as second:
        measuring(first, job(owner="alice@lab", **LONG))
        second.send(job(wait_s=0.0)[0])
        error = second.until("error")
        assert error["code"] == "EP410"
        assert "alice@lab" in error["what"]
        assert second.exit_code() == 1
        first.send({"type": "cancel"})
        assert first.rest()[-1]["cancelled"]


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_lease_of_one_that_cannot_work_ends(home: Path, job: Job, how: str) -> None:
    with Host(home) as first, Host(home) as second:
        old = measuring(first, job(**LONG))
        first.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "hung":  # as after 30 s in which it could not renew
            (home / "lock").write_text("1.0")
        second.send(job(wait_s=5.0)[0])
        assert second.until("lease")["token"] == old + 1
        if how == "hung":
            first.process.send_signal(signal.SIGCONT)
            assert first.until("error")["code"] == "EP411"
            assert not first.results()
            assert first.exit_code() == 1
        second.push({})
        second.rest()
        assert len(second.results()) == 2


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from edgepack_agent.lease import Lease
lease = Lease(Path(sys.argv[2]), "holder")
lease.acquire(0, 60, lambda news: None)
print(lease.token, flush=True)
time.sleep(60)
"""


def hold(home: Path) -> subprocess.Popen[bytes]:
    from edgepack.resources import agent_source

    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(agent_source().parent), str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def taken(home: Path) -> int | None:
    """The token of a lease taken now without waiting; None when it is another's."""
    from edgepack_agent.errors import AgentError
    from edgepack_agent.lease import Lease

    lease = Lease(home, "other")
    try:
        lease.acquire(0, 1, lambda news: None)
    except AgentError as error:
        assert error.code == "EP410"
        return None
    lease.release()
    return lease.token


def rewrite(home: Path, **changes: object) -> None:
    record = json.loads((home / "lease").read_text())
    (home / "lease").write_text(json.dumps({**record, **changes}))


def test_another_boot_or_a_dead_process_holds_nothing(home: Path) -> None:
    holder = hold(home)
    assert taken(home) is None
    rewrite(home, boot="the boot before")
    assert taken(home) == 2
    holder.kill()
    holder.wait()
    other = hold(home)
    assert taken(home) is None
    rewrite(home, started="1")  # the process id was given to another process
    assert taken(home) == 4
    other.kill()
    other.wait()


def test_a_jumping_clock_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = hold(home)
    for years in (-10, 10):
        jumped = time.time() + years * 365 * 86400
        monkeypatch.setattr(time, "time", lambda jumped=jumped: jumped)
        os.utime(home / "lock", (jumped, jumped))
        os.utime(home / "lease", (jumped, jumped))
        assert taken(home) is None
    holder.kill()
    holder.wait()
    assert taken(home) == 2


def test_a_far_expiry_of_a_board_without_boot_ids_holds_nothing(home: Path) -> None:
    holder = hold(home)
    (home / "lock").write_text("1000000000000.0")
    assert taken(home) == 2
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"token": "x"}', "\x00" * 40])
def test_a_damaged_record_does_not_block_the_board(home: Path, damage: str) -> None:
    home.mkdir()
    (home / "lease").write_text(damage)
    (home / "lock").write_text(damage)
    assert taken(home) == 1

"""Blobs on the device: resumed, checked, never half there, refused when they do not fit."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .host import Event, Host, make_job, sha256

Job = Callable[..., tuple[Event, dict[str, bytes]]]


def begin(host: Host, job: Event) -> dict[str, int]:
    """Send the job; what the agent misses, by digest."""
    host.send(job)
    return {blob["sha256"]: blob["have"] for blob in host.until("need")["blobs"]}


def wait_for_bytes(file: Path, size: int) -> None:
    """Until the file holds so many; AssertionError after 30 s."""
    deadline = time.monotonic() + 30
    while not file.exists() or file.stat().st_size < size:
        assert time.monotonic() < deadline, f"{file.name} did not reach {size} bytes"
        time.sleep(0.01)


def test_a_second_job_needs_nothing(home: Path, job: Job) -> None:
    for wanted in (3, 0):
        with Host(home) as host:
            host.serve(*job())
            assert len(host.all("need")[0]["blobs"]) == wanted
            assert len(host.all("stored")) == wanted
            assert len(host.results()) == 2


def test_files_are_private_and_inside_home(host: Host, home: Path, job: Job) -> None:
    _, blobs = job()
    host.serve(*job())
    files = {path for path in home.rglob("*") if path.is_file()}
    held = {home / "lock", home / "lease"}
    assert files == {home / "blobs" / digest for digest in blobs} | held
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((home / "blobs").stat().st_mode) == 0o700


def test_a_broken_transfer_goes_on_where_it_stopped(home: Path, job: Job) -> None:
    message, blobs = job()
    digest, content = max(blobs.items(), key=lambda item: len(item[1]))
    part = home / "blobs" / f"{digest}.part"
    with Host(home) as host:
        begin(host, message)
        host.chunk(digest, 0, content[:1000])
        wait_for_bytes(part, 1000)  # what is still in the pipe is lost with it
        host.close_stdin()
        assert host.exit_code() == 3
    assert part.read_bytes() == content[:1000]
    with Host(home) as host:
        host.send(message)
        need = host.push(blobs)
        assert {"sha256": digest, "have": 1000} in need["blobs"]
        host.rest()
        assert len(host.results()) == 2
    assert not list(home.rglob("*.part"))


def test_compressed_chunks(host: Host, job: Job) -> None:
    message, blobs = job()
    host.send(message)
    host.push(blobs, "zlib", size=700)
    host.rest()
    assert [result["status"] for result in host.results().values()] == ["ok", "ok"]


@pytest.mark.parametrize("when", ["in transfer", "on the disk"])
def test_a_wrong_hash_is_found_and_deleted(home: Path, job: Job, when: str) -> None:
    message, blobs = job()
    digest, content = next(iter(blobs.items()))
    wrong = bytes(len(content))
    if when == "on the disk":
        (home / "blobs").mkdir(parents=True)
        (home / "blobs" / digest).write_bytes(wrong)
    with Host(home) as host:
        assert begin(host, message)[digest] == 0
        host.chunk(digest, 0, wrong)
        error = host.until("error")
        host.rest()
        assert error["code"] == "EP409"
        assert host.exit_code() == 1
    assert not list((home / "blobs").iterdir())


@pytest.mark.parametrize("offset", [1, 10**9, -1, "0", None])
def test_a_chunk_out_of_order_is_refused(host: Host, job: Job, offset: object) -> None:
    message, blobs = job()
    digest, content = next(iter(blobs.items()))
    begin(host, message)
    host.chunk(digest, offset, content[:10])  # type: ignore[arg-type]
    assert host.until("error")["code"] == "EP409"


def test_more_than_was_announced_is_refused(host: Host, home: Path, job: Job) -> None:
    message, blobs = job()
    digest, content = next(iter(blobs.items()))
    begin(host, message)
    host.chunk(digest, 0, content + b"more")
    assert host.until("error")["code"] == "EP409"
    assert not (home / "blobs" / digest).exists()


def test_a_compressed_bomb_does_not_unfold(host: Host, job: Job) -> None:
    message, blobs = job()
    begin(host, message)
    host.chunk(next(iter(blobs)), 0, bytes(50 << 20), "zlib")
    assert host.until("error")["code"] == "EP501"


def test_a_blob_that_was_not_asked_for(host: Host, job: Job) -> None:
    begin(host, job()[0])
    host.chunk("0" * 64, 0, b"x")
    assert host.until("error")["code"] == "EP501"


@pytest.fixture
def small_disk(tmp_path: Path, require: Callable[[object, str], None]) -> Iterator[Path]:
    """A file system of 32 MiB."""
    require(os.geteuid() == 0, "mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    require(done.returncode == 0, f"a small tmpfs cannot be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_too_little_space_is_found_before_the_first_byte(small_disk: Path) -> None:
    with Host(small_disk / "home") as host:
        host.send(make_job({"large": os.urandom(20 << 20)})[0])
        error = host.until("error")
        assert error["code"] == "EP406"
        assert str(20 << 20) in error["what"]
        host.rest()
        assert not host.all("need")
    assert not list((small_disk / "home" / "blobs").iterdir())


def test_a_disk_that_fills_up_meanwhile(small_disk: Path) -> None:
    large = os.urandom(8 << 20)
    with Host(small_disk / "home") as host:
        begin(host, make_job({"large": large})[0])
        with pytest.raises(OSError, match="No space"), (small_disk / "filler").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        host.chunk(sha256(large), 0, large[: 256 << 10])
        assert host.until("error")["code"] == "EP406"
        host.rest()
        assert host.exit_code() == 1
    assert not list((small_disk / "home" / "blobs").iterdir())


def fill(disk: Path) -> None:
    """Not a byte is left."""
    handle = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(handle, bytes(1 << 20))
    os.close(handle)


def test_a_disk_without_a_free_byte_is_told(small_disk: Path, job: Job) -> None:
    fill(small_disk)
    (small_disk / "blobs").mkdir()
    with Host(small_disk) as host:
        host.send(job()[0])
        error = host.until("error")
        assert (error["code"], host.exit_code()) == ("EP406", 1)
        assert "Free some space" in error["hint"]
    assert not (small_disk / "lease.new").exists()


def test_the_doctor_tells_of_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    asked = {"runtimes": ["ai-edge-litert"], "probes": ["generic"], "sys_path": []}
    with Host(small_disk) as host:
        host.send({"type": "doctor", **asked})
        facts = host.until("facts")["facts"]
        assert host.rest()[-1]["event"] == "done"
    assert facts["disk"]["free_bytes"] == 0
    assert facts["busy"] is None
    assert facts["runtimes"][0]["unusable"] is None, "it was tried"

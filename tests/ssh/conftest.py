"""The sshd of these tests, and jobs that take a second."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepack import config
from edgepack.model import Blob, Device, Job, JobSettings, Profile, Recipe, Signature, Variant

from .sshd import SSHD, Sshd

DATA = Path(__file__).parent.parent / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ssh)


@pytest.fixture(autouse=True)
def _sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "edgepack-home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def start_sshd(
    tmp_path: Path, require: Callable[[object, str], None]
) -> Iterator[Callable[..., Sshd]]:
    """Starts boards: `start_sshd(name, extra_config, environment="NAME=VALUE")`."""
    require(SSHD.exists(), "OpenSSH's sshd (apt-get install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's chroot before login
    started: list[Sshd] = []

    def start(name: str = "board", extra: str = "", environment: str = "") -> Sshd:
        board = Sshd(tmp_path / name, extra, environment=environment)
        board.start()
        started.append(board)
        return board

    yield start
    for board in started:
        board.stop()


@pytest.fixture
def board(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """A job of two tiny real models, and of as many random bytes as are asked for."""

    def make(device: Device, *, profile: Profile | None = None, padding: int = 0) -> Job:
        files = {name: DATA / f"classifier_{name}.tflite" for name in ("float", "int8")}
        blobs = [_blob(file) for file in files.values()]
        if padding:
            extra = tmp_path / "padding"
            if not extra.exists():
                extra.write_bytes(os.urandom(padding))
            blobs.append(_blob(extra))
        return Job(
            job_id="test",
            device=device,
            profile=profile or config.load_profile("desktop"),
            variants=tuple(
                _variant(name, blob) for name, blob in zip(files, blobs[:2], strict=True)
            ),
            data=None,
            blobs=tuple(blobs),
            settings=JobSettings(max_s=0.5, min_rounds=3, warmup_s=0.05, timeout_s=60, launches=1),
        )

    return make


def _blob(file: Path) -> Blob:
    content = file.read_bytes()
    return Blob(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), path=str(file))


def _variant(name: str, blob: Blob) -> Variant:
    return Variant(
        name=name,
        recipe=Recipe(name=name),
        sha256=blob.sha256,
        bytes=blob.bytes,
        gzip_bytes=blob.bytes,
        signature=Signature(inputs=(), outputs=()),
    )

"""Pushing ahead of time to a real board: what ends it, and what the user is told."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepack import pushing
from edgepack.errors import EdgepackError
from edgepack.fleet import errand, messages
from edgepack.model import Blob
from edgepack.transport.base import Session, Transport

from .sshd import Sshd

Chunk = tuple[bytes, int]


def blob(folder: Path, name: str, size: int) -> Blob:
    content = name.encode() * (size // len(name))
    path = folder / name
    path.write_bytes(content)
    return Blob(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), path=str(path))


def pushed(board: Sshd, *blobs: Blob) -> pushing.Pushed:
    (only,) = pushing.push([(board.device(), blobs)], wait_s=5.0)
    return only


def test_the_boards_own_reason_is_told(board: Sshd, tmp_path: Path) -> None:
    """A file that is changed while it travels: the agent says so and goes, with more to come."""
    bad, rest = blob(tmp_path, "bad", 300_000), blob(tmp_path, "rest", 30_000_000)
    Path(bad.path).write_bytes(b"x" * bad.bytes)
    found = pushed(board, bad, rest)
    assert found.error is not None
    assert found.error.code == "EP409"
    assert "status" not in found.error.what


def test_interrupting_ends_a_push_with_its_chunk(
    board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    under_way = threading.Event()

    def slowly(*given: object, **options: object) -> Iterator[Chunk]:
        for data, content in messages.chunks(*given, **options):  # type: ignore[arg-type]
            yield data, content
            sent.append(content)
            under_way.set()
            time.sleep(0.2)

    monkeypatch.setattr(errand, "chunks", slowly)
    left = pushing.push([(board.device(), [blob(tmp_path, "big", 25_000_000)])], wait_s=5.0)

    def interrupt() -> None:
        under_way.wait(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _next_interrupted(left, interrupt, monkeypatch)
    assert sum(sent) < 5_000_000
    assert board.free()


def _next_interrupted(
    left: Iterator[pushing.Pushed], interrupt: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C does: KeyboardInterrupt where the main thread waits for the first result."""
    from concurrent.futures import Future

    def result(_self: object, _timeout: float | None = None) -> None:
        assert callable(interrupt)
        interrupt()

    monkeypatch.setattr(Future, "result", result)
    next(left)


def test_a_board_that_drops_a_handshake_is_tried_again(
    board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Transport] = []
    transport_of = errand.transport.for_device

    class Dropping:
        def __init__(self, real: Transport) -> None:
            self._real, self.compress, self.counters = real, real.compress, real.counters

        def open(self, command: str) -> Session:
            tried.append(self._real)
            if len(tried) == 1:
                raise EdgepackError("EP401", "dropped", hint="again")
            return self._real.open(command)

    monkeypatch.setattr(
        errand.transport, "for_device", lambda *a, **k: Dropping(transport_of(*a, **k))
    )
    assert pushed(board, blob(tmp_path, "small", 3000)).error is None
    assert len(tried) == 2

"""Bringing a package's files to devices ahead of time; what a device has is never sent twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from edgepack.errors import EdgepackError
from edgepack.fleet.errand import Errand
from edgepack.fleet.messages import owner
from edgepack.model import Blob, Device
from edgepack.transport import events

_WIDTH = 32  # devices at once, as in a run
_SYNC_S = 300.0  # a slow card writing what has come


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What came of one device. sent_bytes: content that had to travel; error: None when all
    files are on the device."""

    device: Device
    sent_bytes: int = 0
    error: EdgepackError | None = None


def push(wanted: Sequence[tuple[Device, Sequence[Blob]]], *, wait_s: float) -> Iterator[Pushed]:
    """Bring each device its files; a result each, in the order given.

    wait_s: how long to wait for a device that another session measures on. A device that fails
    keeps no other from its files.
    """
    cancel = threading.Event()
    pool = ThreadPoolExecutor(_WIDTH)
    try:
        yield from pool.map(partial(_push, wait_s, cancel), *zip(*wanted, strict=True))
    finally:
        cancel.set()  # left early, by Ctrl-C: what is under way ends with its chunk
        pool.shutdown(cancel_futures=True)


def _push(wait_s: float, cancel: threading.Event, device: Device, blobs: Sequence[Blob]) -> Pushed:
    try:
        with Errand(device, cancel=cancel) as errand:
            errand.say(
                "push",
                schema="edgepack.push/1",
                owner=owner(),
                wait_s=wait_s,
                blobs=[{"sha256": blob.sha256, "bytes": blob.bytes} for blob in blobs],
            )
            sent = errand.push(blobs, wait_s)
            errand.expect(events.Done, _SYNC_S)
    except EdgepackError as error:
        return Pushed(device=device, error=error)
    return Pushed(device=device, sent_bytes=sent)

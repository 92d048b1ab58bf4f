"""A place at a gateway, taken before one in the run: who waits there holds up nobody else."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

from edgepack import config
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.registry import Registry


class Gateways:
    """The gateways of one run, each with as many places as the transport opens sessions through it.

    Of gateways behind gateways only the one next to the device counts here: the transport's own
    limit, which holds for all of them, is waited for with a place in the run.
    """

    def __init__(self) -> None:
        self._places: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()

    def place(self, device: Device) -> AbstractContextManager[object]:
        """What to hold from before the device is connected to until its session is closed."""
        name = _gateway(device)
        if name is None:
            return nullcontext()
        from edgepack.transport.ssh.route import GATEWAY_SESSIONS

        with self._lock:
            return self._places.setdefault(name, threading.BoundedSemaphore(GATEWAY_SESSIONS))


def _gateway(device: Device) -> str | None:
    """The name of the gateway next to the device; None: none, or a mistake told by connecting."""
    if device.transport != "ssh":
        return None
    from edgepack.transport.ssh.settings import target

    try:
        jump = target(device).jump
        if jump is None:
            return None
        return Registry(config.devices_file()).gateway(jump.split(",")[-1].strip()).name
    except EdgepackError:
        return None

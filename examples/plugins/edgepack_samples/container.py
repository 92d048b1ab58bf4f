"""`device add NAME --transport container --host CONTAINER`: a container of this machine."""

from __future__ import annotations

import shlex

from edgepack.model import Device
from edgepack.transport.base import Transport
from edgepack.transport.local import LocalSession, LocalTransport


class ContainerTransport(LocalTransport):
    """Runs the agent's command with `docker exec`; its pipes are the session."""

    def __init__(self, container: str) -> None:
        super().__init__()
        self._container = container

    def open(self, command: str) -> LocalSession:
        """Start `command` in the container. EP401 when this machine has no shell."""
        words = ["docker", "exec", "-i", self._container, "/bin/sh", "-c", command]
        return super().open(f"exec {shlex.join(words)}")


def connect(device: Device, connect_timeout_s: float) -> Transport:
    """The way to the container that `host` names (the device's name without one)."""
    return ContainerTransport(device.host or device.name)

"""A board over SSH with paramiko: one connection, one exec channel, every wait bounded.

`settings` says where a device is, `route` how to get there, `link` is the connection, `login`
and `prompts` get in, `session` is the command that then runs.
"""

from __future__ import annotations

from contextlib import ExitStack

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from edgepack.model import Device
from edgepack.transport.base import Counters
from edgepack.transport.hostkeys import HostKey
from edgepack.transport.ssh import link as links
from edgepack.transport.ssh.route import connect, open_link
from edgepack.transport.ssh.session import SshSession
from edgepack.transport.ssh.settings import target

__all__ = ["SshSession", "SshTransport", "scan", "scan_type"]

_KEEPALIVE_S = 3  # with TCP_USER_TIMEOUT behind it, a cut link is found in less than 10 s


class SshTransport:
    """One SSH connection to one device, and one exec on it."""

    compress = True

    def __init__(self, device: Device, timeout_s: float = 10.0) -> None:
        """`timeout_s` bounds each of: connecting, exchanging keys, logging in, exec."""
        self.counters = Counters()
        self._device = device
        self._timeout_s = timeout_s

    def open(self, command: str) -> SshSession:
        """Connect, check the host key, log in, start `command`. EP401, EP402, EP403."""
        with ExitStack() as held:
            link = connect(self._device, self._timeout_s, self.counters, held)
            try:
                with links.bounded(link, self._timeout_s):
                    channel = link.open_session(timeout=self._timeout_s)
                    channel.exec_command(command)
            except (paramiko.SSHException, EOFError, OSError) as error:
                why = f"the session was not opened: {error}"
                raise links.unreachable(target(self._device).where, why) from error
            self.counters.execs += 1
            self.counters.cipher = link.local_cipher
            link.set_keepalive(_KEEPALIVE_S)
            return SshSession(link, channel, held.pop_all().close)


def scan(device: Device, timeout_s: float) -> HostKey:
    """Ask the device for its host key without logging in to it; EP401."""
    with ExitStack() as held:
        try:
            link = open_link(device, target(device), timeout_s, Counters(), held)
        except paramiko.SSHException as error:
            raise links.unreachable(target(device).where, str(error)) from error
        return links.host_key(link)


def scan_type(device: Device, key_type: str, timeout_s: float) -> list[HostKey]:
    """As `scan`, for the server's key of one type: a list of one, or of none."""
    with ExitStack() as held:
        types = links.algorithms(key_type)
        try:
            link = open_link(device, target(device), timeout_s, Counters(), held, types)
        except IncompatiblePeer:
            return []
        return [links.host_key(link)]

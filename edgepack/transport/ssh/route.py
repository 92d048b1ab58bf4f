"""The way to a device's SSH port: straight, through a gateway, or through a ProxyCommand.

A gateway is a registered device with pinned host keys of its own; nothing is forwarded through
a machine that nobody vouched for.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from edgepack import config
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.registry import Registry
from edgepack.transport.base import Counters
from edgepack.transport.retrying import reached
from edgepack.transport.ssh import link as links
from edgepack.transport.ssh.login import log_in
from edgepack.transport.ssh.settings import Target, target

GATEWAY_SESSIONS = 8
"""Sessions at once through one gateway: an sshd drops what comes beyond MaxStartups (10) and
MaxSessions (10) of its defaults."""

_slots: dict[str, threading.BoundedSemaphore] = defaultdict(
    lambda: threading.BoundedSemaphore(GATEWAY_SESSIONS)
)
_slots_lock = threading.Lock()


def connect(
    device: Device,
    timeout_s: float,
    counters: Counters,
    held: ExitStack,
    chain: tuple[str, ...] = (),
) -> paramiko.Transport:
    """A connection to the device, its host key checked, logged in.

    held: takes what must be closed with the connection, the connection itself included.
    chain: the devices that are reached through this one.

    Raises:
        EdgepackError: EP401 unreachable, EP402 host key not pinned or changed, EP403 login
            refused, EP101 an unregistered gateway.
    """
    pinned = links.pinned_keys(device)
    where = target(device)
    types = links.algorithms(*(key.type for key in pinned if key.type in links.KEY_TYPES))
    try:
        link = open_link(device, where, timeout_s, counters, held, types, chain)
    except IncompatiblePeer as error:
        # It has no key of the pinned types any more: ask for the one it has, to show it.
        link = open_link(device, where, timeout_s, counters, held, (), chain)
        links.check_host_key(link, device, pinned)
        raise links.unreachable(where.where, str(error)) from error
    links.check_host_key(link, device, pinned)
    log_in(link, device, where, timeout_s)
    return link


def open_link(
    device: Device,
    where: Target,
    timeout_s: float,
    counters: Counters,
    held: ExitStack,
    key_types: tuple[str, ...] = (),
    chain: tuple[str, ...] = (),
) -> paramiko.Transport:
    """Reach the device and exchange keys; nothing is checked. See `link.negotiate`."""
    with ExitStack() as trying:
        if where.jump is not None:
            sock = _through_gateway(device, where, timeout_s, counters, trying, chain)
        elif where.command is not None:
            sock = _through_command(where.command, counters, trying)
        else:
            sock = _straight(where, timeout_s, counters)
        link = links.negotiate(sock, where.where, timeout_s, key_types)
        trying.callback(link.close)
        held.push(trying.pop_all())
    return link


def _straight(where: Target, timeout_s: float, counters: Counters) -> Any:
    try:
        return links.dial(where.host, where.port, timeout_s, counters)
    except OSError as error:
        raise links.unreachable(where.where, error.strerror or str(error)) from error
    except ValueError as error:  # UnicodeError: a HostName with an empty or endless label
        why = f"'{where.host}' is no name of a host ({error})"
        raise links.unreachable(where.where, why) from error


def _through_command(command: str, counters: Counters, held: ExitStack) -> Any:
    """A socket whose other end is the standard input and output of the ProxyCommand."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            start_new_session=True,  # Ctrl-C is for edgepack, which still has to talk
        )
    held.callback(process.wait)
    held.callback(process.terminate)
    return links.counted(ours, counters)


def _through_gateway(
    device: Device,
    where: Target,
    timeout_s: float,
    counters: Counters,
    held: ExitStack,
    chain: tuple[str, ...],
) -> paramiko.Channel:
    """A direct-tcpip channel from the gateway to the device; waits for one of its places."""
    assert where.jump is not None
    *further, name = [each.strip() for each in where.jump.split(",")]
    gateway = Registry(config.devices_file()).gateway(name)
    if further:
        gateway = replace(gateway, jump=",".join(further))
    chain = (*chain, device.name)
    if gateway.name in chain:
        raise EdgepackError(
            "EP105",
            f"The jump hosts lead in a circle: {' -> '.join((*chain, gateway.name))}.",
            hint="Correct 'jump' in devices.toml, or ProxyJump in the OpenSSH configuration.",
        )
    with _slots_lock:
        slot = _slots[gateway.name]
    slot.acquire()
    held.callback(slot.release)
    return reached(lambda: _forward(gateway, where, timeout_s, counters, held, chain), timeout_s)


def _forward(
    gateway: Device,
    where: Target,
    timeout_s: float,
    counters: Counters,
    held: ExitStack,
    chain: tuple[str, ...],
) -> paramiko.Channel:
    with ExitStack() as trying:
        link = connect(gateway, timeout_s, counters, trying, chain)
        try:
            with links.bounded(link, timeout_s):
                channel = link.open_channel(
                    "direct-tcpip", (where.host, where.port), ("127.0.0.1", 0), timeout=timeout_s
                )
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise links.unreachable(where.where, f"through '{gateway.name}': {error}") from error
        held.push(trying.pop_all())
    return channel

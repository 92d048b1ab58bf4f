"""The SSH connection itself: a counted socket, the key exchange, the host key checked.

What paramiko does not do by itself is done here: the host key is checked against the pinned
ones, AES-GCM is preferred (a third quicker than its CTR default), TCP_NODELAY is set, and a
link that was cut is noticed (its keepalive alone hangs; TCP_USER_TIMEOUT ends it).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.transport.base import Counters
from edgepack.transport.hostkeys import HostKey, changed, parse_key

# What goes wrong is told as an error with a code; paramiko would print its tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

# In this order for every device: with CTR the digest that guards each packet comes on top. With
# an OpenSSL held from AES and carry-less multiplication, GCM gave 168 MB/s and CTR with
# HMAC-SHA-256 126 MB/s (x86-64); paramiko has no ChaCha20.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_DEAD_LINK_MS = 5000  # as measured: a cut link is noticed within 6.4 s
KEY_TYPES = frozenset(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)) | {
    "ssh-ed25519",
    "ssh-rsa",
}
"""Types of host keys that paramiko can check."""

_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


class CountingSocket(socket.socket):
    """A stream socket that adds the bytes on the wire to `counters`."""

    counters: Counters

    def send(self, data: Any, flags: int = 0) -> int:
        """As socket.send."""
        sent = super().send(data, flags)
        self.counters.sent_bytes += sent
        return sent

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As socket.recv."""
        data = super().recv(size, flags)
        self.counters.received_bytes += len(data)
        return data


def counted(plain: socket.socket, counters: Counters) -> CountingSocket:
    """The same socket, counting; `plain` must not be used any more."""
    sock = CountingSocket(fileno=plain.detach())
    sock.counters = counters
    counters.connections += 1
    return sock


def dial(host: str, port: int, timeout_s: float, counters: Counters) -> CountingSocket:
    """A TCP connection; OSError when there is none within `timeout_s`."""
    sock = counted(socket.create_connection((host, port), timeout_s), counters)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_LINK_MS)
    return sock


def unreachable(where: str, why: str) -> EdgepackError:
    """EP401 with the address that was tried."""
    return EdgepackError(
        "EP401",
        f"No SSH connection: {why}",
        where=where,
        hint="Check that the board is on, its address, and that sshd listens there.",
    )


def negotiate(
    sock: Any, where: str, timeout_s: float, key_types: tuple[str, ...] = ()
) -> paramiko.Transport:
    """Exchange keys over `sock`, so that the server's host key is known; nothing is checked.

    key_types: host key algorithms to accept, in this order; empty for paramiko's own list.
    EP401 when the other side does not speak SSH; paramiko.SSHException of the kind
    IncompatiblePeer when it has none of `key_types`.
    """
    link = paramiko.Transport(sock)
    link.banner_timeout = link.handshake_timeout = link.auth_timeout = timeout_s
    options = link.get_security_options()
    options.ciphers = _CIPHERS
    if key_types:
        options.key_types = key_types
    try:
        with bounded(link, timeout_s):
            link.start_client(timeout=timeout_s)
            link.get_remote_server_key()
    except IncompatiblePeer:
        link.close()
        raise
    except (paramiko.SSHException, EOFError, OSError) as error:
        link.close()
        why = str(error) or "it closed the connection"
        raise unreachable(where, why) from error
    return link


@contextlib.contextmanager
def bounded(link: paramiko.Transport, timeout_s: float) -> Iterator[None]:
    """Close the link when the block takes longer: some of paramiko's waits have no limit."""
    timer = threading.Timer(timeout_s, link.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# ---------------------------------------------------------------- host keys


def pinned_keys(device: Device) -> list[HostKey]:
    """The device's pinned host keys; EP402 when there is none, or none that can be checked."""
    pinned = [parse_key(line) for line in device.host_keys]
    if any(key.type in KEY_TYPES for key in pinned):
        return pinned
    what = f"No host key of '{device.name}' is pinned."
    if pinned:
        what = (
            f"The pinned host key of '{device.name}' is of a type that cannot be checked: "
            f"{', '.join(key.type for key in pinned)}."
        )
    raise EdgepackError("EP402", what, hint=f"Run: edgepack device trust {device.name}")


def check_host_key(link: paramiko.Transport, device: Device, pinned: list[HostKey]) -> None:
    """EP402, and the link closed, unless the server's key is one of the pinned ones."""
    offered = host_key(link)
    if offered not in pinned:
        link.close()
        raise changed(device, pinned, offered)


def host_key(link: paramiko.Transport) -> HostKey:
    """The key that the server proved to own."""
    key = link.get_remote_server_key()
    return HostKey(type=key.get_name(), base64=key.get_base64())


def algorithms(*key_types: str) -> tuple[str, ...]:
    """The signature algorithms of key types: ssh-rsa's own (SHA-1) is not accepted."""
    found: list[str] = []
    for key_type in key_types:
        found += _RSA_SIGNATURES if key_type == "ssh-rsa" else (key_type,)
    return tuple(found)

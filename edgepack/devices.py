"""Trusting a device: its host key is asked for without logging in, shown, and pinned.

Nothing here pins a key by itself: a person's yes or a fingerprint given beforehand does.
"""

from __future__ import annotations

from dataclasses import replace

from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.transport.hostkeys import HostKey, parse_key

__all__ = ["HostKey", "find_host_key", "fingerprint", "fingerprints", "pin", "scan_host_key"]

# One scan each, when a fingerprint is given that the server's preferred key does not have.
_OTHER_TYPES = ("ecdsa-sha2-nistp256", "ssh-rsa", "ssh-ed25519")


def scan_host_key(device: Device, timeout_s: float = 10.0) -> HostKey:
    """The key that the server prefers to show; EP401 when it cannot be reached."""
    from edgepack.transport import ssh

    return ssh.scan(device, timeout_s)


def find_host_key(device: Device, wanted: str, timeout_s: float = 10.0) -> HostKey:
    """The host key whose fingerprint is `wanted` ("SHA256:…"), whatever its type.

    Raises:
        EdgepackError: EP401 unreachable; EP402 when the server has no such key, with the
            fingerprints it does have.
    """
    from edgepack.transport import ssh

    offered = [scan_host_key(device, timeout_s)]
    for key_type in _OTHER_TYPES:
        if offered[-1].fingerprint == wanted:
            return offered[-1]
        if key_type != offered[0].type:
            offered += ssh.scan_type(device, key_type, timeout_s)
    if offered[-1].fingerprint == wanted:
        return offered[-1]
    listed = ", ".join(f"{key.fingerprint} ({key.type})" for key in offered)
    raise EdgepackError(
        "EP402",
        f"The host key of '{device.name}' is not the expected one: expected {wanted}, "
        f"offered {listed}.",
        where=f"{device.host or device.name}:{device.port or 22}",
        hint="Nothing was pinned. Compare with the board's own console: "
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    )


def fingerprint(key: str) -> str:
    """The fingerprint ("SHA256:…") of a pinned key's line; EP104 when it is no key."""
    return parse_key(key).fingerprint


def fingerprints(device: Device) -> tuple[str, ...]:
    """The fingerprints of all of a device's pinned keys."""
    return tuple(fingerprint(key) for key in device.host_keys)


def pin(device: Device, key: HostKey) -> Device:
    """The device with this key pinned, in place of all others."""
    return replace(device, host_keys=(key.line,))

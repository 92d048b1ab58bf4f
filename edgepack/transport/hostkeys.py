"""Host keys as values: parsing, fingerprints, and what to say when one has changed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from edgepack.errors import EdgepackError
from edgepack.model import Device


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A public host key: its type ("ssh-ed25519") and the base64 of its blob."""

    type: str
    base64: str

    @property
    def line(self) -> str:
        """As `Device.host_keys` holds it: "ssh-ed25519 AAAA…"."""
        return f"{self.type} {self.base64}"

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen prints it: "SHA256:" and unpadded base64."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse_key(line: str) -> HostKey:
    """The key of a line "type base64 [comment]"; EP104 when it is none."""
    fields = line.split()
    try:
        base64.b64decode(fields[1], validate=True)
    except (IndexError, ValueError) as error:
        raise EdgepackError(
            "EP104",
            f"A pinned host key is no public key: '{line[:60]}'",
            hint="Remove it from devices.toml and run: edgepack device trust NAME",
        ) from error
    return HostKey(type=fields[0], base64=fields[1])


def changed(device: Device, pinned: Sequence[HostKey], offered: HostKey) -> EdgepackError:
    """EP402 with the pinned fingerprints and the offered one."""
    known = ", ".join(f"{key.fingerprint} ({key.type})" for key in pinned)
    return EdgepackError(
        "EP402",
        f"The host key of '{device.name}' has changed: pinned {known}, offered "
        f"{offered.fingerprint} ({offered.type}). Either the board was set up anew, or another "
        "machine answers in its place.",
        where=f"{device.host or device.name}:{device.port or 22}",
        hint="Compare it on the board's own console (ssh-keygen -lf "
        f"/etc/ssh/ssh_host_ed25519_key.pub). If it is right: edgepack device trust {device.name}",
    )

"""Which words may say where a device is, and who logs in there.

They become lines of OpenSSH's configuration language, and words of a ProxyCommand that a shell
reads without quotes (%h, %r). An inventory or a devices.toml from elsewhere must run nothing on
this machine, so what means something to either is refused, as OpenSSH refuses it since 9.6.
"""

from __future__ import annotations

from edgepack.errors import EdgepackError
from edgepack.model import Device

HINT = (
    "Write a plain address or name: no whitespace, no quotes, nothing that a shell would read as "
    "more than a letter, and no '-' in front."
)

# Colons, brackets and "%" stay: IPv6 addresses have them.
_MEANS_SOMETHING = frozenset("'\"`$\\;&|<>(){}*?!#^~=")


def is_plain(word: str) -> bool:
    """Whether a host or user is one word to OpenSSH's configuration and to every shell."""
    return (
        word != ""
        and word.isprintable()
        and not word.startswith("-")
        and not any(each.isspace() or each in _MEANS_SOMETHING for each in word)
    )


def trouble(device: Device) -> str | None:
    """What is wrong with the device's user, host or jump hosts; None when nothing is."""
    words = [("host", device.host or device.name)]
    words += [("user", device.user)] if device.user else []
    words += [("jump", each.strip(" ")) for each in device.jump.split(",")] if device.jump else []
    for key, word in words:
        if not is_plain(word):
            return f"'{key}' cannot be {word!r}"
    if device.transport == "ssh" and device.host and not _resolvable(device.host):
        return f"'host' cannot be {device.host!r}, which is no name of a host"
    return None


def check(device: Device, where: str | None = None) -> None:
    """EP105 when the device's user, host or jump hosts are not plain words."""
    what = trouble(device)
    if what is not None:
        raise EdgepackError("EP105", f"{what} (device '{device.name}').", where=where, hint=HINT)


def _resolvable(host: str) -> bool:
    """Whether the resolver can be asked: an empty or endless label is an error of Python's own."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True

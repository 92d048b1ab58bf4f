"""How a device is reached: its registry entry first, then the user's OpenSSH configuration.

Honoured: Host and Match blocks, Include, HostName, User, Port, IdentityFile, IdentitiesOnly,
ProxyJump and ProxyCommand, with OpenSSH's rule that the first value wins. What OpenSSH says of
host keys (StrictHostKeyChecking, known_hosts) is left aside on purpose: the registry's pinned
keys are the only ones that count.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko

from edgepack import addresses, config
from edgepack.errors import EdgepackError
from edgepack.model import Device

_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+?)\s*", re.IGNORECASE)
_BLOCK = re.compile(r"\s*(?:host|match)(?:\s*=\s*|\s+)", re.IGNORECASE)
_DEEPEST = 16  # OpenSSH's own limit of Include


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a device is and how one gets in.

    keys: private key files in the order to try; only_keys: the ssh-agent's other keys are left
    aside. At most one of jump (the gateway's name, or several by commas, nearest first) and
    command (a ProxyCommand, ready for the shell) is set.
    """

    host: str
    port: int
    user: str
    keys: tuple[str, ...] = ()
    only_keys: bool = False
    jump: str | None = None
    command: str | None = None

    @property
    def where(self) -> str:
        """As messages name it: "host:port"."""
        return f"{self.host}:{self.port}"


def target(device: Device) -> Target:
    """The device's target.

    Raises:
        EdgepackError: EP104 an OpenSSH configuration that cannot be understood or names what no
            shell may see, EP105 a device with such words.
    """
    # Again, for devices that no registry has read; `Match exec` would run what they hold.
    addresses.check(device)
    file = config.ssh_config_file()
    alias = device.host or device.name
    # What the registry says comes first, so it wins, also inside %p and %r of a ProxyCommand.
    entry = {"User": device.user, "Port": device.port, "ProxyJump": device.jump}
    own = [f"{key} {value}" for key, value in entry.items() if value]
    try:
        text = "\n".join([*own, *_lines(file, file.parent, 0)])
        found = paramiko.SSHConfig.from_text(text).lookup(alias)
        port = _port(found.get("port", "22"))
    except (paramiko.SSHException, ImportError, ValueError, KeyError, OSError) as error:
        raise _malformed(file, str(error)) from error
    keys = (device.key,) if device.key else tuple(found.get("identityfile", _default_keys()))
    proxy = next((key for key in found if key in ("proxyjump", "proxycommand")), "")
    proxy_value = found.get(proxy)
    if proxy_value is None or proxy_value.lower() == "none":
        proxy = ""
    if proxy == "proxycommand":
        _check_for_the_shell(found, file)
    return Target(
        host=found["hostname"],
        port=port,
        user=found.get("user") or getpass.getuser(),
        keys=keys,
        only_keys=device.key is not None or found.get("identitiesonly", "no").lower() == "yes",
        jump=proxy_value if proxy == "proxyjump" else None,
        command=proxy_value if proxy == "proxycommand" else None,
    )


def _default_keys() -> tuple[str, ...]:
    """What OpenSSH tries where nothing names a key: those of its default files that are there."""
    folder = Path("~/.ssh").expanduser()
    files = (folder / name for name in ("id_ed25519", "id_ecdsa", "id_rsa"))
    return tuple(str(file) for file in files if file.is_file())


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"Port {text}")
    return int(text)


def _check_for_the_shell(found: Mapping[str, str], file: Path) -> None:
    """EP104 when what stands for %h and %r in the ProxyCommand is more than a word to a shell."""
    for key, word in (
        ("HostName", found["hostname"]),
        ("User", found.get("user") or getpass.getuser()),
    ):
        if not addresses.is_plain(word):
            raise _malformed(file, f"{key} {word!r} beside a ProxyCommand")


def _lines(file: Path, folder: Path, depth: int) -> list[str]:
    """The file's lines with those of the files it includes; [] when there is no file.

    paramiko knows no Include. Relative names are looked up beside the user's configuration.
    """
    if depth > _DEEPEST:
        raise ValueError(f"Include goes deeper than {_DEEPEST} files")
    if not file.is_file():
        return []
    lines: list[str] = []
    block = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if _BLOCK.match(line):
            block = line
        include = _INCLUDE.fullmatch(line)
        if include is None:
            lines.append(line)
            continue
        inner = [each for name in include[1].split() for each in _included(name, folder, depth)]
        conditional = block and block.split()[1:] != ["*"]
        if conditional and any(_BLOCK.match(each) for each in inner):
            raise ValueError(f"'{line.strip()}' inside '{block.strip()}' brings blocks of its own")
        lines += [*inner, block or "Host *"]
    return lines


def _included(name: str, folder: Path, depth: int) -> list[str]:
    pattern = Path(name.strip('"')).expanduser()
    base = Path(pattern.anchor) if pattern.is_absolute() else folder
    relative = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
    files = sorted(base.glob(str(relative)))
    return [line for file in files for line in _lines(file, folder, depth + 1)]


def _malformed(file: Path, what: str) -> EdgepackError:
    return EdgepackError(
        "EP104",
        f"The OpenSSH configuration cannot be used: {what}",
        where=str(file),
        hint="Correct it, or name another file in EDGEPACK_SSH_CONFIG (/dev/null for none).",
    )

"""Logging in: key files, the ssh-agent, and passwords that a person types and nothing keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.transport.ssh import prompts
from edgepack.transport.ssh.link import bounded
from edgepack.transport.ssh.settings import Target

# What paramiko and its cryptography raise for what is no private key, or of a kind they lack:
# hardware keys (sk-…) and DSA.
_UNREADABLE = (paramiko.SSHException, UnknownKeyType, UnsupportedAlgorithm, ValueError)


def log_in(link: paramiko.Transport, device: Device, where: Target, timeout_s: float) -> None:
    """Try each key, then the password where the device asks for one. EP403."""
    refusals: list[str] = []
    for origin, key in _keys(device, where, refusals):
        try:
            with bounded(link, timeout_s):
                missing = link.auth_publickey(where.user, key)
        except paramiko.AuthenticationException as error:
            refusals.append(f"{origin}: {error}")
            if not link.is_active():
                break
            continue
        if not missing:
            return
        refusals.append(f"{origin}: accepted, and the server also wants {', '.join(missing)}")
        if device.ask_password:
            break  # the password is the other half
    if device.ask_password and link.is_active():
        _with_password(link, device, where, timeout_s, refusals)
        return
    raise _refused(device, where, refusals)


def _with_password(
    link: paramiko.Transport, device: Device, where: Target, timeout_s: float, refusals: list[str]
) -> None:
    password = prompts.password(f"{where.user}@{where.host}", device.name)
    try:
        with bounded(link, timeout_s):
            missing = link.auth_password(where.user, password)
    except paramiko.AuthenticationException as error:
        raise _refused(device, where, [*refusals, f"password: {error}"]) from None
    if missing:
        also = f"password: accepted, and the server also wants {', '.join(missing)}"
        raise _refused(device, where, [*refusals, also])


def _keys(device: Device, where: Target, refusals: list[str]) -> Iterator[tuple[str, Any]]:
    """The named key files, then what else the ssh-agent holds.

    A named key that the agent holds is taken from there, which needs no passphrase. As with ssh,
    one of the OpenSSH configuration's that cannot be used is noted and passed by; a passphrase
    is asked for only when nothing else got in. The registered key is the one to use, or none.
    """
    held = {key.get_base64(): key for key in paramiko.Agent().get_keys()}
    locked = []
    for name in where.keys:
        if device.key is None and not Path(name).expanduser().is_file():
            continue  # OpenSSH, too, goes past an IdentityFile that is not there
        public = _public_half(name)
        if public in held:
            yield f"ssh-agent's key of {name}", held.pop(public)
        elif device.key is not None:
            yield name, _key_file(name)
        elif _is_locked(name):
            locked.append(name)
        else:
            yield from _passed_by(name, refusals)
    if not where.only_keys:
        for key in held.values():
            yield f"ssh-agent's {key.get_name()} {key.comment}", key
    for name in locked:
        yield from _passed_by(name, refusals)


def _passed_by(name: str, refusals: list[str]) -> Iterator[tuple[str, Any]]:
    """The key of a file; nothing and a refusal when it cannot be used."""
    try:
        key = _key_file(name)
    except EdgepackError as error:
        refusals.append(f"{name}: {error.what}. {error.hint.rstrip('.')}")
        return
    yield name, key


def _is_locked(name: str) -> bool:
    """Whether a passphrase would have to be asked for."""
    try:
        prompts.unlocked(name, lambda passphrase: _read(name, passphrase), ask=False)
    except prompts.LockedError:
        return True
    except (OSError, *_UNREADABLE):
        return False  # told when it is used
    return False


def _public_half(name: str) -> str:
    """The base64 of the public key that lies beside a private one; "" when there is none."""
    try:
        return Path(f"{name}.pub").expanduser().read_text(encoding="utf-8").split()[1]
    except (OSError, UnicodeDecodeError, IndexError):
        return ""


def _key_file(name: str) -> paramiko.PKey:
    """The private key in a file, its passphrase asked for where it has one. EP403."""
    try:
        return prompts.unlocked(name, lambda passphrase: _read(name, passphrase))
    except OSError as error:
        what, hint = error.strerror or str(error), "Name another: edgepack device add … --key."
    except prompts.NoTerminalError:
        what = "it is encrypted, and there is no terminal to ask for its passphrase"
        hint = f"Give it to the ssh-agent: ssh-add {name}"
    except prompts.LockedError:
        what, hint = "the passphrase is wrong", f"Try again, or use the ssh-agent: ssh-add {name}"
    except _UNREADABLE as error:
        what, hint = str(error) or "it is no private key", "Name a private key in a file."
    raise EdgepackError("EP403", f"The key cannot be used: {what}", where=name, hint=hint)


def _read(name: str, passphrase: str | None) -> paramiko.PKey:
    secret: Any = passphrase.encode() if passphrase is not None else None  # stubs say str
    try:
        return paramiko.PKey.from_path(Path(name).expanduser(), secret)
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise prompts.LockedError from error
    except _UNREADABLE as error:
        # With a passphrase the file was seen to be a key: what is wrong is the passphrase.
        if passphrase is not None:
            raise prompts.LockedError from error
        raise


def _refused(device: Device, where: Target, refusals: list[str]) -> EdgepackError:
    tried = "; ".join(refusals) or "no key given and none in the ssh-agent"
    return EdgepackError(
        "EP403",
        f"Login as '{where.user}' refused ({tried}).",
        where=device.name,
        hint="Put the public key into the board's authorized_keys (ssh-copy-id), name the right "
        "--user and --key, or let a password be asked for with --ask-password.",
    )

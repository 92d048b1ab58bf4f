"""Asking a person for a secret on the terminal: one question at a time, nothing stored.

An unlocked key stays in this process's memory, so that thirty boards with one key ask once.
"""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable
from typing import Any

from edgepack.errors import EdgepackError


class NoTerminalError(Exception):
    """There is nobody to ask."""


class LockedError(Exception):
    """A key needs a passphrase, or another one."""


_one_at_a_time = threading.Lock()
_unlocked: dict[str, Any] = {}


def unlocked(name: str, read: Callable[[str | None], Any], *, ask: bool = True) -> Any:
    """The key that `read(passphrase)` gives, asked for only when None raises `LockedError`.

    Raises `NoTerminalError`, `LockedError` for a wrong passphrase, or for one that would have to
    be asked for without `ask`, and whatever `read` raises.
    """
    with _one_at_a_time:
        if name not in _unlocked:
            try:
                _unlocked[name] = read(None)
            except LockedError:
                if not ask:
                    raise
                _unlocked[name] = read(_ask(f"Passphrase of {name}: "))
        return _unlocked[name]


def password(login: str, device: str) -> str:
    """A password for one login, used once. EP403 without a terminal."""
    with _one_at_a_time:
        try:
            return _ask(f"Password of {login} ({device}): ")
        except NoTerminalError:
            raise EdgepackError(
                "EP403",
                "A password is to be asked for, and there is no terminal.",
                where=device,
                hint="Run it on a terminal, or log in with a key: ssh-copy-id, then "
                "device add … --key.",
            ) from None


def _ask(question: str) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise NoTerminalError from None
    return getpass.getpass(question)

"""The small interface between a fleet and the ways to reach a device.

A transport opens one session: a command on the device whose standard streams are the
protocol (docs/protocol.md). Every call is bounded in time. While a session runs, the other
side going away is a `ConnectionError` and nothing arriving in time a `TimeoutError`, both
`OSError`s; what keeps a session from starting is an `EdgepackError` EP401, EP402 or EP403.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LOG_BYTES = 16 * 1024
"""How much of a session's standard error is kept: its end, where the reason is."""

SEND_TIMEOUT_S = 8.0
"""Longest time in which the device takes not one byte more and says nothing either: an agent
at work says something every two seconds."""


@dataclass
class Counters:
    """What a transport cost so far; bytes are those on the wire, encryption included.

    cipher: SSH's name of what encrypts the way to the device; None for no encryption.
    """

    connections: int = 0
    execs: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    cipher: str | None = None


class Session(Protocol):
    """One command running on a device, its standard streams and its end."""

    def send(self, data: bytes) -> None:
        """Write all of `data` to standard input.

        Raises:
            ConnectionError: the command or the connection is gone.
            TimeoutError: nothing was taken and nothing said for `SEND_TIMEOUT_S`.
        """

    def receive(self, timeout: float) -> bytes:  # pyright: ignore[reportReturnType]
        """The next bytes of standard output, b"" at its end.

        Raises:
            TimeoutError: nothing came within `timeout` seconds (0 asks without waiting).
        """

    def log(self) -> str:  # pyright: ignore[reportReturnType]
        """The end of standard error so far."""

    def exit_status(self, timeout: float) -> int | None:
        """The command's exit status (negative: a signal), None when the connection was lost
        or the command has not ended within `timeout` seconds."""

    def close(self) -> None:
        """End standard input, give the command a moment to end, then make sure it has."""

    def kill(self) -> None:
        """End it now."""


class Transport(Protocol):
    """A way to one device."""

    counters: Counters
    compress: bool
    """Whether compressing what is sent can pay: False where no network lies between."""

    def open(self, command: str) -> Session:  # pyright: ignore[reportReturnType]
        """Connect and start `command` in the device's shell: one connection, one exec.

        Raises:
            EdgepackError: EP401 unreachable, EP402 host key not the pinned one, EP403 login
                refused.
        """


class Tail:
    """Keeps the last `limit` bytes of what it is fed."""

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Append `data`, forgetting what is older than the limit."""
        self._data += data
        del self._data[: -self._limit]

    def text(self) -> str:
        """What is kept, decoded as UTF-8 with replacement characters."""
        return self._data.decode("utf-8", "replace")

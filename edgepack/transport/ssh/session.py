"""One command on a device: its streams, its end, every wait bounded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import paramiko

from edgepack.transport.base import SEND_TIMEOUT_S, Tail

_PIECE = 32 * 1024 - 64  # a packet's content: what OpenSSH's sshd takes, less paramiko's margin


class SshSession:
    """See `base.Session`."""

    def __init__(
        self, link: paramiko.Transport, channel: paramiko.Channel, hang_up: Callable[[], None]
    ) -> None:
        """`hang_up` closes the link and everything that it runs over; it may be called twice."""
        self._link = link
        self._channel = channel
        self._hang_up = hang_up
        self._tail = Tail()
        self._sending_since: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="send-watch", daemon=True).start()

    def send(self, data: bytes) -> None:
        """Write all of `data`; ConnectionError or TimeoutError when that cannot be."""
        view = memoryview(data)
        self._sending_since = time.monotonic()
        try:
            while view:
                sent = self._send_some(bytes(view[:_PIECE]))
                if sent == 0:
                    raise ConnectionError("the channel is closed")
                view = view[sent:]
                self._sending_since = time.monotonic()
        finally:
            self._sending_since = None

    def _send_some(self, piece: bytes) -> int:
        """As much of the piece as the device's window takes.

        A device that takes nothing for a while but goes on talking is at work on what it has:
        its card is slow. One that does neither is gone.
        """
        self._channel.settimeout(SEND_TIMEOUT_S)
        while True:
            unread = len(self._channel.in_buffer)
            try:
                sent: int = self._channel.send(piece)
                return sent
            except TimeoutError:
                if len(self._channel.in_buffer) == unread:
                    raise
                self._sending_since = time.monotonic()
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise ConnectionError(str(error)) from error

    def _watch(self) -> None:
        """Hang up when a send is stuck where paramiko knows no limit (a socket that is full)."""
        while not self._over.wait(1.0):
            since = self._sending_since
            if since is not None and time.monotonic() - since > SEND_TIMEOUT_S + 1.0:
                self._hang_up()
                return

    def receive(self, timeout: float) -> bytes:
        """The next bytes, b"" at the end; TimeoutError when nothing comes in time."""
        self._take_log()
        self._channel.settimeout(timeout)
        try:
            data: bytes = self._channel.recv(1 << 16)
        except TimeoutError:
            raise
        except (paramiko.SSHException, EOFError, OSError):
            return b""
        return data

    def _take_log(self) -> None:
        while self._channel.recv_stderr_ready():
            self._tail.feed(self._channel.recv_stderr(1 << 16))

    def log(self) -> str:
        """The end of standard error."""
        self._take_log()
        return self._tail.text()

    def exit_status(self, timeout: float) -> int | None:
        """The exit status; None when the connection was lost first."""
        if not self._channel.status_event.wait(timeout) or not self._channel.exit_status_ready():
            return None
        status: int = self._channel.exit_status
        return status if status >= 0 or self._link.is_active() else None

    def close(self) -> None:
        """End standard input, wait for the command's end, close the connection."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.shutdown_write()
        self.exit_status(5.0)
        self.kill()

    def kill(self) -> None:
        """Close the connection: the agent takes the end of its input as the end."""
        self._over.set()
        self._take_log()
        self._hang_up()

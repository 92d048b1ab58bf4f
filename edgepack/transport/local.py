"""This machine as a device: the same agent and protocol over a child process's pipes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping

from edgepack.errors import EdgepackError
from edgepack.transport.base import SEND_TIMEOUT_S, Counters, Tail

_READ = 64 * 1024
_GRACE_S = 5.0


class LocalTransport:
    """Runs the command with `sh` on this machine, in a process group of its own.

    The child ends with the host: its standard input closes when the host dies, which the
    agent takes as the end.
    """

    compress = False

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is added to this process's own."""
        self.counters = Counters()
        self._environment = {**os.environ, **(environment or {})}

    def open(self, command: str) -> LocalSession:
        """Start `command`; EP401 when this machine has no `sh`."""
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            raise EdgepackError(
                "EP401",
                f"The local shell /bin/sh cannot be started: {error.strerror}",
                hint="Measuring on this machine needs a POSIX shell.",
            ) from error
        self.counters.connections += 1
        self.counters.execs += 1
        return LocalSession(process, self.counters)


class LocalSession:
    """See `base.Session`. Reads while it writes, so that neither side waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes], counters: Counters) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process = process
        self._counters = counters
        self._stdin = process.stdin.fileno()
        self._stdout = process.stdout.fileno()
        self._stderr = process.stderr.fileno()
        os.set_blocking(self._stdin, False)
        self._poll = select.poll()
        for stream in (self._stdout, self._stderr):
            self._poll.register(stream, select.POLLIN)
        self._open = {self._stdout, self._stderr}
        self._ready = bytearray()
        self._tail = Tail()

    def send(self, data: bytes) -> None:
        """Write all of `data`; ConnectionError or TimeoutError when that cannot be."""
        view = memoryview(data)
        last = time.monotonic()
        self._poll.register(self._stdin, select.POLLOUT)
        try:
            while view:
                heard = len(self._ready)
                if self._stdin in self._turn(1.0):
                    sent = os.write(self._stdin, view)
                    self._counters.sent_bytes += sent
                    view = view[sent:]
                    last = time.monotonic()
                elif len(self._ready) > heard:
                    last = time.monotonic()
                elif time.monotonic() - last > SEND_TIMEOUT_S:
                    raise TimeoutError("the local agent takes nothing")
        finally:
            self._poll.unregister(self._stdin)

    def receive(self, timeout: float) -> bytes:
        """The next bytes, b"" at the end; TimeoutError when nothing comes in time."""
        end = time.monotonic() + timeout
        while not self._ready and self._stdout in self._open:
            left = end - time.monotonic()
            self._turn(max(left, 0.0))
            if left <= 0 and not self._ready and self._stdout in self._open:
                raise TimeoutError("nothing from the local agent")
        data = bytes(self._ready)
        self._ready.clear()
        return data

    def _turn(self, timeout: float) -> set[int]:
        """Wait for any stream and take in what can be read; which streams were ready."""
        ready = self._poll.poll(timeout * 1000)
        for stream, happened in ready:
            if stream != self._stdin and happened & (select.POLLIN | select.POLLHUP):
                self._read(stream)
        return {stream for stream, _ in ready}

    def _read(self, stream: int) -> None:
        data = os.read(stream, _READ)
        if not data:
            self._poll.unregister(stream)
            self._open.discard(stream)
        elif stream == self._stdout:
            self._counters.received_bytes += len(data)
            self._ready += data
        else:
            self._tail.feed(data)

    def log(self) -> str:
        """The end of standard error."""
        while self._stderr in self._open and self._stderr in self._turn(0.0):
            pass
        return self._tail.text()

    def exit_status(self, timeout: float) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def close(self) -> None:
        """End standard input, wait, and end what is left of the process group."""
        self._close_stdin()
        self.exit_status(_GRACE_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close_stdin()
        self.log()
        for stream in self._open:
            self._poll.unregister(stream)
        self._open.clear()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _close_stdin(self) -> None:
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

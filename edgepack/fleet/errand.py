"""An errand to one device's agent that is no job: asking how it is, bringing it files.

One connection and one exec, as for a job (docs/protocol.md); every wait is bounded.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from edgepack import agent, config, transport
from edgepack.errors import EdgepackError
from edgepack.fleet.conversation import AGENT_ERRORS, ANSWER_S, PROTOCOL, SILENCE_S
from edgepack.fleet.messages import chunks, message
from edgepack.model import Blob, Device
from edgepack.transport import events
from edgepack.transport.framing import Decoder, refused
from edgepack.transport.retrying import reached

_TURN_S = 1.0
E = TypeVar("E")


class Errand:
    """A session with an agent that has said hello. A context manager: leaving ends it.

    progress: told how far the agent is. cancel: once it is set, waiting ends with EP412.

    Raises:
        EdgepackError: EP401 to EP404, EP406, EP407 lost, EP408 too slow, EP412 cancelled, EP501,
            EP502, and whatever error the agent itself reports.
    """

    def __init__(
        self,
        device: Device,
        *,
        connect_timeout_s: float = 10.0,
        progress: Callable[[events.Progress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._progress = progress
        self._cancel = cancel or threading.Event()
        self._link = transport.for_device(
            device,
            connect_timeout_s=connect_timeout_s,
            local_home=str(config.cache_dir() / "device"),
        )
        self._bundle = agent.bundle()
        self._decoder = Decoder()
        self._waiting: list[events.AgentEvent] = []
        self._done = False
        command = agent.command(device, self._bundle)
        self._session = reached(lambda: self._link.open(command), connect_timeout_s)
        try:
            self.hello = self._greet()
        except BaseException:
            self._session.kill()
            raise

    def __enter__(self) -> Errand:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._done:
            self._session.close()
        else:
            self._session.kill()

    def _greet(self) -> events.Hello:
        line = self.expect(events.AgentLine, ANSWER_S)
        if not line.have:
            self.send(self._bundle.data)
        hello = self.expect(events.Hello, ANSWER_S)
        if hello.protocol != PROTOCOL or hello.digest != self._bundle.sha256:
            raise refused(f"a greeting of protocol {hello.protocol}, agent {hello.digest[:12]}")
        return hello

    # ------------------------------------------------------------ saying

    def say(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        self.send(message(kind, **fields))

    def push(self, blobs: Sequence[Blob], wait_s: float) -> int:
        """Send what the agent says it needs of `blobs`; the content bytes sent.

        wait_s: how long the agent may wait for the device to be free.
        """
        need = self.expect(events.Need, wait_s + ANSWER_S)
        known = {blob.sha256: blob for blob in blobs}
        sent = 0
        for missing in need.blobs:
            if missing.sha256 not in known:
                raise refused(f"a wish for bytes that are not on offer ({missing.sha256[:12]})")
            blob = known[missing.sha256]
            for data, content in chunks(blob, missing.have, compress=self._link.compress):
                self._look_whether_cancelled()
                self.send(data)
                sent += content
        return sent

    def send(self, data: bytes) -> None:
        """Send a message as `messages` makes it."""
        try:
            self._session.send(data)
        except OSError as error:
            while self._hear():  # the agent may have said why it went, which is raised
                pass
            raise self._ended() from error

    # ------------------------------------------------------------ hearing

    def expect(self, kind: type[E], limit_s: float) -> E:
        """The next event of that kind; progress, leases, logs and signs of life are passed over.

        limit_s: how long it may take in all; the agent's silence ends it earlier.
        """
        deadline = time.monotonic() + limit_s
        heard = time.monotonic()
        greeted = kind not in (events.AgentLine, events.Hello)
        while True:
            for index, event in enumerate(self._waiting):
                if isinstance(event, kind):
                    del self._waiting[: index + 1]
                    return event
            if self._done:
                raise refused(f"its last event, and no {kind.__name__.lower()}")
            self._look_whether_cancelled()
            if self._hear():
                heard = time.monotonic()
            now = time.monotonic()
            if now > deadline or (greeted and now - heard > SILENCE_S):
                raise EdgepackError(
                    "EP408",
                    f"The device did not answer within {now - heard:.0f} s.",
                    hint="Look at the load of the device, and at the network.",
                )
            if greeted and not self._done:
                # An agent that has just finished takes none; its last words are still to be read.
                with contextlib.suppress(OSError):
                    self._session.send(message("heartbeat"))

    def _look_whether_cancelled(self) -> None:
        if self._cancel.is_set():
            raise EdgepackError("EP412", "The errand was interrupted.", hint="Run it again.")

    def finish(self) -> None:
        """Wait for the agent's last event."""
        self.expect(events.Done, ANSWER_S)

    def _hear(self) -> bool:
        """Take in what there is; whether there was anything."""
        try:
            data = self._session.receive(_TURN_S)
        except TimeoutError:
            return False
        except OSError as error:
            raise self._ended() from error
        if not data:
            raise self._ended()
        for record in self._decoder.feed(data):
            event = events.parse(record)
            if isinstance(event, events.Error):
                raise EdgepackError(event.code, event.what, hint=event.hint or "Run it again.")
            if isinstance(event, events.AgentLine) and event.error is not None:
                raise _cannot_start(event)
            self._done = self._done or isinstance(event, events.Done)
            if isinstance(event, events.Progress):
                if self._progress is not None:
                    self._progress(event)
                continue
            self._waiting.append(event)
        return True

    def _ended(self) -> EdgepackError:
        status = self._session.exit_status(2.0)
        lines = (self._decoder.noise.text() + self._session.log()).strip().splitlines()
        said = "".join(c for c in lines[-1] if c.isprintable())[:300] if lines else ""
        last = f" It last wrote: {said}" if said else ""
        if status is None:
            return EdgepackError(
                "EP407",
                f"The connection was lost.{last}",
                hint="Check the network and the board's power, then run it again.",
            )
        no_shell = status in (126, 127)
        return EdgepackError(
            "EP404" if no_shell else "EP502",
            f"The agent ended with status {status} before it was done.{last}",
            hint="The login shell must run commands, and Python be 3.8 or newer."
            if no_shell
            else "Run it again with -v; a board short of memory ends processes.",
        )


def _cannot_start(line: events.AgentLine) -> EdgepackError:
    assert line.error is not None
    code, hint = AGENT_ERRORS[line.error]
    return EdgepackError(code, f"The agent cannot start: {line.what or line.error}", hint=hint)

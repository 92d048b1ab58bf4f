"""The host's half of docs/protocol.md: one job talked through with one agent."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from edgepack.agent import AgentBundle
from edgepack.errors import EdgepackError
from edgepack.fleet.messages import chunks, job_message, message
from edgepack.fleet.report import Collector
from edgepack.model import Blob, Event, Job
from edgepack.transport import events
from edgepack.transport.base import Session
from edgepack.transport.framing import Decoder, refused

PROTOCOL = 1
_HEARTBEAT_S = 1.0
ANSWER_S = 30.0  # for the login shell, Python's start and the agent's: a Pi Zero needs 5
_STORE_S = 60.0  # beside the job's own time: a slow card hashing and syncing the last blob
_CANCEL_S = 10.0
_ROUND_S = 0.5  # between two words about rounds of the same variant
SILENCE_S = 8.0
"""An agent that works says something every two seconds; so long without a word and it hangs."""

AGENT_ERRORS = {
    "no-python": (
        "EP404",
        "Install Python 3.8 or newer on it, or name the right one: device add … --python PATH.",
    ),
    "no-space": ("EP406", "Free some space, or set EDGEPACK_AGENT_HOME to a larger disk."),
    "no-home": ("EP502", "Make ~/.cache writable on it, or set EDGEPACK_AGENT_HOME there."),
    "damaged": ("EP409", "Run it again."),
}


class Conversation:
    """Talks a session through from the bootstrap line to `done`.

    What was heard is in the `collector`, also when `run` raises.
    """

    def __init__(
        self,
        job: Job,
        session: Session,
        agent: AgentBundle,
        *,
        compress: bool,
        emit: Callable[[Event], None],
        cancel: threading.Event,
        greeted: Callable[[], None] = lambda: None,
    ) -> None:
        """`greeted` is called once, when the agent runs."""
        self.collector = Collector(job)
        self.agent_bytes = 0
        self.blob_bytes = 0
        self.pushed_at: float | None = None
        """When the device had every blob, checked (`time.monotonic()`); None before that."""
        self.cancelled = False
        self._job = job
        self._session = session
        self._agent = agent
        self._compress = compress
        self._emit = emit
        self._cancel = cancel
        self._greeted = greeted
        self._decoder = Decoder()
        self._line: events.AgentLine | None = None
        self._hello: events.Hello | None = None
        self._need: events.Need | None = None
        self._waiting: set[str] = set()
        self._told_at: dict[str, float] = {}
        self._job_sent = False
        self._done = False
        self._spoke = self._heard = time.monotonic()
        self._deadline = self._spoke + ANSWER_S

    def run(self) -> None:
        """Talk until the agent is done.

        Raises:
            EdgepackError: EP404 no Python, EP406 no space, EP407 connection lost, EP408 too
                slow, EP409 damaged on the way, EP501 not the protocol, EP502 agent failed,
                and whatever error the agent itself reports.
        """
        while self._line is None and not self._done:
            self._turn()
        if self._line is not None:
            self._greet(self._line)
        while self._need is None and not self._done:
            self._turn()
        if self._need is not None:
            self._deadline = math.inf  # a slow link takes its time; a silent one is found
            self._push(self._need)
        self._deadline = time.monotonic() + self._job.settings.timeout_s + _STORE_S
        if self.cancelled:
            self._deadline = time.monotonic() + _CANCEL_S
        while not self._done:
            self._turn()
        if not self.cancelled:
            self._check_complete()

    def _greet(self, line: events.AgentLine) -> None:
        if line.error is not None:
            code, hint = AGENT_ERRORS[line.error]
            raise EdgepackError(
                code, f"The agent cannot start: {line.what or line.error}", hint=hint
            )
        if not line.have:
            self._send(self._agent.data)
            self.agent_bytes = len(self._agent.data)
        self._send(job_message(self._job))
        self._job_sent = True
        self._deadline = time.monotonic() + ANSWER_S + self._job.settings.wait_s

    @property
    def has_begun(self) -> bool:
        """Whether the agent has said hello."""
        return self._hello is not None

    # ------------------------------------------------------------ pushing

    def _push(self, need: events.Need) -> None:
        """Stream what is missing, listening in between."""
        blobs = [(self._blob(missing), missing.have) for missing in need.blobs]
        total = sum(blob.bytes - have for blob, have in blobs)
        for blob, have in blobs:
            for data, content in chunks(blob, have, compress=self._compress):
                self._send(data)
                self.blob_bytes += content
                self._note("progress", "push", done=self.blob_bytes, total=total)
                self._turn(wait=0.0)
                if self.cancelled or self._done:
                    return

    def _look_whether_stored(self) -> None:
        if not self._waiting and self.pushed_at is None:
            self.pushed_at = time.monotonic()

    def _blob(self, missing: events.Missing) -> Blob:
        for blob in self._job.blobs:
            if blob.sha256 == missing.sha256 and missing.have <= blob.bytes:
                return blob
        raise refused(f"a wish for bytes that the job does not have ({missing.sha256[:12]})")

    # ------------------------------------------------------------ turns

    def _turn(self, wait: float = _HEARTBEAT_S) -> None:
        """Hear what there is within `wait` seconds, say what is due, look at the clock."""
        try:
            data = self._session.receive(wait)
        except TimeoutError:
            data = None
        if data == b"":
            raise self._ended()
        now = time.monotonic()
        if data:
            self._heard = now
            self._hear(data)
        if self._cancel.is_set() and not self.cancelled:
            self._say_cancel(now)
        if now > self._deadline and not self._done:
            raise self._too_slow()
        if self._hello is not None and now - self._heard > SILENCE_S and not self._done:
            raise self._silent()
        # Not before the job: the device would take it for the agent's first bytes.
        if self._job_sent and now - self._spoke >= _HEARTBEAT_S and not self._done:
            self._send(message("heartbeat"))

    def _hear(self, data: bytes) -> None:
        for record in self._decoder.feed(data):
            if self._done:
                raise refused("something after its last event")
            self._take(events.parse(record))

    def _say_cancel(self, now: float) -> None:
        self.cancelled = True
        self._deadline = now + _CANCEL_S
        if self._hello is not None:
            self._send(message("cancel"))
        else:
            self._done = True

    def _send(self, data: bytes) -> None:
        try:
            self._session.send(data)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            self._hear_last()
            if self._done:
                return  # it had ended as it should while this was on its way
            raise self._ended() from error
        self._spoke = time.monotonic()

    def _hear_last(self) -> None:
        """The agent may have said why it went; its own error is the better one."""
        try:
            while data := self._session.receive(1.0):
                self._hear(data)
        except OSError:
            return

    # ------------------------------------------------------------ events

    def _take(self, event: events.AgentEvent) -> None:
        match event:
            case events.AgentLine():
                if self._line is not None and event.error is None:
                    raise refused("its first line twice")
                if self._line is not None:
                    self._greet(event)
                self._line = event
            case _ if self._line is None:
                raise refused("an event before its first line")
            case events.Hello():
                self._check_hello(event)
                self._hello = event
                self._greeted()
            case events.Need():
                if self._need is not None:
                    raise refused("what it needs twice")
                self._need = event
                self._waiting = {blob.sha256 for blob in event.blobs}
                self._look_whether_stored()
            case events.Stored():
                self._waiting.discard(event.sha256)
                self._look_whether_stored()
            case events.Error():
                hint = event.hint or "Look at the agent's log with -v."
                raise EdgepackError(event.code, event.what, hint=hint)
            case events.Done():
                self._done = True
            case events.Alive():
                pass
            case events.Progress():
                self._note(
                    "progress", event.stage, event.variant, done=event.done, total=event.total
                )
            case events.Samples():
                self.collector.feed(event)
                self._tell_round(event.variant)
            case events.Log():
                kind = "warning" if event.level in ("warning", "error") else "log"
                self._note(kind, "measure", text=event.message)
            case _:
                self.collector.feed(event)

    def _check_hello(self, hello: events.Hello) -> None:
        if hello.protocol != PROTOCOL or hello.digest != self._agent.sha256:
            raise refused(
                f"a greeting of protocol {hello.protocol} and agent {hello.digest[:12]}, not of "
                f"{PROTOCOL} and {self._agent.sha256[:12]}"
            )

    def _check_complete(self) -> None:
        for variant in self._job.variants:
            if not self.collector.measured(variant.name):
                raise refused(f"its last event, but no result of '{variant.name}'")

    def _tell_round(self, variant: str) -> None:
        """Rounds can come faster than anyone can look."""
        now = time.monotonic()
        if now - self._told_at.get(variant, -_ROUND_S) >= _ROUND_S:
            self._told_at[variant] = now
            count, median_us = self.collector.newest(variant)
            self._note("samples", "measure", variant, done=count, value=median_us)

    def _note(
        self,
        kind: str,
        stage: str,
        variant: str | None = None,
        *,
        text: str = "",
        done: float | None = None,
        total: float | None = None,
        value: float | None = None,
    ) -> None:
        self._emit(
            Event(
                kind=kind,
                stage=stage,
                message=text,
                device=self._job.device.name,
                variant=variant,
                done=done,
                total=total,
                value=value,
            )
        )

    # ------------------------------------------------------------ how it went wrong

    def _ended(self) -> EdgepackError:
        """The error for a session that ended before the agent was done."""
        status = self._session.exit_status(2.0)
        said = self._last_words()
        if status is None:
            return EdgepackError(
                "EP407",
                f"The connection was lost.{said}",
                hint="Check the network and the board's power, then run it again.",
            )
        if self._line is None:
            return EdgepackError(
                "EP404",
                f"The device's shell ended with status {status} before the agent started.{said}",
                hint="The login shell must run commands, and Python be 3.8 or newer.",
            )
        return EdgepackError(
            "EP502",
            f"The agent ended with status {status} before it was done.{said}",
            hint="Run it again with -v; a board short of memory ends processes.",
        )

    def _silent(self) -> EdgepackError:
        """The error for a device that keeps the connection and says nothing any more."""
        return EdgepackError(
            "EP407",
            f"The device has said nothing for {SILENCE_S:g} s.{self._last_words()}",
            hint="Check the network and the board's power and load, then run it again.",
        )

    def _too_slow(self) -> EdgepackError:
        if self._hello is None:
            what = f"No agent answered within {ANSWER_S:g} s.{self._last_words()}"
            return EdgepackError("EP408", what, hint="Look at the load of the device.")
        if self.cancelled:
            return EdgepackError(
                "EP408", "The agent did not stop when asked to.", hint="It was ended."
            )
        if self._need is None:
            return EdgepackError(
                "EP408",
                f"The agent has not said within {ANSWER_S + self._job.settings.wait_s:g} s what it "
                "needs.",
                hint="Look at the load of the device, and at its disk.",
            )
        return EdgepackError(
            "EP408",
            f"The job was not done within {self._job.settings.timeout_s:g} s.",
            hint="Measure fewer variants at once, or allow more time.",
        )

    def _last_words(self) -> str:
        lines = (self._decoder.noise.text() + self._session.log()).strip().splitlines()
        text = "".join(c for c in lines[-1] if c.isprintable())[:300] if lines else ""
        return f" It last wrote: {text}" if text else ""

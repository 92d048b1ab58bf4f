"""Worker children as the agent sees them: asked, waited for with a limit, killed."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from edgepack_agent.errors import AgentError
from edgepack_agent.protocol import RECORD_SEPARATOR, EndOfInput, Reader, parse

if TYPE_CHECKING:
    import subprocess

CANCEL_GRACE_S = 2.0
_POLL_S = 0.25

Event = Dict[str, Any]


class ChildEnded(AgentError):
    """A child that crashed (`status` "crashed") or was killed for its slowness ("timeout")."""


class Cancelled(Exception):
    """The host asked to stop while a child was at work."""


class Child:
    """One worker process, leader of its own process group. spawned_ns: when it was asked for,
    of the monotonic clock, which all processes share."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", spawned_ns: int, memory_limit: int
    ) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self.spawned_ns = spawned_ns
        self._memory_limit = memory_limit
        self._stdin = process.stdin
        self._reader = Reader(process.stdout.fileno())

    @property
    def pid(self) -> int:
        """The worker's process id, for those who watch its load."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the worker is gone."""
        return self._process.poll() is not None

    def ask(
        self,
        command: Event,
        limit_s: float,
        cancelled: threading.Event,
        on_event: Optional[Callable[[Event], None]] = None,
    ) -> Event:
        """Send a command and return its reply.

        Raises ChildEnded (crashed, or no reply within `limit_s`: then it is killed),
        AgentError (the reply is an error), Cancelled.
        """
        try:
            self._stdin.write(_line(command))
        except BrokenPipeError:
            raise self._crash() from None
        deadline = time.monotonic() + limit_s
        while True:
            event = self._next_event(command["do"], deadline, limit_s, cancelled)
            if event.get("event") != "reply":
                if on_event:
                    on_event(event)
                continue
            error = event["error"]
            if error:
                raise AgentError(error["code"], error["what"], error["hint"], event["status"])
            return event

    def _next_event(
        self, doing: str, deadline: float, limit_s: float, cancelled: threading.Event
    ) -> Event:
        grace_ends = None
        while True:
            now = time.monotonic()
            if now >= deadline:
                self.kill()
                raise ChildEnded(
                    "EP408",
                    "timeout: '%s' took more than the %.1f s left to this variant"
                    % (doing, limit_s),
                    "Raise settings.timeout_s, or measure fewer variants or samples.",
                    status="timeout",
                )
            if cancelled.is_set():
                grace_ends = grace_ends or now + CANCEL_GRACE_S
                if now >= grace_ends:
                    self.kill()
                    raise Cancelled
            try:
                line = self._reader.line(min(deadline, now + _POLL_S))
            except TimeoutError:
                continue
            except EndOfInput:
                raise self._crash() from None
            if line.startswith(RECORD_SEPARATOR):
                return parse(line[1:])

    def _crash(self) -> ChildEnded:
        hint = "The agent's log may say more; try another runtime or runtime version."
        if self._memory_limit:
            hint += " It had %d MB at most: see memory_limit_bytes of the profile." % (
                self._memory_limit // 10**6
            )
        code = self._process.wait()
        return ChildEnded("EP503", "crashed: %s" % describe_exit(code), hint, status="crashed")

    def kill(self) -> None:
        """Kill the whole process group and wait for it. Harmless when it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._stdin.close()


def _line(command: Event) -> bytes:
    return json.dumps(command).encode("utf-8") + b"\n"


def describe_exit(code: int) -> str:
    """What a process's end means: "signal 11 (SIGSEGV)" or "exit code 1"."""
    if code >= 0:
        return "exit code %d" % code
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    text = "signal %d (%s)" % (-code, name)
    if -code == signal.SIGKILL:
        text += ", as the kernel sends it when memory runs out"
    return text


class Nursery:
    """All children of this agent, so that none outlives it. Used from two threads."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self.memory_limit = 0  # of each child, in bytes; 0 for none
        self._children: List[Child] = []
        self._lock = threading.Lock()
        self._closed = False

    def spawn(self) -> Child:
        """Start a worker from the agent's own archive."""
        import subprocess  # a push needs none

        with self._lock:
            if self._closed:
                raise Cancelled
            spawned_ns = time.monotonic_ns()
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    self._archive,
                    "worker",
                    str(os.getpid()),
                    str(self.memory_limit),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # nothing left to flush into the pipe of a child that died
                cwd="/",
                start_new_session=True,
            )
            child = Child(process, spawned_ns, self.memory_limit)
            self._children.append(child)
            return child

    def pids(self) -> List[int]:
        """The workers that were started and have not ended."""
        with self._lock:
            return [child.pid for child in self._children if not child.ended]

    def kill_all(self) -> None:
        """Kill every child, and start no more."""
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()

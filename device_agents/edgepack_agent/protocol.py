"""The wire: RFC 7464 events out, one JSON message a line in (docs/protocol.md)."""

import contextlib
import fcntl
import json
import os
import queue
import select
import sys
import threading
import time
import zlib
from typing import Any, BinaryIO, Callable, Dict, Optional

from edgepack_agent.errors import AgentError

PROTOCOL = 1
RECORD_SEPARATOR = b"\x1e"
MAX_LINE = 8 << 20
MAX_CHUNK = 256 << 10
SILENCE_S = 8.0
PULSE_S = 2.0
PIPE_BYTES = 1 << 20  # of standard input; 64 KiB, the default, makes sshd and agent take turns
_F_SETPIPE_SZ = 1031  # Linux; `fcntl` has it from Python 3.10 on
HOST_GONE = 3  # exit code when the host went away

Message = Dict[str, Any]


def take_stdout() -> BinaryIO:
    """The real standard output, for the protocol alone.

    File descriptor 1 and `sys.stdout` lead to standard error from here on, so that neither a
    stray print nor a native library's message can end up among the events.
    """
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


class Writer:
    """Writes events, each whole, from any thread."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._spoke = time.monotonic()
        self._closed = False

    def send(self, event: Message, last: bool = False) -> None:
        """Write one event: RS, one JSON object, LF; none after the `last`.

        BrokenPipeError when nobody reads.
        """
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
        data = memoryview(RECORD_SEPARATOR + text.encode("utf-8") + b"\n")
        with self._lock:
            if self._closed:
                return
            while data:
                data = data[self._out.write(data) :]
            self._spoke = time.monotonic()
            self._closed = last

    def pulse(self) -> None:
        """Say `alive` when nothing was said for a while, so that silence means death."""
        if time.monotonic() - self._spoke >= PULSE_S:
            self.send({"event": "alive"})


class EndOfInput(Exception):
    """The other side closed its end, or said nothing for too long."""


class Reader:
    """Reads lines and raw bytes from a file descriptor, with a limit on silence.

    `silence_s`: EndOfInput after that long without any byte; None waits for ever. The bytes
    of a chunk under way count, because a slow link may need longer for one chunk.
    """

    def __init__(self, fd: int, silence_s: Optional[float] = None) -> None:
        self._fd = fd
        self._silence_s = silence_s
        self._buffer = bytearray()

    def _more(self, deadline: Optional[float] = None) -> None:
        """Read what has come; TimeoutError at `deadline` (monotonic seconds)."""
        timeout = self._silence_s
        if deadline is not None:
            timeout = max(0.0, deadline - time.monotonic())
        if not select.select([self._fd], [], [], timeout)[0]:
            if deadline is not None:
                raise TimeoutError
            raise EndOfInput
        data = os.read(self._fd, 1 << 16)
        if not data:
            raise EndOfInput
        self._buffer += data

    def line(self, deadline: Optional[float] = None) -> bytes:
        """The next line, without its LF. AgentError EP501 when longer than MAX_LINE."""
        start = 0
        while True:
            end = self._buffer.find(b"\n", start)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            start = len(self._buffer)
            if start > MAX_LINE:
                raise _not_protocol("a line is longer than %d bytes" % MAX_LINE)
            self._more(deadline)

    def exactly(self, size: int) -> bytearray:
        """The next `size` bytes, read to where they stay: no copy of what a fast link brings."""
        data = bytearray(size)
        start = min(size, len(self._buffer))
        data[:start] = self._buffer[:start]
        del self._buffer[:start]
        with memoryview(data) as view:
            while start < size:
                if not select.select([self._fd], [], [], self._silence_s)[0]:
                    raise EndOfInput
                count = os.readv(self._fd, [view[start:]])
                if not count:
                    raise EndOfInput
                start += count
        return data


def parse(line: bytes) -> Message:
    """One JSON object. AgentError EP501 when it is anything else."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise _not_protocol("not JSON: %r" % line[:60]) from None
    if not isinstance(message, dict):
        raise _not_protocol("not a JSON object: %r" % line[:60])
    return message


def _not_protocol(what: str) -> AgentError:
    return AgentError(
        "EP501",
        "the host sent something that is not the protocol: %s" % what,
        "Use the agent that comes with this edgepack.",
    )


def _read_chunk(reader: Reader, message: Message) -> Message:
    """The chunk message with its content in `data`, decompressed."""
    size, encoding = message.get("size"), message.get("encoding")
    if not isinstance(size, int) or not 0 < size <= 2 * MAX_CHUNK:
        raise _not_protocol("chunk size %r" % (size,))
    data = reader.exactly(size)
    if encoding == "zlib":
        data = _inflate(data)
    elif encoding != "raw":
        raise _not_protocol("chunk encoding %r" % (encoding,))
    if len(data) > MAX_CHUNK:
        raise _not_protocol("a chunk of more than %d bytes" % MAX_CHUNK)
    return dict(message, data=data)


def _inflate(data: bytearray) -> bytearray:
    """At most MAX_CHUNK + 1 bytes of content, whatever the chunk claims to hold."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, MAX_CHUNK + 1)
    except zlib.error as error:
        raise AgentError("EP409", "a chunk is damaged: %s" % error, "Run it again.") from None
    if not stream.eof and len(content) <= MAX_CHUNK:
        raise AgentError("EP409", "a chunk is cut short", "Run it again.")
    return bytearray(content)


class Inbox:
    """The host's messages, read by a thread of their own.

    The thread is what notices the host's death at once, whatever the main thread is waiting
    for. `cancelled` is set the moment a `cancel` is read.
    """

    def __init__(self, fd: int, on_gone: Callable[[], None]) -> None:
        self.cancelled = threading.Event()
        self._reader = Reader(fd, SILENCE_S)
        self._on_gone = on_gone
        with contextlib.suppress(OSError):  # a socket, another system, or root's limit reached
            fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
        # Bounded, so that a fast link cannot fill a small board's memory with chunks.
        self._messages: "queue.Queue[object]" = queue.Queue(maxsize=8)
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                message = parse(self._reader.line())
                kind = message.get("type")
                if kind == "heartbeat":
                    continue
                if kind == "cancel":
                    self.cancelled.set()
                elif kind == "chunk":
                    message = _read_chunk(self._reader, message)
                self._messages.put(message)
        except EndOfInput:
            self._on_gone()
        except AgentError as error:
            self._messages.put(error)
            self._watch_until_gone()

    def _watch_until_gone(self) -> None:
        """After a protocol error only the end of the input still matters."""
        try:
            while True:
                self._reader.line()
        except (EndOfInput, AgentError):
            self._on_gone()

    def get(self) -> Message:
        """The next message; AgentError EP501 when the host sent something else."""
        message = self._messages.get()
        if isinstance(message, AgentError):
            raise message
        assert isinstance(message, dict)
        return message

    def check(self) -> None:
        """During the measuring no message but `cancel` may come: AgentError EP501."""
        while not self._messages.empty():
            kind = self.get().get("type")
            if kind != "cancel":
                raise _not_protocol("a %r message after the blobs" % (kind,))

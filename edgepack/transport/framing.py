"""From what a device writes to JSON that can be trusted to be JSON, and packed data to bytes.

Records are JSON text sequences (RFC 7464), found in noise. Everything is bounded and what is
not exactly right is refused (EP501): a device may be broken or hostile.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from edgepack.errors import EdgepackError
from edgepack.transport.base import Tail

RECORD_BYTES = 8 * 1024 * 1024
"""Longest record (docs/protocol.md)."""

UNPACKED_BYTES = 32 * 1024 * 1024
"""Largest unpacked content of one event, four times the longest record."""

_RS = 0x1E
_LF = 0x0A


class Decoder:
    """Incremental: feed it bytes as they come, take whole records out.

    What lies before a record's RS (a chatty `.bashrc`) is noise and kept as a log.
    """

    def __init__(self, limit: int = RECORD_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._inside = False
        self.noise = Tail()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each record that `data` completes, without its RS and LF.

        Raises:
            EdgepackError: EP501 when a record is longer than the limit.
        """
        self._buffer += data
        while self._inside or self._enter():
            end = self._buffer.find(_LF, self._scanned)
            if max(end, len(self._buffer) if end < 0 else 0) > self._limit:
                raise refused(f"a record of more than {self._limit} bytes")
            if end < 0:
                self._scanned = len(self._buffer)
                return
            record = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            self._inside = False
            yield record

    def _enter(self) -> bool:
        """Drop noise up to and with the next RS; whether there was one."""
        start = self._buffer.find(_RS)
        self.noise.feed(bytes(self._buffer[:start] if start >= 0 else self._buffer))
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self._inside = True
        return True


def check_json(record: bytes) -> None:
    """EP501 unless the record is UTF-8 JSON with unique keys and finite numbers."""
    try:
        _finite(json.loads(record.decode(), object_pairs_hook=_unique, parse_constant=_constant))
    except (ValueError, RecursionError) as error:
        raise refused(f"what is not proper JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(value: Any) -> None:
    """JSON can write numbers that no float holds (1e999); Python reads them as infinite."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ValueError("a number too large to be one")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _finite(item)


def unpack(text: str) -> bytes:
    """The bytes of base64 of one whole zlib stream; EP501 otherwise, or above 32 MiB."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(base64.b64decode(text, validate=True), UNPACKED_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise refused(f"data that cannot be unpacked: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise refused("packed data that is cut, too long, or followed by something")
    return raw


def refused(what: str) -> EdgepackError:
    """The EP501 that says the agent sent `what`."""
    return EdgepackError(
        "EP501",
        f"The agent sent {what}.",
        hint="Run it again; if it stays, look at what answers on the device.",
    )

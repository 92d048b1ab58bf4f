"""Output whose reader has gone (`| head`, `| true`): dropped, and nothing else changes.

The command goes on to its own end and exit code: what it has to say of a gate does not depend on
who reads it. Left to Python and click, a closed pipe would end it with 1, a failed gate.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class _Outlet(io.FileIO):
    """A file descriptor that takes everything, also when nobody reads at its other end."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # children write there, too
            os.close(nowhere)
            return len(memoryview(data).cast("B"))  # type: ignore[arg-type]


def outlive_readers() -> None:
    """Let standard output and error take everything from now on."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def _lasting(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or not _plain(stream.buffer):
        return stream
    stream.flush()
    outlet = _Outlet(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        outlet if stream.write_through else io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _plain(buffer: object) -> bool:
    """Whether it writes to a file descriptor, and not to something of another program's making."""
    return isinstance(getattr(buffer, "raw", buffer), io.FileIO)

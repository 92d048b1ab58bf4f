"""Ends what tests started when the tests are gone, however they went: SIGKILL runs no fixture."""

from __future__ import annotations

import subprocess

# The pipe's other end is in this process alone, and the kernel closes it with the process.
_WATCH = 'read _ || eval "$1"'


class Leash:
    """Runs a line of shell as soon as this process has ended, unless `release` came first."""

    def __init__(self, line: str) -> None:
        # A session of its own: Ctrl-C in a terminal reaches the tests and not the watcher.
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, "leash", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Watch no more: the line is never run."""
        self._watcher.communicate(b"\n")

"""Opening a session with a device: tried again, with backoff and jitter, if it is not reached."""

from __future__ import annotations

import logging
from collections.abc import Callable

import stamina

from edgepack.errors import EdgepackError
from edgepack.transport.base import Session, Transport

# Retries are told as events; without a handler, logging would print them a second time.
logging.getLogger("stamina").addHandler(logging.NullHandler())
logging.getLogger("stamina").propagate = False

ATTEMPTS = 4
"""A gateway drops handshakes beyond MaxStartups (10): with jitter, four tries get through."""


def connect(
    link: Transport, command: str, timeout_s: float, again: Callable[[int], None]
) -> Session:
    """A session in which the device runs `command`.

    timeout_s: no attempt begins after that time. again: told the number of each attempt from
    the second on.

    Raises:
        EdgepackError: EP401 it was not reached in any attempt; EP402, EP403 at once.
    """
    for attempt in stamina.retry_context(
        on=lambda error: isinstance(error, EdgepackError) and error.code == "EP401",
        attempts=ATTEMPTS,
        timeout=timeout_s,
        wait_initial=0.2,
        wait_jitter=0.5,
        wait_max=2.0,
    ):
        with attempt:
            if attempt.num > 1:
                again(attempt.num)
            return link.open(command)
    raise AssertionError("stamina either returns or raises")

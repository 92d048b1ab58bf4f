"""What does not reach a device is tried again, with backoff and jitter."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import stamina

from edgepack.errors import EdgepackError

# Retries are told as events; without a handler, logging would print them a second time.
logging.getLogger("stamina").addHandler(logging.NullHandler())
logging.getLogger("stamina").propagate = False

T = TypeVar("T")

ATTEMPTS = 4
"""A gateway drops handshakes beyond MaxStartups (10): with jitter, four tries get through."""


def reached(
    open_: Callable[[], T], timeout_s: float, again: Callable[[int], None] = lambda _: None
) -> T:
    """What `open_` gives.

    timeout_s: no attempt begins after that time. again: told the number of each attempt from
    the second on.

    Raises:
        EdgepackError: EP401 it was not reached in any attempt; what else `open_` raises, at once.
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
            return open_()
    raise AssertionError("stamina either returns or raises")

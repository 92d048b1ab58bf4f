"""What a page that comes in the middle of a run needs to know: the state so far, as plain data.

Every text has gone through `text.plain`, because names and messages come from devices; the
page puts them in as text and never as markup.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgepack.model import Event
from edgepack.report.text import plain

#: Log lines that are kept for pages that come later.
KEPT_LINES = 200
#: Devices and variants beyond this many are not shown: a page is no place for more.
MOST_DEVICES = 500
#: Rounds of a variant whose medians are drawn.
KEPT_ROUNDS = 24
#: Changes within this time reach a page together.
PACE_S = 0.1
_NO_DEVICE = ""
_NOTED = frozenset({"log", "warning", "failed", "fact"})


class Board:
    """The run so far. `tell` takes events from the run; pages wait for changes.

    Safe for threads: the run tells from one, every page waits in one of its own.
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = threading.Condition()
        self._clock = clock
        self._began = clock()
        self._version = 0
        self._title = plain(title)
        self._devices: dict[str, dict[str, Any]] = {}
        self._lines: list[dict[str, Any]] = []
        self._ended: str | None = None

    def tell(self, event: Event) -> None:
        """Take in one event of the run."""
        with self._changed:
            known = event.device in self._devices or len(self._devices) < MOST_DEVICES
            if known:
                self._place(event)
            if event.kind in _NOTED and event.message:
                self._lines.append(self._line(event))
                del self._lines[:-KEPT_LINES]
            self._bump()

    def end(self, message: str) -> None:
        """The run is over: pages show `message` and wait no more."""
        with self._changed:
            self._ended = plain(message)
            self._bump()

    def state(self) -> dict[str, Any]:
        """Everything the page shows, as JSON values."""
        with self._changed:
            return self._state()

    def changes(self, wait_s: float) -> Iterator[str | None]:
        """The state as JSON after each change, None after `wait_s` without one; until the end."""
        seen = -1
        while True:
            with self._changed:
                if self._version == seen:
                    self._changed.wait(wait_s)
                fresh = self._version != seen
                seen = self._version
                made = json.dumps(self._state(), allow_nan=False) if fresh else None
                over = self._ended is not None
            yield made
            if over:
                return
            time.sleep(PACE_S)

    def _bump(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _state(self) -> dict[str, Any]:
        return {
            "title": self._title,
            "seconds": round(self._clock() - self._began, 1),
            "devices": list(self._devices.values()),
            "lines": list(self._lines),
            "ended": self._ended,
        }

    def _place(self, event: Event) -> None:
        name = event.device or _NO_DEVICE
        shown = self._devices.setdefault(
            name,
            {"name": plain(event.device or "this machine"), "stage": "", "variant": "",
             "message": "", "done": None, "total": None, "samples": {}, "measured": [],
             "failed": ""},
        )  # fmt: skip
        if event.kind == "measured":
            variant = plain(event.variant or "", 60)
            if variant not in shown["measured"] and len(shown["measured"]) < MOST_DEVICES:
                shown["measured"].append(variant)
        elif event.kind == "samples":
            _sampled(shown["samples"], plain(event.variant or "", 60), event)
        elif event.kind == "failed":
            shown["failed"] = plain(event.message)
        elif event.kind in ("stage", "progress"):
            shown["stage"] = plain(event.stage, 40)
            shown["variant"] = plain(event.variant or "", 60)
            shown["message"] = plain(event.message, 120)
            shown["done"], shown["total"] = _finite(event.done), _finite(event.total)

    def _line(self, event: Event) -> dict[str, Any]:
        where = " ".join(part for part in (event.device, event.variant) if part)
        return {
            "at": round(self._clock() - self._began, 1),
            "kind": plain(event.kind, 20),
            "where": plain(where, 80),
            "message": plain(event.message),
        }


def _sampled(samples: dict[str, Any], variant: str, event: Event) -> None:
    """Note one more round of a variant: how many there are, and its median in µs."""
    rounds, median_us = _finite(event.done), _finite(event.value)
    if rounds is None or median_us is None:
        return
    if variant in samples or len(samples) < MOST_DEVICES:
        found = samples.setdefault(variant, {"rounds": 0, "us": []})
        found["rounds"] = rounds
        found["us"] = [*found["us"], round(median_us, 2)][-KEPT_ROUNDS:]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) or value < 0 else float(value)

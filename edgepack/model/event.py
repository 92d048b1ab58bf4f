"""What happens on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person or program watching a run wants to know.

    kind: "stage" (a stage begins), "progress" (done of total), "log", "fact", "warning",
    "samples" (`done` rounds of a variant so far; `value`: the newest one's median in µs, told
    twice a second at most), "measured" (one variant on one device is finished), "failed".
    """

    kind: str
    stage: str
    message: str = ""
    device: str | None = None
    variant: str | None = None
    done: float | None = None
    total: float | None = None
    value: float | None = None

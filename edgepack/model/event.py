"""What happens on the way: `--events` prints it, docs/reference/events.md lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person or program watching a run wants to know.

    kind: a key of `KINDS`; stage: of `STAGES`. `FIELDS` says what each field is.
    """

    kind: str
    stage: str
    message: str = ""
    device: str | None = None
    variant: str | None = None
    done: float | None = None
    total: float | None = None
    value: float | None = None


FIELDS: Mapping[str, str] = {
    "kind": "what it tells: see Kinds",
    "stage": "what was going on: see Stages",
    "message": "for people, in no fixed words; may be empty",
    "device": "the device it is about; null: none, or all",
    "variant": "the variant it is about, in a search the trial; null: none, or all",
    "done": "how far the stage is, in its own unit",
    "total": "what `done` comes to in the end; null where nobody knows",
    "value": "of `samples`: the newest round's median in µs",
}
KINDS: Mapping[str, str] = {
    "stage": "a stage begins",
    "progress": "`done` of `total`",
    "samples": "`done` rounds of a variant so far, the newest one's median in `value`; "
    "told twice a second at most",
    "measured": "a variant was measured on a device; in a search, a trial was",
    "verdict": "what a search comes to: the best, a limit that binds, or what more could help",
    "failed": "a device failed; the others go on",
    "warning": "something that makes a result less than it seems",
    "fact": "what was found on the way: the size and SHA-256 of what a URL gave, what a step of a "
    "build did, that `--bisect` has nothing to look for",
    "log": "more of what happens; without `--events` it is shown with `-v` alone",
}
STAGES: Mapping[str, str] = {
    "fetch": "a model or data are fetched from a URL",
    "build": "a variant is built, or its ranges are taken on devices",
    "device": "a device is reached",
    "push": "files go to a device; `done` in bytes",
    "load": "the device loads a variant",
    "warmup": "it is run until its times are steady",
    "measure": "rounds are timed",
    "quality": "the evaluation samples are run",
    "search": "a search chooses, tries and concludes; `done` in trials",
    "saved": "the run is in the store",
}

"""A search as a page shows it: cleaned text and values with their units, gathered by its owner.

The search fills these values; the charts and the page only lay them out. All text of a user or
a device has gone through `text.plain` before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepack.analysis import words
from edgepack.analysis.quality import ERRORS
from edgepack.report import text


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured trial on one device.

    us: p50. quality, loss: on the validation samples, in the metric's unit. missed: limits in
    words, each with how far beyond. excess: the sum of these, as shares. judged: whether its
    quality counts, which is not so of a cut network before any training. at_s: seconds of
    searching when it was finished.
    """

    number: int
    stage: str
    choice: str
    us: float
    speedup: float
    quality: float
    loss: float
    bytes: int
    missed: tuple[str, ...]
    excess: float
    judged: bool
    on_front: bool
    at_s: float

    @property
    def name(self) -> str:
        """ "t014"."""
        return f"t{self.number:03d}"

    @property
    def fits(self) -> bool:
        """Whether it meets every limit."""
        return self.judged and not self.missed

    @property
    def p50(self) -> str:
        """ "61.3 µs"."""
        return text.microseconds(self.us)

    @property
    def size(self) -> str:
        """ "102 kB"."""
        return text.size(self.bytes)

    @property
    def standing(self) -> str:
        """What the budget says of it, in words."""
        if self.missed:
            return f"missed: {', '.join(self.missed)}"
        return "met" if self.judged else "not judged: cut and not trained yet"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of a device. bound: in the unit that the name ends with; shown: with it. missed: of
    `judged` trials that could be held against it. nearest: the least of their excesses, as a
    share; said: in words."""

    name: str
    bound: float
    judged: int
    missed: int
    nearest: float | None
    shown: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Final:
    """A finalist as the last run measured it; all in words but what tables sort by.

    ci95_us: of the p50 `us`; None in older searches. setting: what was chosen of threads and
    runtime, "" for nothing.
    """

    variant: str
    us: float
    speedup: float
    quality: float | None
    delta: float | None
    bytes: int
    fits: bool
    on_front: bool
    best: bool
    run_id: str
    ci95_us: tuple[float, float] | None = None
    setting: str = ""

    @property
    def name(self) -> str:
        """ "t014", or "t014, 2 threads"."""
        return f"{self.variant}, {self.setting}" if self.setting else self.variant

    @property
    def p50(self) -> str:
        """ "61.3 µs ±0.4%"."""
        return text.with_interval(self.us, self.ci95_us)


@dataclass(frozen=True, kw_only=True)
class DeviceSearch:
    """A search on one device. found: whether something fits; None before the search's end."""

    name: str
    profile: str
    points: tuple[Point, ...]
    limits: tuple[Limit, ...]
    finals: tuple[Final, ...]
    best: Final | None
    found: bool | None
    outcome: str
    binding: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A whole search. metric: of the validation samples, of which there are `samples`;
    source: the float source's value of it. by_speed: whether the fastest that fits is the
    best, or the one that loses the least. failed: (trial, what it was, why it failed). notes: where
    nothing fits, what was left untried; how sure agreement is."""

    search_id: str
    source: str
    status: str
    headline: str
    metric: str
    samples: int
    source_quality: float
    by_speed: bool
    trials: int
    seconds: float
    asked: tuple[tuple[str, str], ...]
    devices: tuple[DeviceSearch, ...]
    failed: tuple[tuple[str, str, str], ...]
    lost: tuple[tuple[str, str], ...]
    runs: tuple[str, ...]
    document: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in ERRORS

    def score(self, value: float | None) -> str:
        """A quality in words: "91.20%" for a share."""
        if value is None:
            return "–"
        return f"{value:.4g}" if self.is_error else f"{100 * value:.2f}%"

    def change(self, value: float | None) -> str:
        """A difference of qualities, with its sign; points for a share."""
        if value is None:
            return "–"
        return words.signed(value, self.metric, unit="")


def best_so_far(points: Sequence[Point], *, by_speed: bool) -> list[tuple[Point, float]]:
    """The trials that were the best when they were finished, with what they were best in.

    That is p50 in µs (or quality lost) of those that fit; where none ever fits, how far the
    nearest was beyond its limits, as a share.
    """
    judged = sorted((one for one in points if one.judged), key=lambda one: (one.at_s, one.number))
    fitting = [one for one in judged if one.fits]
    best: list[tuple[Point, float]] = []
    for one in fitting or judged:
        value = (one.us if by_speed else one.loss) if fitting else one.excess
        if not best or value < best[-1][1]:
            best.append((one, value))
    return best

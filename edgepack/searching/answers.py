"""What a search ends with: per device the best that fits, or the limits that bind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.analysis.quality import better_is_lower
from edgepack.model import Run
from edgepack.searching.gauge import Setting


@dataclass(frozen=True, kw_only=True)
class Final:
    """A finalist on a device, as the run measured it.

    latency_us: p50; latency_ci95_us: its 95% interval. over: limit's id -> how far beyond, as a
    share; values: the same limits' measured values. run_id: where it was measured. None: not
    measured.
    """

    trial: int | None
    variant: str
    run_id: str
    device: str
    latency_us: float
    speedup: float
    quality: float | None
    quality_delta: float | None
    bytes: int
    over: Mapping[str, float]
    values: Mapping[str, float]
    setting: Setting
    latency_ci95_us: tuple[float, float] | None = None

    @property
    def fits(self) -> bool:
        """Whether it meets every limit."""
        return all(share <= 0 for share in self.over.values())

    @property
    def named(self) -> str:
        """ "t014", or "t014, 2 threads" where threads or runtimes could be chosen."""
        return f"{self.variant}, {self.setting.said}".removesuffix(", ")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A limit that nothing within the others meets, and what came closest to it.

    value, excess: of that candidate; others: whether it meets all other limits. None: nothing
    was measured that the limit could be held against.
    """

    limit: str
    bound: float
    value: float | None
    excess: float | None
    variant: str | None
    others: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search says of one device: the best that fits, or what binds.

    front: finalists that no other beats in latency, quality and bytes.
    """

    device: str
    best: Final | None
    front: tuple[Final, ...]
    finals: tuple[Final, ...]
    binding: tuple[Binding, ...]


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """answers: of every device that was measured. lost: device -> why it was not. notes: where
    nothing fits, what was left untried; how sure agreement is."""

    answers: tuple[Answer, ...]
    lost: Mapping[str, str]
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()

    @property
    def by_error(self) -> bool:
        """Whether the finalists' quality is a metric of which less is better."""
        judged = [one.quality for run in self.runs for one in run.measurements if one.quality]
        return any(better_is_lower(quality.metric) for quality in judged)

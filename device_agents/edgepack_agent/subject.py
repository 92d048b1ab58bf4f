"""One variant under measurement with one number of threads, and what is known of it so far."""

from typing import Any, Dict, List, NamedTuple, Optional, Set

from edgepack_agent.child import Child
from edgepack_agent.errors import AgentError
from edgepack_agent.job import VariantRef
from edgepack_agent.modes import Turn


class Visit(NamedTuple):
    """A variant's turn in one round: when (monotonic nanoseconds) and what came of it.

    launch: which of the variant's processes, one after the other, it was a turn of. idle_ns: how
    long of span_ns that process did not run.
    """

    round: int
    start_ns: int
    span_ns: int
    n: int
    p50_ns: int
    mean_ns: float
    launch: int = 0
    idle_ns: int = 0


class Subject:
    """One variant: its child, its visits, its result.

    swept: one of the further numbers of threads, which is visited in the same rounds and of
    which only the medians are told.
    """

    def __init__(self, ref: VariantRef, budget_s: float, threads: int, swept: bool = False) -> None:
        self.ref = ref
        self.budget_s = budget_s
        self.threads = threads
        self.swept = swept
        self.child: Optional[Child] = None
        self.status = "ok"
        self.error: Optional[Dict[str, Any]] = None
        self.loaded: Dict[str, Any] = {}
        self.warmup: Optional[Dict[str, Any]] = None
        self.turn = Turn(1, 0)
        self.visits: List[Visit] = []
        self.peak_rss_bytes: Optional[int] = None
        self.cpu: Optional[Dict[str, float]] = None
        self.quality: Optional[Dict[str, Any]] = None
        self.sweep: List[Dict[str, Any]] = []
        self.flags: List[str] = []

    @property
    def alive(self) -> bool:
        """Whether it can still be measured."""
        return self.error is None

    def clean(self, excluded: Set[int]) -> List[Visit]:
        """The visits in rounds that count."""
        return [visit for visit in self.visits if visit.round not in excluded]

    def launched_at(self) -> List[int]:
        """The first round of each of its processes, one after the other."""
        seen: Dict[int, int] = {}
        for visit in self.visits:
            seen.setdefault(visit.launch, visit.round)
        return sorted(seen.values())

    def fail(self, error: AgentError) -> None:
        """Note how it ended; what was measured before is kept."""
        self.status, self.error = error.status, dict(error.fields())
        self.end()

    def end(self) -> None:
        """End its child."""
        if self.child is not None:
            self.child.kill()

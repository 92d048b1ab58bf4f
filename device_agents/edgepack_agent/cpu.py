"""Processor time beside wall time: whether the threads that were asked for did any work."""

import time
from typing import Any, Dict

# A thread pool wakes its helpers for every larger operation: even badly balanced ones take a
# tenth of the work. The share of the helpers in the process's own time does not fall when
# other processes take the cores away, as a ratio to wall time would.
HELPERS_SHARE = 0.05
# Runtimes leave small operations to one thread on purpose; a model this slow has larger ones.
TELLING_NS = 1_000_000


class CpuMeter:
    """Adds up, over `with` blocks: wall time, the process's CPU time, the main thread's.

    idle_ns: of the last block, the wall time in which no thread of the process ran. Of several
    threads this says little, as the time of one hides another's.
    """

    def __init__(self) -> None:
        self._wall = self._process = self._main = self.idle_ns = 0

    def __enter__(self) -> None:
        self._began = (time.perf_counter_ns(), time.process_time_ns(), time.thread_time_ns())

    def __exit__(self, *_: object) -> None:
        wall = time.perf_counter_ns() - self._began[0]
        process = time.process_time_ns() - self._began[1]
        self._wall += wall
        self._process += process
        self._main += time.thread_time_ns() - self._began[2]
        self.idle_ns = max(0, wall - process)

    def reading(self) -> Dict[str, float]:
        """cores_used: CPU time over wall time; helpers_share: of other threads in CPU time."""
        return {
            "cores_used": round(self._process / max(1, self._wall), 3),
            "helpers_share": round(max(0.0, 1 - self._main / max(1, self._process)), 3),
        }


def threads_ignored(threads: int, reading: Dict[str, Any], p50_ns: int) -> bool:
    """Whether a runtime that was given several threads used one."""
    telling = threads > 1 and p50_ns >= TELLING_NS
    return telling and reading["helpers_share"] < HELPERS_SHARE

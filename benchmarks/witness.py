"""Who else saw a disturbance: the kernel's counts, and another process in the same rounds."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median

from edgepack.resources import agent_source

sys.path.insert(0, str(agent_source().parent))

from edgepack_agent import disturbance
from edgepack_agent.subject import Visit

UNUSUAL = 0.1  # of the processor time stolen or used, beyond the usual of the run


class Witness(threading.Thread):
    """Reads /proc/stat on its own: (when, share stolen, share busy) ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.rows: list[tuple[int, float, float]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        last = self._ticks()
        while not self._ended.wait(0.1):
            now = self._ticks()
            grown = [b - a for a, b in zip(last, now, strict=True)]
            last = now
            if sum(grown):
                idle = grown[3] + grown[4]
                busy = 1 - (idle + grown[7]) / sum(grown)
                self.rows.append((time.monotonic_ns(), grown[7] / sum(grown), busy))

    def _ticks(self) -> list[int]:
        return [
            int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ]

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def unusual(self) -> list[int]:
        """When it saw more stolen or used than is usual, over half a second: the kernel counts
        in ticks of 10 ms, of which a tenth of a second has twenty."""
        found = []
        for column in (1, 2):
            smooth = [
                fmean(row[column] for row in self.rows[max(0, i - 2) : i + 3])
                for i in range(len(self.rows))
            ]
            usual = median(smooth)
            found += [
                row[0] for row, v in zip(self.rows, smooth, strict=True) if v > usual + UNUSUAL
            ]
        return found


class Beside:
    """Whether the witness was on another level than usual in some of the judged one's rounds."""

    def __init__(self, visits: list[Visit], numbers: list[int]) -> None:
        self._numbers = numbers
        self._by_round = {visit.round: visit for visit in visits}
        self._usual = self._levels(visits)

    def _levels(self, visits: list[Visit]) -> tuple[float, float]:
        # Of the means the median: a mean of means would take one long stop for a level.
        return median(v.p50_ns for v in visits), median(v.mean_ns for v in visits)

    def __call__(self, places: Iterable[int]) -> bool:
        numbers = (self._numbers[place] for place in places)
        visits = [self._by_round[n] for n in numbers if n in self._by_round]
        if not visits:
            return False
        pairs = zip(self._levels(visits), self._usual, strict=True)
        return any(abs(math.log(here / usual)) > disturbance.SHIFT / 2 for here, usual in pairs)

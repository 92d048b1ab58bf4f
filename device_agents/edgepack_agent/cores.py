"""Which cores the variants run on: for some rounds all on the same, then on others.

A kernel leaves a process on its core for seconds. Cores are not alike, what else runs on them
(interrupts, a neighbour on the sibling thread, other virtual machines) even less, and two
variants that each keep one would be told apart by it: the same file on two cores of a virtual
machine differed by 70%. So every few rounds draw their cores, and the ratio of two variants is of
the same ones.
"""

import os
from pathlib import Path
from typing import List

from edgepack_agent.probes import files

ALIKE = 0.9  # of the fastest core's capacity: what is below is another kind of core
_CPU = "sys/devices/system/cpu/cpu%d/"
_TOLD_IN = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")


def fastest(accelerator: str, root: Path = Path("/")) -> List[int]:
    """The cores that this process may use, without the slow ones of a big.LITTLE board.

    None beside an accelerator: it has threads of its own, which must not wait for one core. None
    where processes cannot be bound (not Linux).
    """
    if accelerator != "cpu" or not hasattr(os, "sched_getaffinity"):
        return []
    able = {core: _capacity(root, core) for core in os.sched_getaffinity(0)}
    return sorted(core for core in able if able[core] >= ALIKE * max(able.values()))


def _capacity(root: Path, core: int) -> int:
    told = (files.number(root, _CPU % core + name) for name in _TOLD_IN)
    return next((value for value in told if value), 0)


def stay_on(cores: List[int]) -> None:
    """Bind all threads of this process, those of a runtime's pool as well."""
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except OSError:  # the thread has ended, or the core was switched off
            continue

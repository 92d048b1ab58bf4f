"""Limits for a child process that opens a file from elsewhere."""

from __future__ import annotations

import os
import resource

_MEMORY_BYTES = 16 * 2**30
_CPU_S = 600


def bound(memory_bytes: int = _MEMORY_BYTES, cpu_s: int = _CPU_S) -> None:
    """Limit this process: address space, CPU time, and no core file.

    memory_bytes: far above what an edge model needs; never more than half of this machine's
    memory, so that a file that asks for absurd tensors ends its reader and nobody else.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory_bytes = min(memory_bytes, machine // 2)
    _lower(resource.RLIMIT_AS, memory_bytes)
    _lower(resource.RLIMIT_CPU, cpu_s)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, limit: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))

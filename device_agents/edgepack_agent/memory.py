"""The memory of this process: what it took, from the kernel, and a limit to it."""

import contextlib
import os
import re
import resource
import sys
from pathlib import Path
from typing import Optional


def peak_rss_bytes() -> int:
    """The largest resident set that this process ever had.

    VmHWM where the kernel has it: ru_maxrss on Linux also remembers the parent from before
    the exec. It counts Python and NumPy as well as the runtime and the model.
    """
    try:
        status = Path("/proc/self/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_for(wanted: Optional[int], accelerator: str) -> int:
    """Bytes that a worker may take, 0 for any number.

    Where nothing is wanted, all that the board has: who asks for more would only swap. Drivers
    of accelerators map more than they use, so they get no limit unless it is wanted.
    """
    if wanted is not None:
        return wanted
    if accelerator != "cpu":
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit(size: int) -> None:
    """Limit this process's own memory (heap, stacks, private mappings) to `size` bytes.

    RLIMIT_DATA, not RLIMIT_AS: a file that is mapped and address space that is only reserved
    cost nothing. Linux counts private mappings in it since 4.7; other systems hardly use it.
    """
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if size and (hard == resource.RLIM_INFINITY or size < hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def available_bytes() -> Optional[int]:
    """What new work can have without swapping, as the kernel estimates it; None where it does
    not say."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None

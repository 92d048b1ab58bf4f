"""Small readers that the probes share: a file or a tool that is not there is None."""

import math
import re
import subprocess
from pathlib import Path
from typing import List, Optional

TOOL_TIMEOUT_S = 3.0
LARGEST = 2**64  # the kernel's counters have 64 bits


def text(root: Path, path: str) -> Optional[str]:
    """The text of a file below `root`; None when it cannot be read."""
    try:
        return (root / path).read_bytes().decode("utf-8", "replace").rstrip("\0\n")
    except OSError:
        return None


def number(root: Path, path: str) -> Optional[int]:
    """A file that holds one whole number."""
    found = text(root, path)
    return None if found is None else whole(found)


def whole(written: str) -> Optional[int]:
    """A whole number as the kernel writes it; None for anything else, or more than 64 bits."""
    if not re.fullmatch(r"\s*-?[0-9]{1,20}\s*", written):
        return None
    value = int(written)
    return value if abs(value) < LARGEST else None


def real(written: str) -> Optional[float]:
    """A finite number; None for anything else."""
    try:
        value = float(written)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def tool(command: List[str]) -> Optional[str]:
    """What a tool prints; None when it is missing, fails or does not answer."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TOOL_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

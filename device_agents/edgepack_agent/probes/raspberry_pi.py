"""Raspberry Pi: the firmware's word on under-voltage and throttling."""

import re
import resource
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgepack_agent.probes import files

# Bits of `vcgencmd get_throttled`, from the Raspberry Pi documentation. The same bits 16
# higher say that it happened at some time since the start.
_BITS = {0: "under-voltage", 1: "frequency-capped", 2: "throttled", 3: "soft-temperature-limit"}
_SYSFS = "sys/devices/platform/soc/soc:firmware/get_throttled"
TOOL_EVERY_S = 2.0  # starting vcgencmd takes a Pi some ten milliseconds


def parse_throttled(text: str) -> Optional[Dict[str, List[str]]]:
    """ "throttled=0x50005" or sysfs's "50005" -> what holds now and what happened before."""
    found = re.match(r"\s*(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,16})\s*$", text)
    if not found:
        return None
    bits = int(found.group(1), 16)
    return {
        "now": [name for bit, name in _BITS.items() if bits >> bit & 1],
        "occurred": [name for bit, name in _BITS.items() if bits >> (bit + 16) & 1],
    }


class Throttle:
    """What holds now, beside a run: from sysfs, which costs little, or from `vcgencmd` now and then
    where the kernel has no such file. cost_s: processor time of the tool."""

    def __init__(self, root: Path, tool: bool) -> None:
        self._root = root
        self._tool = tool and root == Path("/") and files.text(root, _SYSFS) is None
        self._next = 0.0
        self._last: Optional[List[str]] = None
        self.cost_s = 0.0

    def now(self) -> Optional[List[str]]:
        """Names of what holds; None where the firmware does not say."""
        text = files.text(self._root, _SYSFS)
        if text is None and self._tool and time.monotonic() >= self._next:
            self._next = time.monotonic() + TOOL_EVERY_S
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            text = files.tool(["vcgencmd", "get_throttled"])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.cost_s += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            self._tool = text is not None  # none here, or no rights: it is not asked again
            self._last = None
        found = parse_throttled(text) if text else None
        if found:
            self._last = found["now"]
        return self._last


def environment(root: Path) -> Dict[str, Any]:
    """The firmware's version."""
    version = files.tool(["vcgencmd", "version"]) if root == Path("/") else None
    return {"firmware": version.splitlines()[0]} if version else {}


def state(root: Path) -> Dict[str, Any]:
    """`throttled`, from sysfs, which needs no rights, or from vcgencmd; None without both."""
    text = files.text(root, _SYSFS)
    if text is None and root == Path("/"):
        text = files.tool(["vcgencmd", "get_throttled"])
    return {"throttled": parse_throttled(text) if text else None}


def flags(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """throttled and under-voltage, when they hold after the run or first happened in it."""
    if not after["throttled"]:
        return []
    earlier = set((before["throttled"] or {}).get("occurred", ()))
    during = set(after["throttled"]["now"]) | (set(after["throttled"]["occurred"]) - earlier)
    found = []
    if "under-voltage" in during:
        found.append("under-voltage")
    if during - {"under-voltage"}:
        found.append("throttled")
    return found

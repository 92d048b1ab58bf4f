"""What the agent reads of the board it runs on, before and after measuring.

Each probe is a module with `environment(root)` (once, before), `state(root)` (what changes:
before and after) and `flags(before, after)` (what of it casts doubt on the numbers). Parsers
are pure functions over the text of a file or tool; `root` is "/" but for tests. A probe that
finds nothing of its own returns nothing.
"""

import importlib
from pathlib import Path
from typing import Any, Dict, List, Sequence

from edgepack_agent import added
from edgepack_agent.errors import AgentError

KNOWN = ("desktop", "generic", "jetson", "raspberry_pi")


def check(names: Sequence[str]) -> None:
    """AgentError EP105 when there is no probe of one of these names."""
    for name in names:
        if name not in KNOWN + added.PROBES:
            raise AgentError(
                "EP105",
                "job field 'probes' names '%s'" % name,
                "Known: %s." % ", ".join(KNOWN + added.PROBES),
            )


def _module(name: str) -> Any:
    place = "probes." if name in KNOWN else "added."
    return importlib.import_module("edgepack_agent." + place + name)


def environment(names: Sequence[str], root: Path = Path("/")) -> Dict[str, Any]:
    """Everything known before the run, the state included; later probes add to earlier ones."""
    found: Dict[str, Any] = {}
    for name in names:
        found.update(_module(name).environment(root))
    found.update(state(names, root))
    return found


def state(names: Sequence[str], root: Path = Path("/")) -> Dict[str, Any]:
    """What changes while the board works."""
    found: Dict[str, Any] = {}
    for name in names:
        found.update(_module(name).state(root))
    return found


def flags(names: Sequence[str], before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """Flags of a run between these two states, each once."""
    found = {flag for name in names for flag in _module(name).flags(before, after)}
    return sorted(found)

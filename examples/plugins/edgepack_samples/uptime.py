"""How long the board has been up. Runs on the device: Python 3.8, no edgepack."""

from pathlib import Path
from typing import Any

COLD_S = 300.0


def environment(root: Path) -> dict[str, Any]:
    """What is read once, before the run; nothing here."""
    return {}


def state(root: Path) -> dict[str, Any]:
    """What is read before and after the run."""
    try:
        return {"uptime_s": parse((root / "proc" / "uptime").read_text())}
    except (OSError, ValueError):
        return {}


def flags(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What casts doubt on the numbers: services still start, caches are cold."""
    return ["just-booted"] if before.get("uptime_s", COLD_S) < COLD_S else []


def parse(text: str) -> float:
    """Seconds since boot, of a line like "350735.47 234388.90"."""
    return float(text.split()[0])

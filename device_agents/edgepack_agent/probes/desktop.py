"""A PC or server: throttle counters and hwmon's temperatures beside the thermal zones."""

from pathlib import Path
from typing import Any, Dict, List

from edgepack_agent.probes import files


def environment(root: Path) -> Dict[str, Any]:
    """Turbo and the product's name, which explain most of what differs between two PCs."""
    no_turbo = files.number(root, "sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = files.number(root, "sys/devices/system/cpu/cpufreq/boost")
    turbo = None if no_turbo is None and boost is None else bool(boost or no_turbo == 0)
    return {"turbo": turbo, "product": files.text(root, "sys/class/dmi/id/product_name")}


def state(root: Path) -> Dict[str, Any]:
    """`throttle_count` over all cores since the start; degrees Celsius by sensor."""
    counters = (root / "sys/devices/system/cpu").glob(
        "cpu[0-9]*/thermal_throttle/core_throttle_count"
    )
    counts = [files.number(path.parent, path.name) for path in counters]
    known = [count for count in counts if count is not None]
    return {"throttle_count": sum(known) if known else None, "sensors_c": _sensors(root)}


def _sensors(root: Path) -> Dict[str, float]:
    found = {}
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input")):
        millidegrees = files.number(path.parent, path.name)
        if millidegrees is not None:
            chip = files.text(path.parent, "name") or path.parent.name
            label = files.text(path.parent, path.name.replace("_input", "_label"))
            found["%s %s" % (chip, label or path.name[: -len("_input")])] = millidegrees / 1000
    return found


def flags(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """throttled, when a core was slowed for its temperature during the run."""
    first, last = before["throttle_count"], after["throttle_count"]
    return ["throttled"] if first is not None and last is not None and last > first else []

"""NVIDIA Jetson: L4T release and power mode, on which every number depends."""

import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgepack_agent.probes import files

# 57000000.gpu (Nano), 17000000.gv11b (Xavier), 17000000.ga10b or .gpu (Orin)
_GPU = re.compile(r"\.(gpu|g[a-z]\d\d[a-z])$")


def parse_release(text: str) -> Optional[Dict[str, str]]:
    """/etc/nv_tegra_release -> {"l4t": "32.7.1", "board": "t210ref"}."""
    found = re.match(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    if not found:
        return None
    board = re.search(r"BOARD:\s*([^\s,]+)", text)
    return {
        "l4t": "%s.%s" % (found.group(1), found.group(2)),
        "board": board.group(1) if board else "",
    }


def parse_nvpmodel(text: str) -> Optional[str]:
    """`nvpmodel -q` -> the name of the power mode ("MAXN", "15W")."""
    found = re.search(r"NV Power Mode:\s*(\S+)", text)
    return found.group(1) if found else None


def parse_status(status: str, config: str) -> Optional[str]:
    """The name of the mode that nvpmodel's state file ("pmode:0002") has, by /etc/nvpmodel.conf."""
    mode = re.match(r"pmode:([0-9]{1,9})", status)
    names = dict(re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", config))
    return names.get(str(int(mode.group(1)))) if mode else None


def environment(root: Path) -> Dict[str, Any]:
    """`l4t` and `power_mode`; None where the board does not say."""
    release = files.text(root, "etc/nv_tegra_release")
    return {"jetson": parse_release(release) if release else None}


def state(root: Path) -> Dict[str, Any]:
    """The power mode, which a person may change while the agent runs.

    From `nvpmodel -q`, or from the files that it keeps where it asks for more rights.
    """
    said = files.tool(["nvpmodel", "-q"]) if root == Path("/") else None
    mode = parse_nvpmodel(said) if said else None
    if mode is None:
        status = files.text(root, "var/lib/nvpmodel/status") or ""
        mode = parse_status(status, files.text(root, "etc/nvpmodel.conf") or "")
    return {"power_mode": mode}


def gpu_loads(root: Path) -> List[Path]:
    """Folders of the GPU whose file `load` counts its busy share in thousandths."""
    devices = sorted((root / "sys/class/devfreq").glob("*/device/load"))
    return [path.parent for path in devices if _GPU.search(path.parent.parent.name)]


def flags(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """power-mode-changed, when the power mode after the run is another one."""
    return ["power-mode-changed"] if before["power_mode"] != after["power_mode"] else []

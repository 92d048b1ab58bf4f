"""Any Linux board: processor, clocks, temperatures, load, memory, kernel, emulation."""

import os
import platform
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgepack_agent.probes import files, power

_CPU = "sys/devices/system/cpu"
BUSY_LOAD = 0.5  # processes that want to run, as a share of the cores
STEAL_SHARE = 0.01  # of the processor time between the two states


def parse_cpuinfo(text: str) -> Dict[str, Any]:
    """Model, implementer and part, flags and number of cores out of /proc/cpuinfo."""
    fields: Dict[str, str] = {}
    cores = 0
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if not separator:
            continue
        cores += key.strip() == "processor"
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "model": fields.get("model name") or fields.get("Hardware"),
        "vendor": fields.get("vendor_id") or fields.get("CPU implementer"),
        "part": fields.get("CPU part"),
        "board": fields.get("Model"),
        "flags": flags,
        "cores": cores,
    }


def parse_meminfo(text: str) -> Dict[str, int]:
    """Bytes in all and available out of /proc/meminfo."""
    lines = re.findall(r"^(\w+):\s+([0-9]{1,15}) kB", text, re.M)
    found = {key: int(kb) * 1024 for key, kb in lines}
    names = {"total_bytes": "MemTotal", "available_bytes": "MemAvailable"}
    return {name: found[key] for name, key in names.items() if key in found}


def parse_stat(text: str) -> Dict[str, int]:
    """Processor time in ticks since the start, in all and stolen, out of /proc/stat.

    guest and guest_nice are left out: user and nice hold them already.
    """
    ticks = cpu_ticks(text)
    return {"ticks": sum(ticks), "steal": ticks[7]} if ticks else {}


def cpu_ticks(text: str) -> List[int]:
    """The first eight counters of all cores together, out of /proc/stat; [] without them."""
    name, *counters = text.partition("\n")[0].split() or [""]
    ticks = [files.whole(value) for value in counters[:8]]
    known = [value for value in ticks if value is not None]
    return known if name == "cpu" and len(known) == 8 else []


def parse_loadavg(text: str) -> Optional[List[float]]:
    """Processes that want to run, over 1, 5 and 15 minutes, out of /proc/loadavg."""
    found = [files.real(value) for value in text.split()[:3]]
    known = [value for value in found if value is not None]
    return known if len(known) == 3 else None


def parse_os_release(text: str) -> Optional[str]:
    """PRETTY_NAME out of /etc/os-release."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)"?', text, re.M)
    return found.group(1) if found else None


def emulator(machine: str, cpuinfo: str, parent_exe: str) -> Optional[str]:
    """ "qemu-user" when this process runs in a user-mode emulator, else None.

    qemu-user tells uname's machine from the guest, while /proc/cpuinfo is often the host's,
    and the parent process's executable is then qemu itself.
    """
    if Path(parent_exe).name.startswith("qemu-"):
        return "qemu-user"
    has_x86 = re.search(r"^vendor_id\s*:\s*(GenuineIntel|AuthenticAMD)", cpuinfo, re.M)
    has_arm = re.search(r"^CPU implementer\s*:", cpuinfo, re.M)
    is_x86 = machine in ("x86_64", "i386", "i686")
    if (has_x86 and not is_x86) or (has_arm and is_x86):
        return "qemu-user"
    return None


def _parent_exe(root: Path) -> str:
    try:
        return str((root / "proc" / str(os.getppid()) / "exe").resolve(strict=True))
    except OSError:
        return ""


def _virtualised(root: Path, flags: List[str]) -> bool:
    """Whether a hypervisor shows: its processor flag, or the kernel's own notes."""
    notes = ("sys/hypervisor/type", "proc/device-tree/hypervisor/compatible")
    return "hypervisor" in flags or any(files.text(root, note) for note in notes)


def environment(root: Path) -> Dict[str, Any]:
    """What does not change during a run."""
    cpuinfo = files.text(root, "proc/cpuinfo") or ""
    cpu = parse_cpuinfo(cpuinfo)
    machine = platform.machine()
    return {
        "cpu": dict(cpu, arch=machine, cores=os.cpu_count() or cpu["cores"]),
        "board": files.text(root, "proc/device-tree/model") or cpu["board"],
        "kernel": platform.release(),
        "os": parse_os_release(files.text(root, "etc/os-release") or ""),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "emulator": emulator(machine, cpuinfo, _parent_exe(root)),
        "virtualised": _virtualised(root, cpu["flags"]),
        "power_source": power.source(root),
    }


def _clocks(root: Path) -> Dict[str, Any]:
    """Governors in use, and the lowest current and highest possible frequency, in MHz."""
    policies = sorted((root / _CPU).glob("cpu[0-9]*/cpufreq"))
    governors = {files.text(policy, "scaling_governor") for policy in policies}
    current = [files.number(policy, "scaling_cur_freq") for policy in policies]
    highest = [files.number(policy, "cpuinfo_max_freq") for policy in policies]
    now = [khz for khz in current if khz]
    most = [khz for khz in highest if khz]
    return {
        "governor": "/".join(sorted(name for name in governors if name)) or None,
        "frequency_mhz": min(now) / 1000 if now else None,
        "frequency_max_mhz": max(most) / 1000 if most else None,
    }


def _temperatures(root: Path) -> Dict[str, float]:
    """Degrees Celsius by thermal zone."""
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        millidegrees = files.number(zone, "temp")
        if millidegrees is not None:
            found[files.text(zone, "type") or zone.name] = millidegrees / 1000
    return found


def state(root: Path) -> Dict[str, Any]:
    """What changes during a run."""
    return dict(
        _clocks(root),
        temperature_c=_temperatures(root),
        load=parse_loadavg(files.text(root, "proc/loadavg") or ""),
        memory=parse_meminfo(files.text(root, "proc/meminfo") or ""),
        cpu_time=parse_stat(files.text(root, "proc/stat") or ""),
    )


def flags(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """busy (before the agent's own load), steal, emulated, virtualised."""
    found = []
    if before["load"] and before["load"][0] > BUSY_LOAD * before["cpu"]["cores"]:
        found.append("busy")
    first, last = before["cpu_time"], after["cpu_time"]
    if first and last and last["ticks"] > first["ticks"]:
        share = (last["steal"] - first["steal"]) / (last["ticks"] - first["ticks"])
        if share > STEAL_SHARE:
            found.append("steal")
    if before["emulator"]:
        found.append("emulated")
    if before["virtualised"]:
        found.append("virtualised")
    return found

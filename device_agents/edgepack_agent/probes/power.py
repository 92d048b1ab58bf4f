"""What the board draws: INA3221 and other hwmon sensors, and RAPL's counters of energy."""

import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from edgepack_agent.probes import files

Sensor = Tuple[str, Path]  # kind and file or folder


def sensors(root: Path) -> List[Sensor]:
    """Where the whole board's (or package's) power can be read, the first kind that there is.

    Jetson's INA3221 gives millivolts and milliamperes by rail (hwmon, L4T 34 and newer) or
    milliwatts (iio, before). Other hwmon chips give microwatts. RAPL counts microjoules of the
    processor's packages; since 2020 the kernel lets only root read it.
    """
    hwmon = sorted((root / "sys/class/hwmon").glob("hwmon*"))
    chips = [chip for chip in hwmon if (files.text(chip, "name") or "").startswith("ina3221")]
    labels = [path for chip in chips for path in sorted(chip.glob("in[0-9]*_label"))]
    iio = sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_*"))
    for kind, paths in (("rail", labels), ("iio", iio)):
        named = {(files.text(path.parent, path.name) or "").strip(): path for path in paths}
        rails = module_rails(list(named))
        if rails:
            return [(kind, named[name]) for name in rails]
    watts = [("watt", path) for chip in hwmon for path in sorted(chip.glob("power[0-9]*_input"))]
    if watts:
        return watts[:1]
    packages = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]"))
    return [("rapl", path) for path in packages if files.number(path, "energy_uj") is not None]


_NAMES = {"rail": "INA3221", "iio": "INA3221", "watt": "hwmon", "rapl": "RAPL"}
FOR_ROOT = "RAPL, which only root may read"


def source(root: Path) -> Optional[str]:
    """What tells the power here: "INA3221", "hwmon" or "RAPL"; FOR_ROOT; None without any."""
    found = sensors(root)
    if found:
        return _NAMES[found[0][0]]
    return FOR_ROOT if any((root / "sys/class/powercap").glob("intel-rapl:[0-9]")) else None


# The rails that make up the whole module, by NVIDIA's names of them: one that feeds it (Nano, TX2,
# Xavier NX, Orin Nano and NX), or all that there are (AGX Orin, AGX Xavier).
_MODULES = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)


def module_rails(names: Sequence[str]) -> Tuple[str, ...]:
    """Those of an INA3221's rails whose sum is the module's power; () when they do not tell it."""
    return next((rails for rails in _MODULES if set(rails) <= set(names)), ())


class Meter:
    """Reads the sensors found once; RAPL needs the reading before to tell power."""

    def __init__(self, root: Path) -> None:
        self._sensors = sensors(root)
        self._last: Dict[Path, Tuple[float, int]] = {}

    def watts(self) -> Optional[float]:
        """Watts now; of RAPL the mean since the last call, so None at the first."""
        known = [self._watts(kind, path) for kind, path in self._sensors]
        told = [value for value in known if value is not None]
        return sum(told) if told and len(told) == len(known) else None

    def _watts(self, kind: str, path: Path) -> Optional[float]:
        if kind == "rapl":
            return self._rapl_w(path)
        if kind == "rail":
            number = path.name[2 : -len("_label")]
            millivolts = files.number(path.parent, "in%s_input" % number)
            milliamperes = files.number(path.parent, "curr%s_input" % number)
            if millivolts is None or milliamperes is None:
                return None
            return millivolts * milliamperes / 1e6
        if kind == "iio":
            name = "in_power%s_input" % path.name[len("rail_name_") :]
            milliwatts = files.number(path.parent, name)
            return None if milliwatts is None else milliwatts / 1e3
        microwatts = files.number(path.parent, path.name)
        return None if microwatts is None else microwatts / 1e6

    def _rapl_w(self, folder: Path) -> Optional[float]:
        counted, now = files.number(folder, "energy_uj"), time.monotonic()
        if counted is None:
            return None
        last, self._last[folder] = self._last.get(folder), (now, counted)
        if last is None or now <= last[0]:
            return None
        limit = files.number(folder, "max_energy_range_uj")
        return rapl_joules(last[1], counted, limit) / (now - last[0])


def rapl_joules(first: int, last: int, limit: Optional[int]) -> float:
    """Joules between two readings of a counter of microjoules that wraps at `limit`."""
    grown = last - first
    if grown < 0:
        grown += limit or 0
    return max(grown, 0) / 1e6

"""`tegrastats`, NVIDIA's monitor on a Jetson, for what sysfs does not say there.

It needs no root on L4T 32 and newer. Started once beside a run; it ends with the agent, at the
latest at its next line, which nobody reads any more.
"""

import os
import re
import signal
import subprocess
import time
from typing import Any, Dict, List, Optional

from edgepack_agent.probes.power import module_rails

INTERVAL_MS = 500
STALE_S = 3.0  # without a line for so long, nothing is known
MOST_BYTES = 64 << 10  # read at a time; a line has some 400
ENDS_S = 1.0
_COLDEST = -40.0  # sensors that are switched off say -256


def parse(line: str) -> Dict[str, Any]:
    """A line: milliwatts by rail now, the module's watts, temperatures, the GPU's load (0 to 1).

    Known forms: "POM_5V_IN 2532/2698" (L4T 32), "VDD_IN 4982mW/4995mW" (35 and newer),
    "GR3D_FREQ 0%@76", "0%@[114]" and, without a load, "@[1000,1000]". PMIC's is no measured
    temperature but a constant.
    """
    found = re.findall(r"(?<!\S)([A-Z][A-Z0-9_]*) ([0-9]{1,9})(?:mW)?/\d+(?:mW)?(?!\S)", line)
    rails = {name: int(now) for name, now in found}
    sensors = re.findall(r"(?<!\S)(\w+)@(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)C\b", line)
    celsius = {name: float(value) for name, value in sensors if name.upper() != "PMIC"}
    celsius = {name: value for name, value in celsius.items() if value > _COLDEST}
    whole = module_rails(list(rails))
    load = re.search(r"\bGR3D(?:_FREQ)? ([0-9]{1,9})%", line)
    return {
        "rails_mw": rails,
        "power_w": sum(rails[name] for name in whole) / 1000 if whole else None,
        "temperature_c": celsius,
        "gpu": int(load.group(1)) / 100 if load else None,
    }


class Tegrastats:
    """One `tegrastats` process and the last line that it said."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self._process = process
        self._pipe = process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._rest = b""
        self._last: Dict[str, Any] = {}
        self._at = 0.0

    @property
    def pids(self) -> List[int]:
        """Of the process, whose load is the agent's own."""
        return [self._process.pid]

    def read(self) -> Dict[str, Optional[float]]:
        """`power_w`, `temperature_c` (the highest) and `gpu` of the last line; never waits."""
        try:
            said = os.read(self._pipe, MOST_BYTES)
        except OSError:  # nothing new
            said = b""
        lines = (self._rest + said).split(b"\n")
        self._rest = lines.pop()[-MOST_BYTES:]
        if lines:
            self._last, self._at = parse(lines[-1].decode("utf-8", "replace")), time.monotonic()
        if not self._last or time.monotonic() - self._at > STALE_S:
            return {}
        celsius = self._last["temperature_c"].values()
        return {
            "power_w": self._last["power_w"],
            "gpu": self._last["gpu"],
            "temperature_c": max(celsius) if celsius else None,
        }

    def stop(self) -> float:
        """End it; the seconds of processor time that it took."""
        process = self._process
        os.killpg(process.pid, signal.SIGTERM)
        ends = time.monotonic() + ENDS_S
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = status
                process.stdout.close() if process.stdout else None
                return used.ru_utime + used.ru_stime
            if time.monotonic() > ends:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)


def start() -> Optional[Tegrastats]:
    """Start it; None where there is none."""
    try:
        process = subprocess.Popen(
            ["tegrastats", "--interval", str(INTERVAL_MS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        return None
    return Tegrastats(process)

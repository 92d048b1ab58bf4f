"""The board's state beside the run: a thread of low priority that reads a few files.

What it costs is measured with its own clock of processor time and told with the time line.
"""

import contextlib
import os
import re
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from edgepack_agent.disturbance import COLUMNS
from edgepack_agent.probes import files, generic, jetson, power, raspberry_pi, tegrastats

PERIOD_S = 0.25
NICE = 10
MOST_ROWS = 240  # of the time line as it is told; a longer one is thinned

_CPU = "sys/devices/system/cpu"
Reading = Dict[str, Optional[float]]


class Sampler:
    """Samples from `start` to `stop`. `pids`: the processes whose load is the agent's own;
    `probes`: those of the job, whose boards have tools to ask."""

    def __init__(
        self,
        pids: Callable[[], Sequence[int]],
        root: Path = Path("/"),
        probes: Sequence[str] = (),
    ) -> None:
        self.start_ns = time.monotonic_ns()
        self.rows: List[List[Optional[float]]] = []
        self.cost = 0.0
        self._board = Board(root, pids, probes)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.start_ns = time.monotonic_ns()
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._ended.set()
        self._thread.join()
        seconds = (time.monotonic_ns() - self.start_ns) / 1e9
        self.cost += self._board.close() / max(seconds, 1e-9)

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        self._board.start_tools()
        last = self._board.read()
        before = time.monotonic_ns()
        while not self._ended.wait(PERIOD_S):
            now = time.monotonic_ns()
            reading = self._board.read()
            self.rows.append(row(last, reading, (now - self.start_ns) / 1e9, now - before))
            last, before = reading, now
            self.cost = time.thread_time() * 1e9 / max(1, now - self.start_ns)

    def told(self) -> List[List[Optional[float]]]:
        """At most MOST_ROWS rows: every k-th of a longer time line."""
        step = -(-len(self.rows) // MOST_ROWS) or 1
        return self.rows[step - 1 :: step]


def row(last: Reading, now: Reading, t_s: float, elapsed_ns: int) -> List[Optional[float]]:
    """One row of the time line, its columns as in COLUMNS, from two readings.

    others: cores that others kept busy; steal, quota, waiting: shares of the time between.
    """

    def grown(key: str) -> Optional[float]:
        first, second = last.get(key), now.get(key)
        return None if first is None or second is None else max(0.0, second - first)

    ticks, busy, own = grown("ticks"), grown("busy"), grown("own_ns")
    cores = now.get("cores") or 1
    others = steal = None
    if ticks and busy is not None and own is not None:
        others = max(0.0, cores * busy / ticks - own / elapsed_ns)
        steal = (grown("steal") or 0.0) / ticks
    count = grown("throttle_count")
    words = (now.get("throttled"), None if count is None else float(count > 0))
    throttled = max((word for word in words if word is not None), default=None)
    shares = {key: grown(key) for key in ("quota_ns", "waiting_ns")}
    values: Reading = {
        "t_s": t_s,
        "frequency_mhz": now.get("frequency_mhz"),
        "temperature_c": now.get("temperature_c"),
        "throttled": throttled,
        "quota": _share(shares["quota_ns"], elapsed_ns),
        "others": others,
        "steal": steal,
        "waiting": _share(shares["waiting_ns"], elapsed_ns),
        "memory_mb": now.get("memory_mb"),
        "power_w": now.get("power_w"),
        "gpu": now.get("gpu"),
    }
    return [None if values[name] is None else round(values[name] or 0.0, 3) for name in COLUMNS]


def _share(part: Optional[float], elapsed_ns: int) -> Optional[float]:
    return None if part is None else part / max(1, elapsed_ns)


class Board:
    """Where this board's state can be read; looked for once, because each look costs."""

    def __init__(
        self, root: Path, pids: Callable[[], Sequence[int]], probes: Sequence[str] = ()
    ) -> None:
        self._root = root
        self._pids = pids
        self._jetson = "jetson" in probes
        self._clocks = sorted((root / _CPU).glob("cpu[0-9]*/cpufreq"))
        self._zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
        self._cooling = cooling(root)
        self._counts = throttle_counts(root)
        self._quotas = quota_files(root)
        self._power = power.Meter(root)
        self._gpus = jetson.gpu_loads(root)
        self._throttle = raspberry_pi.Throttle(root, "raspberry_pi" in probes)
        self._tegrastats: Optional[tegrastats.Tegrastats] = None

    def start_tools(self) -> None:
        """On a Jetson start tegrastats, if sysfs leaves something out that it says."""
        if self._jetson and None in map(self.read().get, ("power_w", "temperature_c", "gpu")):
            self._tegrastats = tegrastats.start()

    def close(self) -> float:
        """End what was started; the seconds of processor time that tools took."""
        cost_s = self._throttle.cost_s
        if self._tegrastats is not None:
            cost_s += self._tegrastats.stop()
            self._tegrastats = None
        return cost_s

    def read(self) -> Reading:
        """What can be read now; a key is None where the board does not say."""
        own_ns, waiting_ns = self._own()
        memory = generic.parse_meminfo(files.text(self._root, "proc/meminfo") or "")
        available = memory.get("available_bytes")
        reading: Reading = {
            "frequency_mhz": _largest(_numbers(self._clocks, "scaling_cur_freq")),
            "temperature_c": _largest(_numbers(self._zones, "temp")),
            "throttled": self._throttled(),
            "throttle_count": _sum(files.number(path.parent, path.name) for path in self._counts),
            "quota_ns": sum(parse_quota(_read(path)) for path in self._quotas),
            "own_ns": own_ns,
            "waiting_ns": waiting_ns,
            "memory_mb": None if available is None else available / 1e6,
            "power_w": self._power.watts(),
            "gpu": _largest(_numbers(self._gpus, "load")),
            **parse_busy(files.text(self._root, "proc/stat") or ""),
        }
        said = self._tegrastats.read() if self._tegrastats else {}
        reading.update({key: said[key] for key in said if reading[key] is None})
        return reading

    def _throttled(self) -> Optional[float]:
        """1 when the firmware or the kernel slows the board down now; None: neither can tell."""
        firmware = self._throttle.now()
        steps = [files.number(path, "cur_state") for path in self._cooling]
        known = [step for step in steps if step is not None]
        if firmware is None and not known:
            return None
        return float(bool(firmware) or any(known))

    def _own(self) -> Tuple[Optional[float], Optional[float]]:
        """Nanoseconds that the agent's processes ran, and that its children waited for a core."""
        ran = waited = 0.0
        told = False
        helpers = [os.getpid(), *(self._tegrastats.pids if self._tegrastats else ())]
        for pid in (*helpers, *self._pids()):
            for task in (self._root / "proc" / str(pid) / "task").glob("*/schedstat"):
                times = [files.whole(field) for field in _read(task).split()[:2]]
                if len(times) == 2 and times[0] is not None and times[1] is not None:
                    told = True
                    ran += times[0]
                    waited += times[1] if pid not in helpers else 0
        return (ran, waited) if told else (None, None)


def _read(path: Path) -> str:
    return files.text(path.parent, path.name) or ""  # a thread may end meanwhile


def _numbers(folders: Sequence[Path], name: str) -> List[int]:
    found = (files.number(folder, name) for folder in folders)
    return [value for value in found if value is not None]


def _sum(values: Iterable[Optional[int]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None


def _largest(thousandths: Sequence[int]) -> Optional[float]:
    return max(thousandths) / 1000 if thousandths else None


def throttle_counts(root: Path) -> List[Path]:
    """Counters of throttling: of each core (x86), and of NVIDIA's over-current alarms."""
    cores = sorted((root / _CPU).glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    return cores + sorted((root / "sys/class/hwmon").glob("hwmon*/oc[0-9]*_event_cnt"))


def cooling(root: Path) -> List[Path]:
    """The kernel's cooling devices that slow processors down; `cur_state` above 0: they do."""
    found = sorted((root / "sys/class/thermal").glob("cooling_device*"))
    slowing = re.compile("(thermal-)?(cpufreq|devfreq)-")
    return [path for path in found if slowing.match(files.text(path, "type") or "")]


def parse_busy(text: str) -> Dict[str, Optional[float]]:
    """Ticks of all cores since the start, those not idle, those stolen, and the cores."""
    ticks = [float(value) for value in generic.cpu_ticks(text)]
    if not ticks:
        return {"ticks": None, "busy": None, "steal": None, "cores": None}
    idle = ticks[3] + ticks[4]
    cores = len(re.findall(r"^cpu\d", text, re.M))
    return {
        "ticks": sum(ticks),
        "busy": sum(ticks) - idle - ticks[7],
        "steal": ticks[7],
        "cores": float(cores),
    }


def quota_files(root: Path) -> List[Path]:
    """The cpu.stat of this process's control groups (both versions) that have one, outwards."""
    found = []
    for line in (files.text(root, "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if (controllers and "cpu" not in controllers.split(",")) or "\0" in path:
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = top / path.lstrip("/")
        places = [place for place in (group, *group.parents) if top in (place, *place.parents)]
        found += [place / "cpu.stat" for place in places]
    return [path for path in found if os.access(str(path), os.R_OK)]


def parse_quota(text: str) -> float:
    """Nanoseconds for which a control group was throttled: throttled_usec, or version 1's
    throttled_time."""
    found = re.search(r"^throttled_(usec|time) ([0-9]{1,20})", text, re.M)
    if not found:
        return 0.0
    return float(found.group(2)) * (1000 if found.group(1) == "usec" else 1)


def flags(rows: Sequence[Sequence[Optional[float]]]) -> List[str]:
    """throttled, when the board was slowed down while it was watched, if only for a while."""
    return ["throttled"] if any(one[COLUMNS.index("throttled")] for one in rows) else []


def time_line(sampler: Sampler, disturbances: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The `timeline` event."""
    return {
        "event": "timeline",
        "start_ns": sampler.start_ns,
        "period_s": PERIOD_S,
        "cost": round(sampler.cost, 6),
        "columns": list(COLUMNS),
        "rows": sampler.told(),
        "disturbances": disturbances,
    }

"""The probes' parsers over text as boards print it, and whole probes over a small root."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgepack_agent import probes
from edgepack_agent.probes import desktop, generic, jetson, raspberry_pi

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
flags\t\t: fpu sse4_2 avx2 hypervisor

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
flags\t\t: fpu sse4_2 avx2 hypervisor
"""
PI_4 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Hardware\t: BCM2835
Revision\t: c03112
Model\t\t: Raspberry Pi 4 Model B Rev 1.2
"""
MEMINFO = "MemTotal:         444428 kB\nMemFree:   1000 kB\nMemAvailable:     262144 kB\n"


def test_cpuinfo() -> None:
    x86 = generic.parse_cpuinfo(X86)
    assert (x86["cores"], x86["vendor"]) == (2, "GenuineIntel")
    assert x86["model"] == "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz"
    assert x86["flags"] == ["fpu", "sse4_2", "avx2", "hypervisor"]
    pi = generic.parse_cpuinfo(PI_4)
    assert (pi["cores"], pi["vendor"], pi["part"]) == (1, "0x41", "0xd08")
    assert pi["board"] == "Raspberry Pi 4 Model B Rev 1.2"
    assert "asimd" in pi["flags"]
    assert generic.parse_cpuinfo("")["flags"] == []


def test_meminfo_and_stat() -> None:
    assert generic.parse_meminfo(MEMINFO) == {
        "total_bytes": 444428 * 1024,
        "available_bytes": 262144 * 1024,
    }
    # user nice system idle iowait irq softirq steal guest guest_nice
    assert generic.parse_stat("cpu  10 1 5 100 2 0 3 7 4 0\ncpu0 1 1\n") == {
        "ticks": 128,
        "steal": 7,
    }
    assert generic.parse_stat("") == {}


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "parent", "found"),
    [
        ("x86_64", X86, "/usr/bin/bash", None),
        ("aarch64", PI_4, "/usr/bin/bash", None),
        ("aarch64", X86, "", "qemu-user"),
        ("armv7l", X86, "", "qemu-user"),
        ("x86_64", PI_4, "", "qemu-user"),
        ("aarch64", PI_4, "/usr/bin/qemu-aarch64-static", "qemu-user"),
    ],
)
def test_emulator(machine: str, cpuinfo: str, parent: str, found: str | None) -> None:
    assert generic.emulator(machine, cpuinfo, parent) == found


@pytest.mark.parametrize(
    ("text", "now", "occurred"),
    [
        ("throttled=0x0\n", [], []),
        ("throttled=0x50005\n", ["under-voltage", "throttled"], ["under-voltage", "throttled"]),
        ("throttled=0x80008", ["soft-temperature-limit"], ["soft-temperature-limit"]),
        ("20000", [], ["frequency-capped"]),
    ],
)
def test_throttled(text: str, now: list[str], occurred: list[str]) -> None:
    assert raspberry_pi.parse_throttled(text) == {"now": now, "occurred": occurred}


def test_throttled_that_is_no_number() -> None:
    assert raspberry_pi.parse_throttled("VCHI initialization failed") is None


@pytest.mark.parametrize(
    ("before", "after", "flags"),
    [
        ("throttled=0x0", "throttled=0x0", []),
        ("throttled=0x50000", "throttled=0x50000", []),
        ("throttled=0x0", "throttled=0x40000", ["throttled"]),
        ("throttled=0x0", "throttled=0x10001", ["under-voltage"]),
        ("throttled=0x50005", "throttled=0x50005", ["throttled", "under-voltage"]),
    ],
)
def test_what_happened_during_the_run_is_flagged(before: str, after: str, flags: list[str]) -> None:
    states = [{"throttled": raspberry_pi.parse_throttled(text)} for text in (before, after)]
    assert sorted(raspberry_pi.flags(*states)) == flags


def test_jetson() -> None:
    release = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE"
    assert jetson.parse_release(release) == {"l4t": "32.7.1", "board": "t210ref"}
    orin = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE"
    assert jetson.parse_release(orin) == {"l4t": "36.4.3", "board": "generic"}
    assert jetson.parse_release("Ubuntu") is None
    assert jetson.parse_nvpmodel("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n") == "MAXN"
    assert jetson.flags({"power_mode": "MAXN"}, {"power_mode": "5W"}) == ["power-mode-changed"]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_whole_board(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        {
            "proc/cpuinfo": PI_4,
            "proc/meminfo": MEMINFO,
            "proc/loadavg": "0.10 0.20 0.30 1/100 999\n",
            "proc/stat": "cpu  10 1 5 100 2 0 3 7 4 0\n",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.2\0",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            f"{cpu}/cpu0/cpufreq/scaling_governor": "ondemand\n",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "600000\n",
            f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": "1500000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48680\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
        },
    )
    found = probes.environment(["generic", "raspberry_pi"], tmp_path)
    assert found["board"] == "Raspberry Pi 4 Model B Rev 1.2"
    assert found["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert (found["governor"], found["frequency_mhz"], found["frequency_max_mhz"]) == (
        "ondemand",
        600.0,
        1500.0,
    )
    assert found["temperature_c"] == {"cpu-thermal": 48.68}
    assert found["load"] == [0.1, 0.2, 0.3]
    assert found["throttled"]["occurred"] == ["under-voltage", "throttled"]


def test_an_empty_root_breaks_nothing(tmp_path: Path) -> None:
    before = probes.environment(probes.KNOWN, tmp_path)
    after = probes.state(probes.KNOWN, tmp_path)
    assert probes.flags(probes.KNOWN, before, after) == []
    assert before["temperature_c"] == {}
    assert before["governor"] is None


def test_throttle_counters_of_a_pc(tmp_path: Path) -> None:
    counter = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    write(tmp_path, {counter.format(0): "3", counter.format(1): "4"})
    before = desktop.state(tmp_path)
    assert before["throttle_count"] == 7
    write(tmp_path, {counter.format(1): "5"})
    assert desktop.flags(before, desktop.state(tmp_path)) == ["throttled"]
    assert desktop.flags(before, before) == []


def test_stolen_time_and_load_are_flagged() -> None:
    before = {
        "load": [3.0, 1.0, 1.0],
        "cpu": {"cores": 4},
        "cpu_time": {"ticks": 1000, "steal": 0},
        "emulator": None,
        "virtualised": False,
    }
    assert generic.flags(before, {"cpu_time": {"ticks": 2000, "steal": 20}}) == ["busy", "steal"]
    calm = {**before, "load": [0.1, 0.1, 0.1]}
    assert generic.flags(calm, {"cpu_time": {"ticks": 2000, "steal": 5}}) == []

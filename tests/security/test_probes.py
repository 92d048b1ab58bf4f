"""Whatever a board's files and tools say: the probes tell of it in finite numbers, or not at all.

Drawn and damaged texts, 100 a parser and 40 whole boards in CI (docs/security.md).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.resources import agent_source

EXAMPLES = int(os.environ.get("EDGEPACK_FUZZ_EXAMPLES", "200"))
CPU = "sys/devices/system/cpu/cpu0"
ZONE = "sys/class/thermal/thermal_zone0"
HWMON = "sys/class/hwmon/hwmon0"
RAPL = "sys/class/powercap/intel-rapl:0"

BOARD = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t: fpu hypervisor\n",
    "proc/meminfo": "MemTotal:  444428 kB\nMemAvailable:  262144 kB\n",
    "proc/loadavg": "0.10 0.20 0.30 1/100 999\n",
    "proc/stat": "cpu  10 1 5 100 2 0 3 7 4 0\ncpu0 10 1 5 100 2 0 3 7 4 0\n",
    "proc/self/cgroup": "3:cpu,cpuacct:/user.slice\n0::/user.slice/session-1.scope\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t210ref,",
    "sys/fs/cgroup/cpu.stat": "nr_throttled 1\nthrottled_usec 5000\n",
    "sys/class/dmi/id/product_name": "a PC\n",
    "sys/devices/system/cpu/cpufreq/boost": "1\n",
    f"{CPU}/cpufreq/scaling_governor": "ondemand\n",
    f"{CPU}/cpufreq/scaling_cur_freq": "600000\n",
    f"{CPU}/cpufreq/cpuinfo_max_freq": "1500000\n",
    f"{CPU}/thermal_throttle/core_throttle_count": "3\n",
    f"{ZONE}/type": "cpu-thermal\n",
    f"{ZONE}/temp": "48680\n",
    f"{ZONE}/trip_point_0_type": "passive\n",
    f"{ZONE}/trip_point_0_temp": "85000\n",
    f"{HWMON}/name": "ina3221\n",
    f"{HWMON}/in1_label": "VDD_IN\n",
    f"{HWMON}/in1_input": "5000\n",
    f"{HWMON}/curr1_input": "900\n",
    f"{HWMON}/temp1_input": "51000\n",
    f"{RAPL}/energy_uj": "123456789\n",
    f"{RAPL}/max_energy_range_uj": "262143328850\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
}
"""A board that has everything, by file."""

NUMBERS = st.sampled_from(
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 400,
        "-" + "9" * 5000,
        "0x1f",
        "١٢",
        "1_0",
        "\0",
        "-1",
    ]
)
ODD = NUMBERS | st.text(max_size=40)


@st.composite
def damaged(draw: st.DrawFn, good: str) -> str:
    """The good text with some words replaced, or pieces cut out, or something else entirely."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    words = good.split(" ")
    for _ in range(draw(st.integers(1, 3))):
        words[draw(st.integers(0, len(words) - 1))] = draw(ODD)
    text = " ".join(words)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@pytest.fixture(autouse=True)
def _agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(agent_source().parent))


def tellable(found: object) -> None:
    """It goes into an event as it is: no NaN, no infinity, no object, no absurd integer."""
    told = json.dumps(found, allow_nan=False)
    json.loads(told, parse_int=lambda digits: pytest.fail(digits) if len(digits) > 25 else 0)


def parsers() -> dict[str, tuple[str, Callable[[str], object]]]:
    from edgepack_agent import doctor, sampler
    from edgepack_agent.probes import files, generic, jetson, raspberry_pi, tegrastats

    rails = "RAM 1/2MB VDD_IN 4982mW/4995mW POM_5V_IN 2532/2698 CPU@46.5C GPU@-256C"
    return {
        "cpuinfo": (BOARD["proc/cpuinfo"], generic.parse_cpuinfo),
        "meminfo": (BOARD["proc/meminfo"], generic.parse_meminfo),
        "stat": (BOARD["proc/stat"], generic.parse_stat),
        "busy": (BOARD["proc/stat"], sampler.parse_busy),
        "loadavg": (BOARD["proc/loadavg"], generic.parse_loadavg),
        "os-release": (BOARD["etc/os-release"], generic.parse_os_release),
        "quota": ("throttled_usec 5000", sampler.parse_quota),
        "throttled": ("throttled=0x50005", raspberry_pi.parse_throttled),
        "tegrastats": (rails, tegrastats.parse),
        "tegra-release": (BOARD["etc/nv_tegra_release"], jetson.parse_release),
        "nvpmodel": ("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n", jetson.parse_nvpmodel),
        "nvpmodel's state": (
            "pmode:0002",
            lambda text: jetson.parse_status(text, "< POWER_MODEL ID=2 NAME=15W >"),
        ),
        "musl": ("musl libc (x86_64)\nVersion 1.2.4\nDynamic", doctor.parse_musl),
        "whole": ("48680\n", files.whole),
        "real": ("0.10", files.real),
    }


NAMES = (
    "cpuinfo", "meminfo", "stat", "busy", "loadavg", "os-release", "quota", "throttled",
    "tegrastats", "tegra-release", "nvpmodel", "nvpmodel's state", "musl", "whole", "real",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=EXAMPLES // 2)
@given(drawn=st.data())
def test_any_text_is_told_in_finite_numbers_or_not_at_all(name: str, drawn: st.DataObject) -> None:
    good, parse = parsers()[name]
    assert parse(good), "the parser takes what is undamaged"
    tellable(parse(drawn.draw(damaged(good))))


@settings(max_examples=EXAMPLES // 5)
@given(drawn=st.data())
def test_any_board_is_described_and_sampled(drawn: st.DataObject) -> None:
    from edgepack_agent import probes, settle
    from edgepack_agent.sampler import Board, row

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in BOARD.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        for name in drawn.draw(st.lists(st.sampled_from(sorted(BOARD)), max_size=8)):
            (root / name).write_bytes(drawn.draw(damaged(BOARD[name])).encode())
        before = probes.environment(probes.KNOWN, root)
        tellable(before)
        board = Board(root, lambda: ())
        first = board.read()
        name = drawn.draw(st.sampled_from(sorted(BOARD)))
        (root / name).write_bytes(drawn.draw(st.binary(max_size=30)))
        after = probes.state(probes.KNOWN, root)
        tellable(after)
        probes.flags(probes.KNOWN, before, after)
        rows = [row(first, board.read(), 0.25, 250_000_000)]
        tellable(rows)
        settle.unsettled(rows, settle.hot_from(root))

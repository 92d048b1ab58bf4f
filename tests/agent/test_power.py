"""What the board draws and does, read from files as boards have them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from edgepack_agent import sampler
from edgepack_agent.disturbance import COLUMNS
from edgepack_agent.probes import jetson, power, tegrastats

from .host import DATA, Event, Host, make_job

# Lines that boards said, by board and JetPack (L4T) version.
LINES = {
    "nano 4.6 (32)": "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb "
    "252kB) CPU [5%@1224,4%@1224,3%@1224,6%@1224] EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C "
    "CPU@40C PMIC@50C GPU@40C AO@45C thermal@40C POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU "
    "366/406",
    "tx2 4.2 (32)": "RAM 2020/7852MB (lfb 1164x4MB) CPU [9%@345,21%@345,25%@345,3%@345,1%@345,"
    "1%@345] EMC_FREQ 0% GR3D_FREQ 0% PLL@42.5C MCPU@42.5C PMIC@100C Tboard@40C GPU@41C "
    "BCPU@42.5C thermal@41.9C Tdiode@41.25C VDD_SYS_GPU 153/158 VDD_SYS_SOC 536/547 VDD_4V0_WIFI "
    "633/527 VDD_IN 3140/3208 VDD_SYS_CPU 536/590 VDD_SYS_DDR 557/601",
    "xavier-nx 4 (32)": "RAM 5246/7771MB (lfb 7x4MB) SWAP 983/20269MB (cached 280MB) CPU "
    "[47%@1420,23%@1420,32%@1420,22%@1420,31%@1420,96%@1420] EMC_FREQ 2%@1600 GR3D_FREQ 0%@1109 "
    "APE 150 MTS fg 1% bg 9% AO@29C GPU@31.5C PMIC@100C AUX@30C CPU@33.5C thermal@31.35C VDD_IN "
    "6140/5510 VDD_CPU_GPU_CV 2706/2119 VDD_SOC 1074/1051",
    "xavier-nx 5 (35)": "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached "
    "0MB) CPU [23%@1397,17%@1192,16%@1190,13%@1190,23%@1190,10%@1190] EMC_FREQ 2%@204 GR3D_FREQ "
    "0%@[114] VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C "
    "VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW",
    "orin-nano 6 (36)": "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB "
    "(cached 202MB) CPU [97%@1984,95%@1984,95%@1984,91%@1984,88%@1984,93%@247] EMC_FREQ 18%@3199 "
    "GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 NVJPG off NVJPG1 off VIC 31%@115 OFA off "
    "NVDLA0 off PVA0_FREQ off APE 174 cv0@63.031C cpu@65.562C soc2@64.156C soc0@63.031C "
    "cv1@62.937C gpu@63.5C tj@65.562C soc1@64.718C cv2@60.875C VDD_IN 17946mW/15710mW "
    "VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW",
    "agx-orin 6 (36)": "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB "
    "(cached 0MB) CPU [0%@729,0%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 "
    "APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C "
    "GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW "
    "VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW",
    "agx-orin 7 (39)": "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201]"
    " EMC_FREQ 3%@3199 GR3D_FREQ 0%@[1300,1300] NVENC0 off NVDEC0 off APE 174 "
    "cpu@52.968C/52.968C",
    "tx1 3.2 (28), as root": "RAM 3607/3983MB (lfb 47x4MB) SWAP 873/8192MB (cached 281MB) cpu "
    "[17%,11%,65%,0%]@1734 EMC 1%@1600 APE 25 GR3D 39%@76",
}


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("board", "watts", "rails", "hottest", "gpu"),
    [
        ("nano 4.6 (32)", 1.75, 3, 45.0, 0.0),
        ("tx2 4.2 (32)", 3.14, 6, 42.5, 0.0),
        ("xavier-nx 4 (32)", 6.14, 3, 33.5, 0.0),
        ("xavier-nx 5 (35)", 2.763, 3, 46.5, 0.0),
        ("orin-nano 6 (36)", 17.946, 3, 65.562, 0.84),
        ("agx-orin 6 (36)", 2.34 + 0.39 + 4.025, 5, 44.562, 0.0),
        ("agx-orin 7 (39)", None, 0, 52.968, 0.0),
        ("tx1 3.2 (28), as root", None, 0, None, 0.39),
    ],
)
def test_tegrastats_of_every_release(
    board: str, watts: float | None, rails: int, hottest: float | None, gpu: float
) -> None:
    found = tegrastats.parse(LINES[board])
    assert found["power_w"] == pytest.approx(watts) if watts else found["power_w"] is None
    assert len(found["rails_mw"]) == rails
    assert max(found["temperature_c"].values(), default=None) == hottest, "PMIC's is no reading"
    assert found["gpu"] == gpu


def test_tegrastats_that_says_nothing_of_use() -> None:
    found = tegrastats.parse("GR3D_FREQ @[1000,1000] RAM 1/2MB")
    assert (found["power_w"], found["gpu"], found["temperature_c"]) == (None, None, {})


def tool(folder: Path, name: str, script: str) -> None:
    """A command on a board: a shell script of that name."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of the PATH of the agents that a test starts."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "bin"


def column(host: Host, name: str) -> list[float]:
    (line,) = host.all("timeline")
    at = line["columns"].index(name)
    return [row[at] for row in line["rows"] if row[at] is not None]


def running(command: Path) -> list[Path]:
    """The processes of a script."""
    return [
        entry
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if str(command).encode() in _bytes(entry).split(b"\0")
    ]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


REPLAY = 'while read -r line; do echo "$line"; sleep 0.1; done < {lines}'


def jetson_job(max_s: float) -> tuple[Event, dict[str, bytes]]:
    model = {"m": (DATA / "classifier_int8.tflite").read_bytes()}
    return make_job(model, probes=["generic", "jetson"], min_rounds=100000, max_s=max_s)


def test_tegrastats_fills_in_what_sysfs_leaves_out(tmp_path: Path, tools: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.write_text("\n".join([LINES["orin-nano 6 (36)"]] * 200))
    tool(tools, "tegrastats", REPLAY.format(lines=recorded))
    with Host(tmp_path / "home") as host:
        host.serve(*jetson_job(1.5))
        assert host.results()["m"]["status"] == "ok"
        assert set(column(host, "gpu")) == {0.84}
        assert 17.946 in column(host, "power_w")
        assert not running(tools / "tegrastats"), "it ends with the rounds"


def test_tegrastats_ends_with_an_agent_that_is_killed(tmp_path: Path, tools: Path) -> None:
    tool(tools, "tegrastats", "while :; do echo GR3D_FREQ 1%@76 VDD_IN 1/1; sleep 0.1; done")
    with Host(tmp_path / "home") as host:
        message, blobs = jetson_job(60.0)
        message["settings"]["timeout_s"] = 120.0
        host.send(message)
        host.push(blobs)
        host.until("samples")
        deadline = time.monotonic() + 30
        while not running(tools / "tegrastats") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running(tools / "tegrastats")
        host.process.kill()
        while running(tools / "tegrastats") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running(tools / "tegrastats")


def test_a_power_mode_that_is_changed_in_mid_run(tmp_path: Path, tools: Path) -> None:
    mode = tmp_path / "mode"
    mode.write_text("NV Power Mode: MAXN\n0\n")
    tool(tools, "nvpmodel", f'[ "$1" = -q ] && cat {mode}')
    tool(tools, "tegrastats", "exit 1")
    with Host(tmp_path / "home") as host:
        message, blobs = jetson_job(1.0)
        host.send(message)
        host.push(blobs)
        host.until("samples")
        mode.write_text("NV Power Mode: 15W\n2\n")
        host.rest()
        (environment,) = [event["environment"] for event in host.all("environment")]
        assert environment["power_mode"] == "MAXN"
        assert "power-mode-changed" in host.results()["m"]["flags"]
        assert host.results()["m"]["status"] == "ok", "a tegrastats that fails harms nothing"


def test_vcgencmd_where_the_kernel_has_no_file(tmp_path: Path, tools: Path) -> None:
    said = tmp_path / "said"
    said.write_text("throttled=0x0\n")
    tool(tools, "vcgencmd", f'[ "$1" = get_throttled ] && cat {said} || echo version')
    model = {"m": (DATA / "classifier_int8.tflite").read_bytes()}
    with Host(tmp_path / "home") as host:
        job = make_job(model, probes=["generic", "raspberry_pi"], min_rounds=100000, max_s=4.0)
        host.send(job[0])
        host.push(job[1])
        for _ in range(5):  # the tool was asked before the first round, and is again after 2 s
            host.until("samples")
        said.write_text("throttled=0x50005\n")
        host.rest()
        assert {"throttled", "under-voltage"} <= set(host.results()["m"]["flags"])
        assert set(column(host, "throttled")) == {0.0, 1.0}, "seen to begin in mid-run"
        (line,) = host.all("timeline")
        assert "throttled" in [one["kind"] for one in line["disturbances"]]


def test_the_power_mode_from_nvpmodels_files(tmp_path: Path) -> None:
    write(tmp_path / "var/lib/nvpmodel", status="pmode:0002 fmode:quiet")
    config = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=15W_6CORE >\n"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(config)
    assert jetson.state(tmp_path) == {"power_mode": "15W_6CORE"}


def test_sysfs_of_a_jetson(tmp_path: Path) -> None:
    """L4T 32: INA3221 as an iio device; the GPU's load in thousandths; cooling that slows down."""
    chip = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    write(chip, rail_name_0="POM_5V_IN", in_power0_input=2532, rail_name_1="POM_5V_GPU")
    write(tmp_path / "sys/class/devfreq/57000000.gpu/device", load=840)
    write(tmp_path / "sys/class/devfreq/54340000.vic/device", load=10)
    device = tmp_path / "sys/class/thermal/cooling_device0"
    write(device, type="thermal-cpufreq-0", cur_state=0)
    write(tmp_path / "sys/class/thermal/cooling_device1", type="pwm-fan", cur_state=3)
    board = sampler.Board(tmp_path, lambda: ())
    reading = board.read()
    assert (reading["power_w"], reading["gpu"], reading["throttled"]) == (2.532, 0.84, 0.0)
    write(device, cur_state=2)
    assert board.read()["throttled"] == 1.0


def test_over_current_alarms_count_as_throttling(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/hwmon/hwmon2", name="soctherm_oc", oc3_event_cnt=4)
    board = sampler.Board(tmp_path, lambda: ())
    before = board.read()
    write(tmp_path / "sys/class/hwmon/hwmon2", oc3_event_cnt=5)
    told = dict(zip(COLUMNS, sampler.row(before, board.read(), 1.0, 10**9), strict=True))
    assert told["throttled"] == 1.0
    assert sampler.flags([list(told.values())]) == ["throttled"]


def test_agx_orin_is_the_sum_of_its_inputs(tmp_path: Path) -> None:
    for number, rails in ((1, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")), (2, ("VDDQ",))):
        files: dict[str, object] = {"name": "ina3221"}
        for at, rail in enumerate(rails, 1):
            files |= {f"in{at}_label": rail, f"in{at}_input": 5000, f"curr{at}_input": 100 * at}
        write(tmp_path / f"sys/class/hwmon/hwmon{number}", **files)
    assert power.Meter(tmp_path).watts() == pytest.approx(0.5 + 1.0 + 1.5)


def test_an_ina3221_gives_the_modules_input(tmp_path: Path) -> None:
    chip = tmp_path / "sys/class/hwmon/hwmon3"
    write(chip, name="ina3221", in1_label="VDD_CPU_GPU_CV", in1_input=5000, curr1_input=100)
    write(chip, in2_label="VDD_IN", in2_input=5008, curr2_input=976)
    assert power.Meter(tmp_path).watts() == pytest.approx(4.887808)


def test_another_chip_gives_microwatts(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/hwmon/hwmon0", name="amdgpu", power1_input=12_500_000)
    assert power.Meter(tmp_path).watts() == 12.5


def test_rapl_needs_two_readings_and_wraps(tmp_path: Path) -> None:
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    write(package, energy_uj=1_000_000, max_energy_range_uj=262_143_328_850)
    meter = power.Meter(tmp_path)
    assert meter.watts() is None
    write(package, energy_uj=3_000_000)
    assert (meter.watts() or 0) > 0
    assert power.rapl_joules(262_143_000_000, 671_150, 262_143_328_850) == pytest.approx(1.0)
    assert power.source(tmp_path) == "RAPL"
    (package / "energy_uj").unlink()
    assert power.source(tmp_path) == power.FOR_ROOT, "what root would add is named"


def test_a_board_that_tells_nothing_has_no_power(tmp_path: Path) -> None:
    assert power.Meter(tmp_path).watts() is None


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("nr_periods 5\nnr_throttled 2\nthrottled_usec 1500\n", 1_500_000),
        ("nr_periods 5\nnr_throttled 2\nthrottled_time 1500\n", 1500),
        ("usage_usec 3\n", 0),
    ],
)
def test_quota_of_both_versions(text: str, ns: int) -> None:
    assert sampler.parse_quota(text) == ns


def test_one_row_from_two_readings() -> None:
    second = 10**9
    first = sampler.parse_busy("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\ncpu1 1\n")
    last = sampler.parse_busy("cpu  160 0 140 880 0 0 0 20 0 0\ncpu0 1\ncpu1 1\n")
    before = {**first, "own_ns": 0.0, "waiting_ns": 0.0, "throttle_count": 3.0}
    after = {**last, "own_ns": 0.4 * second, "waiting_ns": 0.1 * second, "throttle_count": 4.0}
    row = dict(zip(COLUMNS, sampler.row(before, after, 2.0, second), strict=True))
    assert row["others"] == pytest.approx(2 * 100 / 200 - 0.4)
    assert (row["steal"], row["waiting"], row["throttled"]) == (0.1, 0.1, 1.0)
    assert row["power_w"] is None and row["quota"] is None

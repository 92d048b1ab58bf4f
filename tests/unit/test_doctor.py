"""What the doctor makes of a device's facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack import config, doctor, wheels
from edgepack.cli import device as device_command
from edgepack.cli import main as entry
from edgepack.doctor import checks
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.registry import Registry

SCHEMA = json.loads((Path(doctor.__file__).parent / "schema" / "doctor.schema.json").read_text())


def facts(**changed: Any) -> dict[str, Any]:
    good = {
        "python": {"implementation": "cpython", "version": "3.11.2", "executable": "python3"},
        "platform": {
            "machine": "aarch64", "arch": "aarch64", "libc": "glibc", "libc_version": "2.36",
        },
        "environment": {
            "cpu": {"cores": 4},
            "temperature_c": {"cpu-thermal": 48.3},
            "governor": "performance",
            "power_source": "INA3221",
            "throttled": {"now": [], "occurred": []},
            "load": [0.1, 0.1, 0.1],
        },
        "disk": {"home": "/h", "free_bytes": 9_000_000_000, "writable": True},
        "runtimes": [{"name": "ai-edge-litert", "version": "2.3.0", "unusable": None}],
        "numpy": {"version": "2.2.0", "unusable": None},
        "sftp": "/usr/lib/openssh/sftp-server",
        "busy": None,
        "missing_runtime": None,
    }  # fmt: skip
    for key, value in changed.items():
        good[key] = {**good[key], **value} if isinstance(value, dict) else value
    return good


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 1e308, "2.999999999", "9" * 5000, "../../x", ""])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def hostile(draw: st.DrawFn) -> dict[str, Any]:
    """Good facts, some of them, at any depth, something else."""
    found = facts()
    for _ in range(draw(st.integers(1, 4))):
        table = found
        while True:
            key = draw(st.sampled_from(sorted(table)))
            if not isinstance(table[key], dict) or not table[key] or draw(st.booleans()):
                break
            table = table[key]
        table[key] = draw(ANYTHING)
    return found


@given(said=hostile() | st.dictionaries(st.sampled_from(sorted(facts())), ANYTHING))
def test_whatever_a_device_says_of_itself_is_judged(said: dict[str, Any]) -> None:
    found = checks.judge(said, config.load_profile("raspberry-pi-4"))
    assert all(isinstance(each.found, str) for each in found)
    version = wheels.numpy_of(said)
    assert version is None or wheels._fits(version, ["numpy>=1"]) in (True, False)
    try:
        assert len(wheels.target_of(said).platforms) < 2000
    except EdgepackError as error:
        assert error.code in ("EP405", "EP501")


def judged(**changed: Any) -> dict[str, checks.Finding]:
    profile = config.load_profile("raspberry-pi-4")
    return {each.check: each for each in checks.judge(facts(**changed), profile)}


def test_a_good_board_has_nothing_to_do() -> None:
    assert {each.level.name for each in judged().values()} == {"OK"}
    assert not any(each.todo for each in judged().values())


@pytest.mark.parametrize(
    ("check", "level", "changed"),
    [
        ("python", "FAIL", {"python": {"implementation": "pypy"}}),
        ("libc", "WARN", {"platform": {"libc": "musl", "libc_version": "1.2.4"}}),
        ("architecture", "WARN", {"platform": {"arch": "armv7l"}}),
        ("disk", "FAIL", {"disk": {"free_bytes": 1_000_000}}),
        ("disk", "WARN", {"disk": {"free_bytes": 100_000_000}}),
        ("disk", "FAIL", {"disk": {"writable": False}}),
        ("temperature", "WARN", {"environment": {"temperature_c": {"a": 40, "b": 75.5}}}),
        ("temperature", "FAIL", {"environment": {"temperature_c": {"a": 86}}}),
        ("temperature", "UNKNOWN", {"environment": {"temperature_c": {}}}),
        ("governor", "WARN", {"environment": {"governor": "ondemand"}}),
        ("power", "UNKNOWN", {"environment": {"power_source": "RAPL, which only root may read"}}),
        ("power", "UNKNOWN", {"environment": {"power_source": None}}),
        ("throttling", "FAIL", {"environment": {"throttled": {"now": ["under-voltage"]}}}),
        ("throttling", "WARN", {"environment": {"throttled": {"occurred": ["throttled"]}}}),
        ("load", "WARN", {"environment": {"load": [3.5, 1, 1]}}),
        ("load", "WARN", {"busy": "the device is measured by somebody"}),
        ("hardware", "WARN", {"environment": {"emulator": "qemu-user"}}),
        ("numpy", "FAIL", {"numpy": {"unusable": "ImportError"}}),
        ("provisioned", "FAIL", {"missing_runtime": "it is gone"}),
        ("sftp", "UNKNOWN", {"sftp": None}),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    check: str, level: str, changed: dict[str, Any]
) -> None:
    finding = judged(**changed)[check]
    assert finding.level.name == level
    assert bool(finding.todo) is (level in ("WARN", "FAIL"))


def test_a_runtime_that_is_missing_matters_only_without_another() -> None:
    missing = {"name": "tflite-runtime", "version": None, "unusable": "ModuleNotFoundError"}
    usable = {"name": "ai-edge-litert", "version": "2.3.0", "unusable": None}
    assert judged(runtimes=[usable, missing])["runtime tflite-runtime"].level.name == "UNKNOWN"
    alone = judged(runtimes=[missing])["runtime tflite-runtime"]
    assert alone.level.name == "FAIL"
    assert "device provision" in alone.todo


def test_facts_that_are_not_there_are_unknown_and_no_crash() -> None:
    profile = config.load_profile("raspberry-pi-4")
    assert checks.judge({}, profile)
    assert checks.judge(dict.fromkeys(facts(), "nonsense") | {"runtimes": []}, profile)


@pytest.mark.parametrize(
    ("code", "failed", "passed"),
    [
        ("EP401", "reach", 0),
        ("EP402", "host key", 1),
        ("EP403", "login", 2),
        ("EP404", "python", 3),
    ],
)
def test_what_stopped_the_connection(code: str, failed: str, passed: int) -> None:
    found = checks.not_connected(EdgepackError(code, "it did not work", hint="try this"))
    assert found[-1].check == failed
    assert found[-1].todo == "try this"
    assert [each.level.name for each in found] == ["OK"] * passed + ["FAIL"]


def test_the_document_is_the_committed_schema() -> None:
    device = Device(name="pi", profile="raspberry-pi-4")
    good = doctor.Diagnosis(device=device, findings=tuple(judged().values()), facts=facts())
    error = EdgepackError("EP401", "gone", hint="look")
    bad = doctor.Diagnosis(device=device, findings=checks.not_connected(error))
    document = doctor.document([good, bad])
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["status"] == "fail"
    assert [each["status"] for each in document["devices"]] == ["ok", "fail"]
    assert json.loads(json.dumps(document)) == document


def test_an_error_nobody_foresaw_is_one_devices_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def unforeseen(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by what")

    monkeypatch.setattr(doctor, "Errand", unforeseen)
    found = doctor.diagnose_registered(Device(name="pi", profile="raspberry-pi-4"))
    (finding,) = found.findings
    assert found.level is doctor.Level.FAIL
    assert "EP502: Unexpected: ZeroDivisionError: by what" in finding.found
    assert finding.todo


def test_a_profile_that_is_gone_is_one_devices_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    registry = Registry(config.devices_file())
    registry.add(Device(name="gone", profile="vanished"))
    assert entry._run(["device", "doctor", "local", "gone", "--json"]) == 4
    local, gone = json.loads(capsys.readouterr().out)["devices"]
    assert "disk" in [row["check"] for row in local["checks"]]
    (row,) = gone["checks"]
    assert (row["check"], row["status"], row["found"][:5]) == ("profile", "fail", "EP103")
    assert "'gone'" in row["todo"]
    assert str(config.devices_file()) in row["todo"]


def test_provisioning_all_leaves_this_machine_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    tried: list[str] = []
    monkeypatch.setattr(
        device_command, "_provision_one", lambda _registry, known, *_: tried.append(known.name)
    )
    assert entry._run(["device", "provision", "*"]) == 2, "nothing but this machine"
    Registry(config.devices_file()).add(Device(name="pi", profile="raspberry-pi-4"))
    capsys.readouterr()
    assert entry._run(["device", "provision", "*"]) == 0
    assert tried == ["pi"]
    assert "local is left out" in capsys.readouterr().err
    assert entry._run(["device", "provision", "pi", "local"]) == 2
    assert "EP105" in capsys.readouterr().err

"""From a device's facts to findings: what is fine, what is doubtful, and what to do about it.

The facts come from a device and are not trusted to be complete: what is not there is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from edgepack.errors import EdgepackError
from edgepack.model import Device, Profile
from edgepack.transport.hostkeys import parse_key

_MB = 1_000_000
_SKEW_S = 2.0
_SLOW_LINK_S = 0.25
_LITTLE_DISK = 64 * _MB  # a package and its evaluation data hardly fit
_SOME_DISK = 512 * _MB  # nor does a provisioned runtime with its bytecode
_WARM_C, _HOT_C = 70.0, 85.0  # Pi and Jetson begin to throttle between 80 and 85 °C
_BUSY_SHARE = 0.5
_ABSURD = 1e18  # more than any byte count, clock or temperature


class Level(IntEnum):
    """How bad a finding is. UNKNOWN: the device does not tell."""

    UNKNOWN = 0
    OK = 1
    WARN = 2
    FAIL = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check: what was found, and what to do about it ("" when there is nothing to do)."""

    check: str
    level: Level
    found: str
    todo: str = ""


def connected(device: Device, round_trip_s: float, skew_s: float) -> tuple[Finding, ...]:
    """The findings of a connection that was made."""
    if device.transport == "local":
        login = [_ok("reach", "this machine")]
    else:
        keys = ", ".join(parse_key(line).fingerprint for line in device.host_keys)
        login = [
            _ok("reach", "answers"),
            _ok("host key", keys),
            _ok("login", "accepted"),
        ]
    return (*login, _round_trip(round_trip_s), _clock(skew_s))


def not_connected(error: EdgepackError) -> tuple[Finding, ...]:
    """The findings of a connection that was not made, up to what stopped it."""
    stages = {"EP401": "reach", "EP402": "host key", "EP403": "login", "EP404": "python"}
    order = ["reach", "host key", "login"]
    failed = stages.get(error.code, "agent")
    passed = order[: order.index(failed)] if failed in order else order
    return (*(_ok(check, "passed") for check in passed), stopped(failed, error))


def stopped(check: str, error: EdgepackError) -> Finding:
    """The finding of an error that ended the examination."""
    what = f"{error.code}: {error.what}" + (f" ({error.where})" if error.where else "")
    return _fail(check, what, error.hint)


def judge(facts: Mapping[str, Any], profile: Profile) -> tuple[Finding, ...]:
    """The findings that the device's own facts give."""
    environment = _table(facts, "environment")
    return (
        *_python(_table(facts, "python")),
        *_platform(_table(facts, "platform"), profile),
        *_disk(_table(facts, "disk")),
        *_heat(environment),
        *_governor(environment),
        *_power(environment),
        *_throttling(environment),
        *_load(environment, facts.get("busy")),
        *_emulator(environment),
        *_runtimes(facts),
        *_sftp(facts),
    )


def _table(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A number that can be shown and compared; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _ABSURD:
        return None
    return float(value)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, level=Level.OK, found=found)


def _warn(check: str, found: str, todo: str) -> Finding:
    return Finding(check=check, level=Level.WARN, found=found, todo=todo)


def _fail(check: str, found: str, todo: str) -> Finding:
    return Finding(check=check, level=Level.FAIL, found=found, todo=todo)


def _unknown(check: str, found: str) -> Finding:
    return Finding(check=check, level=Level.UNKNOWN, found=found)


def _round_trip(seconds: float) -> Finding:
    found = f"{seconds * 1000:.1f} ms"
    if seconds <= _SLOW_LINK_S:
        return _ok("round trip", found)
    return _warn("round trip", found, "Measuring is not affected; pushing takes its time.")


def _clock(skew_s: float) -> Finding:
    found = f"{skew_s:+.3f} s against this machine"
    if abs(skew_s) <= _SKEW_S:
        return _ok("clock", found)
    return _warn(
        "clock",
        found,
        "Set it (timedatectl set-ntp true). Latencies are not affected; dates on the device are.",
    )


def _python(python: Mapping[str, Any]) -> Iterator[Finding]:
    found = f"{python.get('implementation')} {python.get('version')} at {python.get('executable')}"
    if python.get("implementation") == "cpython":
        yield _ok("python", found)
    else:
        yield _fail("python", found, "Runtimes are built for CPython: device add … --python PATH.")


def _platform(platform: Mapping[str, Any], profile: Profile) -> Iterator[Finding]:
    kind, version = platform.get("libc"), platform.get("libc_version")
    if kind == "glibc":
        yield _ok("libc", f"glibc {version}")
    else:
        todo = "TFLite runtimes are published for glibc; use a glibc system or build your own."
        yield _warn("libc", f"{kind or 'unknown'} {version or ''}".strip(), todo)
    arch, machine = platform.get("arch"), platform.get("machine")
    found = str(arch) if arch == machine else f"{arch} (a 32-bit userland on {machine})"
    if arch in profile.arch:
        yield _ok("architecture", found)
    else:
        wanted = " or ".join(profile.arch)
        todo = "Name the right profile in devices.toml; budgets and pins follow it."
        yield _warn("architecture", f"{found}, and {profile.name} is {wanted}", todo)


def _disk(disk: Mapping[str, Any]) -> Iterator[Finding]:
    free, home = _number(disk.get("free_bytes")), disk.get("home")
    if not disk.get("writable"):
        todo = "Make it writable, or set EDGEPACK_AGENT_HOME on the device."
        yield _fail("disk", f"{home} cannot be written", todo)
    elif free is None:
        yield _unknown("disk", "free space unknown")
    else:
        found = f"{free / _MB:,.0f} MB free in {home}"
        todo = "Free some space, or point EDGEPACK_AGENT_HOME at a larger disk."
        if free < _LITTLE_DISK:
            yield _fail("disk", found, todo)
        else:
            yield _ok("disk", found) if free >= _SOME_DISK else _warn("disk", found, todo)


def _heat(environment: Mapping[str, Any]) -> Iterator[Finding]:
    zones = {**_table(environment, "temperature_c"), **_table(environment, "sensors_c")}
    known = {name: _number(value) for name, value in zones.items()}
    degrees = {name: value for name, value in known.items() if value is not None}
    if not degrees:
        yield _unknown("temperature", "no sensor can be read")
        return
    where = max(degrees, key=lambda name: degrees[name])
    found = f"{degrees[where]:.0f} °C ({where})"
    if degrees[where] < _WARM_C:
        yield _ok("temperature", found)
    else:
        todo = "Let it cool, or cool it better: it will throttle while measuring."
        level = Level.FAIL if degrees[where] >= _HOT_C else Level.WARN
        yield Finding(check="temperature", level=level, found=found, todo=todo)


def _governor(environment: Mapping[str, Any]) -> Iterator[Finding]:
    governor = environment.get("governor")
    if not governor:
        yield _unknown("governor", "no frequency scaling to be seen")
    elif governor == "performance":
        yield _ok("governor", "performance")
    else:
        yield _warn(
            "governor",
            str(governor),
            "For steadier numbers, on the device: echo performance | "
            "sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )


def _power(environment: Mapping[str, Any]) -> Iterator[Finding]:
    source = environment.get("power_source")
    if not source:
        yield _unknown("power", "no sensor to be seen: no energy per inference")
    elif "root" in str(source):
        allow = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
        yield _unknown("power", f"{source}; until the next start it may be given to all: {allow}")
    else:
        yield _ok("power", str(source))


def _throttling(environment: Mapping[str, Any]) -> Iterator[Finding]:
    throttled = environment.get("throttled")
    if not isinstance(throttled, dict):
        yield _unknown("throttling", "the board does not tell")
        return
    now, before = _list(throttled.get("now")), _list(throttled.get("occurred"))
    todo = "Use the board's own power supply and a heat sink, then restart it."
    if now:
        yield _fail("throttling", f"now: {', '.join(map(str, now))}", todo)
    elif before:
        yield _warn("throttling", f"since its start: {', '.join(map(str, before))}", todo)
    else:
        yield _ok("throttling", "none since its start")


def _load(environment: Mapping[str, Any], busy: object) -> Iterator[Finding]:
    if busy:
        todo = "Wait for it; runtimes were not tried, so as not to disturb it."
        yield _warn("load", str(busy), todo)
        return
    load = _number(next(iter(_list(environment.get("load"))), None))
    cores = _number(_table(environment, "cpu").get("cores"))
    if load is None or cores is None:
        yield _unknown("load", "unknown")
        return
    found = f"{load:.2f} on {cores:.0f} cores"
    if load <= _BUSY_SHARE * cores:
        yield _ok("load", found)
    else:
        yield _warn("load", found, "End what else runs there, or measurements are flagged busy.")


def _emulator(environment: Mapping[str, Any]) -> Iterator[Finding]:
    if environment.get("emulator"):
        todo = "Good for trying things; its latencies say nothing about a real board."
        yield _warn("hardware", f"emulated by {environment['emulator']}", todo)
    elif environment.get("virtualised"):
        yield _warn("hardware", "a virtual machine", "Expect noise from its neighbours.")


def _runtimes(facts: Mapping[str, Any]) -> Iterator[Finding]:
    provision = "edgepack device provision NAME brings a runtime and NumPy."
    if facts.get("missing_runtime"):
        yield _fail("provisioned", str(facts["missing_runtime"]), provision)
    numpy = _table(facts, "numpy")
    if facts.get("busy"):
        yield _unknown("numpy", str(numpy.get("version") or "not tried"))
    elif numpy.get("unusable") is None:
        yield _ok("numpy", str(numpy.get("version")))
    else:
        yield _fail("numpy", str(numpy.get("unusable")), provision)
    found = [each for each in _list(facts.get("runtimes")) if isinstance(each, dict)]
    usable = [each for each in found if each.get("unusable") is None]
    for each in found:
        name = f"runtime {each.get('name')}"
        if each in usable:
            yield _ok(name, str(each.get("version")))
        elif usable or facts.get("busy"):
            yield _unknown(name, str(each.get("unusable")))
        else:
            yield _fail(name, str(each.get("unusable")), provision)


def _sftp(facts: Mapping[str, Any]) -> Iterator[Finding]:
    if facts.get("sftp"):
        yield _ok("sftp", str(facts["sftp"]))
    else:
        yield _unknown("sftp", "no sftp-server to be seen; edgepack does without it")

"""Which wheels a device needs for a runtime, found with pip on this machine.

pip picks versions and wheels for the device's Python, C library and architecture. It evaluates
environment markers (`python_version < "3.11"`) for the Python that it runs on, though, not for
the device's; so every chosen wheel's requirements are read again with the device's markers, and
what is missing is asked for in the next round.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

import filelock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from edgepack import private
from edgepack.errors import EdgepackError

# What a runtime's own metadata leave out: tflite-runtime was built against NumPy 1.
ALSO: Mapping[str, tuple[str, ...]] = {"tflite-runtime": ("numpy<2",)}

_PIP_S = 900.0
_ROUNDS = 4
_PYTHONS = ((3, 9), (3, 10), (3, 11), (3, 12), (3, 13))
_GLIBCS = ((2, 17), (2, 27), (2, 28), (2, 31), (2, 34), (2, 36), (2, 39))
_OLD_NAMES = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OFFLINE = (
    "NewConnectionError",
    "Could not fetch URL",
    "ConnectTimeoutError",
    "Failed to establish",
)

_ARCH = re.compile(r"[A-Za-z0-9_]{1,32}")
_MOST_MINOR = 999  # of CPython and glibc: a device could say any number


@dataclass(frozen=True, kw_only=True)
class Target:
    """What wheels must fit: CPython's version, the architecture and glibc's version."""

    python: tuple[int, int]
    arch: str
    glibc: tuple[int, int]

    def __str__(self) -> str:
        python, glibc = _dotted(self.python), _dotted(self.glibc)
        return f"CPython {python} on {self.arch} with glibc {glibc}"

    @property
    def platforms(self) -> list[str]:
        """The platform tags that this system takes, the best first (PEP 600)."""
        tags = []
        for minor in range(self.glibc[1], 4, -1):
            tags.append(f"manylinux_2_{minor}_{self.arch}")
            if (2, minor) in _OLD_NAMES:
                tags.append(f"{_OLD_NAMES[2, minor]}_{self.arch}")
        return [*tags, f"linux_{self.arch}"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment markers of this system (PEP 508)."""
        version = _dotted(self.python)
        return {
            "python_version": version,
            "python_full_version": f"{version}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "platform_python_implementation": "CPython",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.arch,
            "os_name": "posix",
            "platform_release": "",
            "platform_version": "",
            "extra": "",
        }


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel on this machine's disk."""

    file: str
    sha256: str
    bytes: int
    path: str

    @property
    def distribution(self) -> str:
        """As "numpy==1.26.4"."""
        name, version, _, _ = parse_wheel_filename(self.file)
        return f"{name}=={version}"


class NoWheelError(Exception):
    """pip found no wheel that fits; the text says of what."""


def digest_of(wheels: Iterable[Wheel]) -> str:
    """The digest that names a set of wheels on a device: SHA-256 over "file sha256" lines."""
    lines = sorted(f"{wheel.file} {wheel.sha256}\n" for wheel in wheels)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def target_of(facts: Mapping[str, Any]) -> Target:
    """The target that a device's facts describe. EP405 when no wheel can be for it."""
    try:
        python, platform = facts["python"], facts["platform"]
        version = _version(python["version"])
        if python["implementation"] != "cpython" or python.get("abiflags"):
            raise _unfit(f"{python['implementation']}{python.get('abiflags', '')}", "CPython")
        if platform["libc"] != "glibc":
            raise _unfit(str(platform["libc"] or "an unknown C library"), "glibc")
        arch, glibc = str(platform["arch"]), _version(platform["libc_version"])
        if not _ARCH.fullmatch(arch) or max(version[1], glibc[1]) > _MOST_MINOR:
            raise ValueError(f"{arch:.40}, {_dotted(version):.40}, {_dotted(glibc):.40}")
        return Target(python=version, arch=arch, glibc=glibc)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EdgepackError(
            "EP501",
            f"The device does not say what wheels must fit ({error}).",
            hint="Use the agent that comes with this edgepack.",
        ) from error


def numpy_of(facts: Mapping[str, Any]) -> str | None:
    """The version of the device's own NumPy; None where it has none, or says nothing sensible."""
    found = facts.get("numpy")
    try:
        return str(Version(found["version"])) if isinstance(found, dict) else None
    except (KeyError, TypeError, InvalidVersion):
        return None


def resolve(
    requirement: str, target: Target, *, cache: Path, numpy: str | None = None
) -> tuple[Wheel, ...]:
    """The wheels of a runtime and all it needs. A pinned requirement is resolved once.

    numpy: the version that the device has itself; where the index has no wheel of NumPy, it
    has to do.

    Raises:
        NoWheelError: nothing fits.
        EdgepackError: EP405 when pip cannot be used or has no connection.
    """
    own = Requirement(requirement)
    asked = [requirement, *ALSO.get(canonicalize_name(own.name), ())]
    key = hashlib.sha256(f"{asked} {target} {numpy}".encode()).hexdigest()[:32]
    folder = cache / "wheels" / key
    private.folder(folder)
    with filelock.FileLock(f"{folder}.lock", timeout=_PIP_S, mode=private.FILE):
        return _resolve(requirement, asked, target, folder, numpy)


def _resolve(
    requirement: str, asked: list[str], target: Target, folder: Path, numpy: str | None
) -> tuple[Wheel, ...]:
    lock = folder / "lock.json"
    if "==" in requirement and lock.is_file():
        known = tuple(Wheel(**row) for row in json.loads(lock.read_text(encoding="utf-8")))
        if all(map(intact, known)):
            return known
    for old in folder.glob("*.whl"):
        old.unlink()
    try:
        _download(asked, target, folder)
    except NoWheelError:
        if numpy is None or not _fits(numpy, asked):
            raise
        _download_without_numpy(requirement, target, folder)
    wheels = tuple(wheel(file) for file in sorted(folder.glob("*.whl")))
    private.close(folder)  # pip copies a file with its mode
    private.write(lock, json.dumps([asdict(wheel) for wheel in wheels]).encode())
    return wheels


def _download(asked: list[str], target: Target, folder: Path) -> None:
    """pip's choice, and once more with what the device's own markers ask for in addition."""
    for _ in range(_ROUNDS):
        pip("download", "--dest", str(folder), *_for(target), *asked)
        missing = _missing(folder, target)
        if not missing:
            return
        asked = [*asked, *missing]
    raise NoWheelError(f"its requirements do not come to an end: {', '.join(asked)}")


def _missing(folder: Path, target: Target) -> list[str]:
    files = list(folder.glob("*.whl"))
    have = {parse_wheel_filename(file.name)[0] for file in files}
    needed = [each for file in files for each in requirements(file, target)]
    return sorted({str(each) for each in needed if canonicalize_name(each.name) not in have})


def _download_without_numpy(requirement: str, target: Target, folder: Path) -> None:
    pip("download", "--no-deps", "--dest", str(folder), *_for(target), requirement)
    direct = [each for file in folder.glob("*.whl") for each in requirements(file, target)]
    others = [str(each) for each in direct if canonicalize_name(each.name) != "numpy"]
    if others:
        pip("download", "--dest", str(folder), *_for(target), *others)


def _fits(numpy: str, asked: Sequence[str]) -> bool:
    limits = [Requirement(each) for each in asked]
    return all(each.specifier.contains(numpy) for each in limits if each.name == "numpy")


def requirements(wheel: Path, target: Target) -> list[Requirement]:
    """What the wheel needs on the target, markers applied and taken off."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    found = []
    for line in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(target.markers):
            requirement.marker = None
            found.append(requirement)
    return found


def what_would_fit(requirement: str, target: Target) -> list[str]:
    """Near targets and versions that pip does find a wheel for, as words for a person."""
    fits = []
    pythons = [
        _dotted(python)
        for python in _PYTHONS
        if python != target.python and _exists(requirement, target, python=python)
    ]
    if pythons:
        fits.append(f"CPython {', '.join(pythons)}")
    newer = (glibc for glibc in _GLIBCS if glibc > target.glibc)
    glibc = next((each for each in newer if _exists(requirement, target, glibc=each)), None)
    if glibc is not None:
        fits.append(f"glibc {_dotted(glibc)} or newer")
    name = Requirement(requirement).name
    if name != requirement and _exists(name, target):
        fits.append(f"another version of {name} (--runtime {name})")
    return fits


def _exists(requirement: str, target: Target, **other: tuple[int, int]) -> bool:
    """Whether there is a wheel of it alone, asked without downloading it."""
    near = Target(**{**asdict(target), **other})
    try:
        pip("install", "--dry-run", "--no-deps", "--target", "unused", *_for(near), requirement)
    except NoWheelError:
        return False
    return True


def _for(target: Target) -> list[str]:
    version = "".join(map(str, target.python))
    tags = [word for tag in target.platforms for word in ("--platform", tag)]
    abis = [word for abi in (f"cp{version}", "abi3", "none") for word in ("--abi", abi)]
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={_dotted(target.python)}",
        *abis,
        *tags,
    ]


def pip(*words: str) -> None:
    """Run this Python's pip. NoWheelError when nothing fits; EP405 when it fails otherwise."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=_PIP_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _pip_failed(str(error)) from error
    if done.returncode == 0:
        return
    errors = [line[7:] for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    if any(word in done.stderr for word in _OFFLINE):
        raise _pip_failed("the package index cannot be reached")
    if any("No matching distribution" in line or "ResolutionImpossible" in line for line in errors):
        raise NoWheelError(errors[-1])
    raise _pip_failed((errors or done.stderr.strip().splitlines() or ["no reason given"])[-1])


def _pip_failed(why: str) -> EdgepackError:
    return EdgepackError(
        "EP405",
        f"The wheels for the device cannot be fetched to this machine: {why}",
        hint="This machine (not the device) needs pip and a package index, or a folder of wheels "
        "named in PIP_FIND_LINKS.",
    )


def intact(wheel: Wheel) -> bool:
    """Whether the file is there and still the one that was chosen."""
    path = Path(wheel.path)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == wheel.sha256


def wheel(file: Path) -> Wheel:
    """The wheel in that file, with its digest as it is now."""
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Wheel(file=file.name, sha256=digest, bytes=len(content), path=str(file))


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _unfit(has: str, needs: str) -> EdgepackError:
    return EdgepackError(
        "EP405",
        f"The device has {has}; TFLite runtimes are published for {needs} alone.",
        hint=f"Use a Python on {needs} (device add … --python PATH), or install a runtime that "
        "you built yourself: edgepack uses what it finds.",
    )

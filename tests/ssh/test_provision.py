"""A board with a bare CPython gets a runtime over SSH, without pip, venv, root or network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import config
from edgepack.fleet import run_jobs
from edgepack.model import Job, Status
from edgepack.registry import Registry
from edgepack.wheels import Target, resolve

from .sshd import Sshd

EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
BARE = ("3.12", "3.10", "3.13")


def edgepack(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGEPACK, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=500
    )
    assert "Traceback" not in done.stderr
    return done


def bare_python() -> Path | None:
    """Another CPython than this one, without NumPy."""
    found = Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")).glob("versions/*/bin/python3")
    for python in sorted(found):
        version = ".".join(python.parents[1].name.split(".")[:2])
        has = subprocess.run([str(python), "-I", "-c", "import numpy"], capture_output=True)
        if version in BARE and has.returncode != 0:
            return python
    return None


def register(board: Sshd, **changed: object) -> None:
    Registry(config.devices_file()).add(replace(board.device(), **changed))


def findings(name: str = "board") -> tuple[int, dict[str, dict[str, str]]]:
    done = edgepack("device", "doctor", name, "--json")
    document = json.loads(done.stdout)
    return done.returncode, {row["check"]: row for row in document["devices"][0]["checks"]}


def test_provision_then_measure(
    board: Sshd,
    make_job: Callable[..., Job],
    require: Callable[[object, str], None],
    pypi: None,
) -> None:
    python = bare_python()
    require(python, "a CPython 3.10, 3.12 or 3.13 without NumPy")
    register(board, python=str(python))
    code, before = findings()
    assert code == 4, before
    assert before["numpy"]["status"] == "fail"
    assert "provision" in before["runtime ai-edge-litert"]["todo"]

    done = edgepack("device", "provision", "board", "--runtime", "ai-edge-litert==2.3.0")
    assert done.returncode == 0, done.stderr
    device = Registry(config.devices_file()).get("board")
    assert device.runtime == "ai-edge-litert==2.3.0"
    assert device.runtime_digest
    assert not list(board.home.glob("runtimes/*.part"))
    assert not list(board.home.glob("blobs/*"))

    code, after = findings()
    assert after["numpy"]["status"] == "ok"
    assert after["runtime ai-edge-litert"]["found"] == "2.3.0"
    report = next(iter(run_jobs([make_job(device)], emit=print)))
    assert report.failure is None
    for measurement in report.measurements:
        assert measurement.status is Status.OK
        assert measurement.runtime is not None
        assert measurement.runtime.version == "2.3.0"
        assert any("numpy" in name for name in measurement.environment["provisioned"])

    again = edgepack("device", "provision", "board", "--runtime", "ai-edge-litert==2.3.0")
    assert "there already" in again.stdout

    for file in board.home.glob("runtimes/*"):
        subprocess.run(["rm", "-r", str(file)], check=True)
    gone = next(iter(run_jobs([make_job(device)], emit=print)))
    assert gone.failure is not None
    assert gone.failure.code == "EP405"
    assert "device provision" in gone.failure.hint
    assert findings()[1]["provisioned"]["status"] == "fail"


def test_what_fits_nowhere_is_told_with_what_would(board: Sshd, pypi: None) -> None:
    register(board)
    done = edgepack("device", "provision", "board", "--runtime", "tflite-runtime==2.5.0")
    assert done.returncode == 4
    assert "EP405" in done.stderr
    assert "another version of tflite-runtime" in done.stderr
    assert Registry(config.devices_file()).get("board").runtime is None


@pytest.fixture(scope="session")
def pypi(require: Callable[[object, str], None]) -> None:
    """A package index that this machine's pip reaches."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", "ai-edge-litert"], capture_output=True
    )
    require(done.returncode == 0, "a package index")


@pytest.mark.parametrize(
    ("python", "arch", "glibc", "requirement", "brings"),
    [
        ((3, 11), "aarch64", (2, 36), "ai-edge-litert==2.3.0", "numpy-2"),
        ((3, 9), "aarch64", (2, 31), "ai-edge-litert==1.4.0", "numpy-2.0"),
        ((3, 8), "aarch64", (2, 31), "tflite-runtime==2.13.0", "numpy-1.24.4-cp38"),
        ((3, 11), "armv7l", (2, 36), "tflite-runtime==2.14.0", "tflite_runtime-2.14.0-cp311"),
    ],
)
def test_the_profiles_pins_have_wheels_for_their_boards(
    python: tuple[int, int],
    arch: str,
    glibc: tuple[int, int],
    requirement: str,
    brings: str,
    pypi: None,
    tmp_path: Path,
) -> None:
    target = Target(python=python, arch=arch, glibc=glibc)
    numpy = "1.24.2" if arch == "armv7l" else None  # Debian's own: the index has none
    found = resolve(requirement, target, cache=tmp_path, numpy=numpy)
    assert any(wheel.file.startswith(brings) for wheel in found)
    assert all(arch in wheel.file or "any" in wheel.file for wheel in found)
    pins = [
        f"{spec.name}=={spec.version}" for spec in config.load_profile("raspberry-pi-4").runtimes
    ]
    assert requirement in pins

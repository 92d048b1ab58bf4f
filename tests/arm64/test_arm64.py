"""An aarch64 device from `device add` to a report, on Debian's arm64 userland under qemu-user.

Its outputs are an aarch64 processor's; its times are the emulator's, and must never count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.arm64 import userland
from tests.ssh import package
from tests.ssh.sshd import fingerprint

# Some minutes of emulated work where the machine is busy.
pytestmark = [pytest.mark.arm64, pytest.mark.ssh, pytest.mark.timeout(1200)]

EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
SHORT = ("--max-seconds", "1", "--timeout", "400")


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]
) -> Iterator[userland.Userland]:
    lacking = userland.missing()
    require(not lacking, lacking)
    made = userland.Userland(tmp_path_factory.mktemp("arm64"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def _sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "edgepack-home"))
    monkeypatch.setenv("EDGEPACK_SSH_CONFIG", "/dev/null")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def edgepack(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGEPACK, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=550
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def checks(name: str) -> dict[str, dict[str, str]]:
    document = json.loads(edgepack("device", "doctor", name, "--json").stdout)
    return {row["check"]: row for row in document["devices"][0]["checks"]}


def test_an_arm64_board_is_provisioned_and_measured_and_its_times_never_count(
    board: userland.Userland, tmp_path: Path
) -> None:
    words = ["--host", userland.ADDRESS, "--port", str(board.port), "--user", "root"]
    words += ["--key", str(board.key)]
    words += ["--profile", "raspberry-pi-4", "--fingerprint", fingerprint(board.host_key)]
    added = edgepack("device", "add", "arm", *words)
    assert added.returncode == 0, added.stderr

    found = checks("arm")
    assert found["architecture"]["status"] == "ok", found
    assert found["architecture"]["found"] == "aarch64"
    assert "emulated by qemu-user" in found["hardware"]["found"]
    assert "provision" in found["runtime ai-edge-litert"]["todo"]

    brought = edgepack("device", "provision", "arm")
    assert brought.returncode == 0, brought.stderr
    assert checks("arm")["runtime ai-edge-litert"]["status"] == "ok"

    package.write(tmp_path / "pack")
    budget = tmp_path / "budget.toml"
    budget.write_text('[budget."*"]\nlatency_p90_ms = 100000.0\n')
    run = edgepack("bench", str(tmp_path / "pack"), "-d", "arm", "-d", "local", *SHORT, "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    by_device: dict[str, list[dict[str, Any]]] = {"arm": [], "local": []}
    for measurement in document["measurements"]:
        assert measurement["status"] == "ok", measurement
        by_device[measurement["device"]].append(measurement)
    for measurement in by_device["arm"]:
        assert "emulated" in measurement["flags"]
        assert measurement["environment"]["cpu"]["arch"] == "aarch64"
        assert measurement["runtime"]["name"] == "ai-edge-litert"
        assert measurement["parity"]["top1_agreement"] == 1.0  # the host's outputs
    assert all("emulated" not in m["flags"] for m in by_device["local"])

    rows = [row for row in document["comparison"]["rows"] if row["device"] == "arm"]
    assert rows
    assert all(row["speedup"] is None for row in rows)
    assert "arm" not in document["comparison"]["recommended"]

    gate = edgepack("gate", document["run_id"], "--budget", str(budget), "--json")
    verdict = json.loads(gate.stdout)["verdict"]
    statuses = {check["device"]: check["status"] for check in verdict["checks"]}
    assert statuses == {"arm": "unmeasured", "local": "pass"}
    assert gate.returncode == 4

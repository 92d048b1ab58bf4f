"""A board that lends its login key one command only: what docs/security.md recommends."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack import fleet
from edgepack.agent import bundle
from edgepack.cli import main as entry
from edgepack.model import Job, Status
from edgepack.package import signing
from edgepack.registry import Registry

from . import package
from .sshd import Sshd, keygen


@pytest.fixture
def strict(board: Sshd, tmp_path: Path) -> Sshd:
    """Its own allowed signers, an agent of its own, and a key that starts nothing but that."""
    release = keygen(tmp_path / "release")
    public = release.with_suffix(".pub").read_text().split()
    board.home.mkdir(mode=0o700)
    (board.home / "allowed_signers").write_text(f"release@example.org {public[0]} {public[1]}\n")
    agent = board.home / "agent.pyz"
    agent.write_bytes(bundle().data)
    have = '\\036{\\"event\\":\\"agent\\",\\"have\\":true}\\n'
    command = f"printf '{have}'; exec {sys.executable} -I {agent} serve"
    key = board.key.with_suffix(".pub").read_text()
    board.authorized.write_text(f'restrict,command="{command}" {key}')
    return board


def test_a_stolen_login_key_measures_nothing_unsigned(
    strict: Sshd, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    reports = fleet.run_jobs(
        [make_job(strict.device())], emit=lambda event: None, cancel=threading.Event()
    )
    report = next(iter(reports))
    assert report.failure is not None and report.failure.code == "EP209"
    assert {m.status for m in report.measurements} == {Status.FAILED}


def test_a_signed_package_is_measured_there(
    strict: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package.write(tmp_path / "pack")
    signing.sign(tmp_path / "pack", tmp_path / "release")
    devices = tmp_path / "devices.toml"
    monkeypatch.setenv("EDGEPACK_DEVICES", str(devices))
    signers = shutil.copyfile(strict.home / "allowed_signers", tmp_path / "signers")
    Registry(devices).add(strict.device())
    words = ["bench", str(tmp_path / "pack"), "-d", "board", "--max-seconds", "0.5", "--ci", "0.5"]
    assert entry._run([*words, "--allowed-signers", str(signers)]) == 0
    assert entry._run(words) == 4  # the device refuses what comes without its signature


def test_the_restricted_key_runs_no_other_command(strict: Sshd, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path / 'known'}"]
    words = ["-F", "none", "-p", str(strict.port), "-i", str(strict.key), "-o", "BatchMode=yes"]
    words += [word for option in options for word in ("-o", option)]
    subprocess.run(
        ["ssh", *words, "127.0.0.1", f"touch {marker}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert not marker.exists()

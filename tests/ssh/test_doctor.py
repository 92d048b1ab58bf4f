"""`edgepack device doctor` and `import` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema

from edgepack import config, doctor
from edgepack.registry import Registry

from .sshd import Sshd, free_port

SCHEMA = json.loads((Path(doctor.__file__).parent / "schema" / "doctor.schema.json").read_text())


def edgepack(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_good_board_and_one_that_is_off(board: Sshd) -> None:
    registry = Registry(config.devices_file())
    registry.add(board.device())
    good = edgepack("device", "doctor", "board", "--json")
    assert good.returncode == 0, good.stdout
    document = json.loads(good.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    rows = {row["check"]: row for row in document["devices"][0]["checks"]}
    assert rows["host key"]["found"] == board.fingerprint()
    assert rows["round trip"]["found"].endswith(" ms")
    assert rows["runtime ai-edge-litert"]["status"] == "ok"
    assert "-0.0" in rows["clock"]["found"] or "+0.0" in rows["clock"]["found"]

    registry.add(replace(board.device("gone"), port=free_port()))
    board.change_host_key()
    both = edgepack("device", "doctor", "board", "gone", "--json")
    assert both.returncode == 4
    changed, gone = json.loads(both.stdout)["devices"]
    assert changed["checks"][-1]["check"] == "host key"
    assert "device trust board" in changed["checks"][-1]["todo"]
    assert [row["check"] for row in gone["checks"]] == ["reach"]
    assert "FAIL" in edgepack("device", "doctor", "gone").stdout


def test_an_imported_board_is_trusted_and_examined(board: Sshd, tmp_path: Path) -> None:
    device = board.device()
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(
        f"[lab]\nboard ansible_host=127.0.0.1 ansible_port={board.port} "
        f"ansible_user={device.user} ansible_ssh_private_key_file={device.key} "
        f"ansible_python_interpreter={sys.executable}\n"
    )
    done = edgepack("device", "import", str(inventory), "--profile", "desktop")
    assert done.returncode == 0, done.stderr
    assert "edgepack device trust board" in done.stdout
    assert "EP402" in edgepack("device", "doctor", "tag:lab").stdout
    trust = edgepack("device", "trust", "board", "--fingerprint", board.fingerprint())
    assert trust.returncode == 0, trust.stderr
    assert edgepack("device", "doctor", "tag:lab").returncode == 0
    again = edgepack("device", "import", str(inventory), "--profile", "desktop")
    assert "stays as it is" in again.stderr

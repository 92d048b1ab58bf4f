"""`edgepack device …` without a board: what is written to devices.toml, and what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import config, devices, provision
from edgepack.cli import main as entry
from edgepack.model import Device
from edgepack.registry import Registry
from edgepack.transport.hostkeys import HostKey
from tests import documents

BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIEx0r0QHhBqN0tTIUbHCw0TFbhMBQCJX9gfmT5CYGkhs"
KEY = HostKey(type="ssh-ed25519", base64=BLOB)
BOARD = Device(name="board", profile="desktop", host="192.0.2.1", host_keys=("ssh-rsa AAAA",))


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "edgepack-home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "find_host_key", lambda *_: KEY)
    return Registry(config.devices_file())


def add(*more: str) -> int:
    words = ("device", "add", "board", "--profile", "desktop", "--fingerprint", KEY.fingerprint)
    return entry._run([*words, *more])


def test_files_are_kept_with_their_full_paths(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "board").touch()
    (tmp_path / "signers-3").touch()
    (tmp_path / "signers").symlink_to("signers-3")  # and signers-4 when a key is withdrawn
    assert add("--key", "keys/board", "--allowed-signers", "./signers") == 0
    device = registry.get("board")
    assert device.key == str(tmp_path / "keys" / "board")
    assert device.allowed_signers == str(tmp_path / "signers")


def test_the_home_folder_may_be_meant_by_a_tilde(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "board.pub").touch()  # the other half is in the ssh-agent
    (tmp_path / "signers").touch()
    assert add("--key", "~/board", "--allowed-signers", "~/signers") == 0
    device = registry.get("board")
    assert device.key == str(tmp_path / "board")
    assert device.allowed_signers == str(tmp_path / "signers")


@pytest.mark.parametrize("option", ["--key", "--allowed-signers"])
def test_a_file_that_is_not_there_is_refused(
    registry: Registry, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(option, "nosuch") == 2
    said = capsys.readouterr().err
    assert "EP105" in said
    assert str(tmp_path / "nosuch") in said
    assert len(registry.all()) == 1


def test_who_may_sign_is_shown(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.add(replace(BOARD, allowed_signers="/etc/signers"))
    assert entry._run(["device", "show", "board"]) == 0
    assert "allowed_signers  /etc/signers" in capsys.readouterr().out
    assert entry._run(["device", "show", "board", "--json"]) == 0
    assert documents.parsed(capsys.readouterr().out)["allowed_signers"] == "/etc/signers"
    assert entry._run(["device", "ls", "--json"]) == 0
    local, board = documents.parsed(capsys.readouterr().out)["devices"]
    assert (local["allowed_signers"], board["allowed_signers"]) == (None, "/etc/signers")


def test_trust_writes_the_host_key_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add(BOARD)

    def find(*_: object) -> HostKey:
        Registry(config.devices_file()).update("board", python="/opt/python3")
        return KEY

    monkeypatch.setattr(devices, "find_host_key", find)
    assert entry._run(["device", "trust", "board", "--fingerprint", KEY.fingerprint]) == 0
    assert registry.get("board") == replace(BOARD, python="/opt/python3", host_keys=(KEY.line,))


def test_provisioning_writes_the_runtime_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add(BOARD)

    def bring(device: Device, *_: object, **__: object) -> provision.Provisioned:
        Registry(config.devices_file()).update("board", host_keys=(KEY.line,))
        done = replace(device, runtime="tflite-runtime==2.14.0", runtime_digest="ab")
        return provision.Provisioned(device=done, packages=(), sent_bytes=0, fresh=True)

    monkeypatch.setattr(provision, "provision", bring)
    assert entry._run(["device", "provision", "board", "--ask-password"]) == 0
    assert registry.get("board") == replace(
        BOARD,
        host_keys=(KEY.line,),
        runtime="tflite-runtime==2.14.0",
        runtime_digest="ab",
    )


def test_an_unknown_name_among_them_removes_nothing(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.add(BOARD)
    registry.add(replace(BOARD, name="other"))
    assert entry._run(["device", "rm", "board", "nosuch", "other"]) == 2
    said = capsys.readouterr().err
    assert "EP101" in said
    assert "removed" not in said
    assert len(registry.all()) == 3
    assert entry._run(["device", "rm", "board", "other"]) == 0
    assert len(registry.all()) == 1

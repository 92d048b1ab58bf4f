"""Which keys are tried, in which order, as with ssh; and host keys that nobody can check."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa

from edgepack.model import Device
from edgepack.transport.ssh import link, prompts

from .sshd import Sshd, keygen
from .test_reach import alias, code_of, on_a_terminal, says

SK = "sk-ssh-ed25519@openssh.com AAAA"


@pytest.fixture
def config_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    """The board by an alias for which the configuration names these key files; nobody is asked."""

    def asked(question: str) -> str:
        raise prompts.NoTerminalError

    monkeypatch.setattr(prompts, "_ask", asked)

    def write(board: Sshd, *keys: Path, more: str = "") -> Device:
        file = tmp_path / "ssh_config"
        named = "".join(f" IdentityFile {key}\n" for key in keys)
        user = board.device().user
        host = more or "HostName 127.0.0.1"
        file.write_text(f"Host pi-in-*\n {host}\n Port {board.port}\n User {user}\n{named}")
        monkeypatch.setenv("EDGEPACK_SSH_CONFIG", str(file))
        return alias(board)

    return write


def encrypted(key: Path) -> Path:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return key


def unreadable(folder: Path) -> list[Path]:
    """No key at all, and one of a kind that paramiko does not know."""
    (folder / "garbage").write_text("no key")
    old = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (folder / "dsa").write_bytes(old)
    return [folder / "garbage", folder / "dsa"]


def test_a_key_that_cannot_be_used_is_passed_by(
    board: Sshd, config_of: Callable[..., Device], tmp_path: Path
) -> None:
    bad = [encrypted(keygen(tmp_path / "locked")), *unreadable(tmp_path)]
    assert says(config_of(board, *bad, board.key)) == "reached\n"
    text = code_of(config_of(board, *bad, keygen(tmp_path / "foreign")))
    assert "EP403" in text
    assert f"ssh-add {bad[0]}" in text
    assert all(str(key) in text for key in (*bad, "foreign"))


def test_the_registered_key_is_used_or_none(
    board: Sshd, config_of: Callable[..., Device], tmp_path: Path
) -> None:
    device = config_of(board, board.key)
    for key in [encrypted(keygen(tmp_path / "locked")), *unreadable(tmp_path)]:
        text = code_of(replace(device, key=str(key)))
        assert "EP403 The key cannot be used" in text


def test_a_passphrase_is_asked_for_when_nothing_else_got_in(
    board: Sshd, config_of: Callable[..., Device], tmp_path: Path
) -> None:
    locked = encrypted(keygen(tmp_path / "locked"))
    shown = on_a_terminal(config_of(board, locked, board.key), "open sesame")
    assert (shown.count("reached"), shown.count("Passphrase")) == (2, 0)
    with board.authorized.open("wb") as file:
        file.write(locked.with_suffix(".pub").read_bytes())
    shown = on_a_terminal(config_of(board, locked, board.key), "open sesame")
    assert (shown.count("reached"), shown.count("Passphrase")) == (2, 1)


@pytest.mark.parametrize("name", ["id_ed25519", "id_ecdsa", "id_rsa"])
def test_openssh_s_own_files_are_tried_when_no_key_is_named(
    board: Sshd, config_of: Callable[..., Device], tmp_path: Path, name: str
) -> None:
    own = tmp_path / "home" / ".ssh"
    own.mkdir(parents=True)
    shutil.copyfile(board.key, own / name)
    (own / name).chmod(0o600)
    assert says(config_of(board)) == "reached\n"
    assert "EP403" in code_of(config_of(board, keygen(tmp_path / "foreign")))


def test_a_pinned_key_that_nobody_can_check(board: Sshd) -> None:
    device = board.device()
    assert set(paramiko.Transport._key_info) >= set(link.algorithms(*link.KEY_TYPES))
    text = code_of(replace(device, host_keys=(SK,)))
    assert "EP402" in text
    assert "cannot be checked: sk-ssh-ed25519@openssh.com" in text
    assert "edgepack device trust board" in text
    assert says(replace(device, host_keys=(SK, *device.host_keys))) == "reached\n"
    assert "EP104" in code_of(replace(device, host_keys=("ssh-ed25519 \u00e4",)))


def test_a_host_name_that_none_can_have_is_unreachable(
    board: Sshd, config_of: Callable[..., Device]
) -> None:
    text = code_of(config_of(board, more="HostName pi..local"))
    assert "EP401" in text
    assert "'pi..local' is no name of a host" in text


def test_a_port_that_none_can_have_is_told(board: Sshd, config_of: Callable[..., Device]) -> None:
    assert "EP104" in code_of(config_of(board, more="Port 99999"))

"""`edgepack device …` and `run -d` as a user calls them, against a real sshd."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edgepack import config
from edgepack.registry import Registry

from .sshd import Sshd, free_port

EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]


def edgepack(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGEPACK, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done


def add(board: Sshd, *more: str, port: int | None = None) -> list[str]:
    device = board.device()
    return [
        *("device", "add", "board", "--host", "127.0.0.1", "--port", str(port or board.port)),
        *("--user", str(device.user), "--key", str(device.key), "--profile", "desktop"),
        *("--tag", "lab", "--python", sys.executable, *more),
    ]


def pinned() -> tuple[str, ...]:
    return Registry(config.devices_file()).get("board").host_keys


def registered() -> bool:
    return len(Registry(config.devices_file()).all()) > 1


def test_add_with_the_fingerprint_pins_the_key(board: Sshd) -> None:
    done = edgepack(*add(board, "--fingerprint", board.fingerprint()))
    assert done.returncode == 0, done.stderr
    assert pinned() == board.device().host_keys
    shown = json.loads(edgepack("device", "show", "board", "--json").stdout)
    assert shown["schema"] == "edgepack.device/1"
    assert shown["fingerprints"] == [board.fingerprint()]
    listed = json.loads(edgepack("device", "ls", "tag:lab", "--json").stdout)
    assert [row["name"] for row in listed["devices"]] == ["board"]
    assert edgepack("device", "rm", "board").returncode == 0
    assert not registered()


def test_any_of_the_boards_keys_may_be_vouched_for(board: Sshd, tmp_path: Path) -> None:
    from .sshd import fingerprint, keygen

    rsa = keygen(tmp_path / "rsa", "rsa")
    board.stop()
    board._extra = f"HostKey {rsa}"
    board.start()
    assert edgepack(*add(board, "--fingerprint", fingerprint(rsa))).returncode == 0
    assert pinned()[0].startswith("ssh-rsa ")


def test_without_a_terminal_and_fingerprint_nothing_is_pinned(board: Sshd) -> None:
    done = edgepack(*add(board))
    assert done.returncode == 4
    assert "EP402" in done.stderr
    assert board.fingerprint() in done.stderr
    assert not registered()


def test_a_wrong_fingerprint_pins_nothing(board: Sshd) -> None:
    wrong = "SHA256:" + "A" * 43
    done = edgepack(*add(board, "--fingerprint", wrong))
    assert done.returncode == 4
    assert "EP402" in done.stderr
    assert wrong in done.stderr
    assert board.fingerprint() in done.stderr
    assert not registered()


@pytest.mark.parametrize(("answer", "code", "there"), [("y\n", 0, True), ("n\n", 4, False)])
def test_on_a_terminal_a_person_decides(board: Sshd, answer: str, code: int, there: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*EDGEPACK, *add(board)], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.write(ours, answer.encode())
    _, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, err
    assert board.fingerprint().encode() in err
    assert registered() is there


def test_add_says_what_is_wrong(board: Sshd) -> None:
    assert "EP401" in edgepack(*add(board, port=free_port())).stderr
    words = add(board, "--fingerprint", board.fingerprint())
    words[words.index("desktop")] = "desktpo"
    done = edgepack(*words)
    assert done.returncode == 2
    assert "EP103" in done.stderr
    assert "'desktop'" in done.stderr
    assert not registered()


def test_trust_pins_a_changed_key_anew(board: Sshd) -> None:
    assert edgepack(*add(board, "--fingerprint", board.fingerprint())).returncode == 0
    old = board.fingerprint()
    board.change_host_key()
    refused = edgepack("device", "trust", "board", "--fingerprint", old)
    assert refused.returncode == 4
    assert "EP402" in refused.stderr
    done = edgepack("device", "trust", "board", "--fingerprint", board.fingerprint())
    assert done.returncode == 0, done.stderr
    assert old in done.stderr
    assert pinned() == board.device().host_keys


def test_no_command_needs_paramiko_to_show_help() -> None:
    code = "import sys, edgepack.cli.device; sys.exit('paramiko' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Ways in: OpenSSH's configuration, gateways, ProxyCommand, passphrases and passwords."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from edgepack import config, devices
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.registry import Registry
from edgepack.transport.ssh import SshTransport, route

from .sshd import Sshd, keygen


@pytest.fixture
def ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ssh" / "config"
    file.parent.mkdir()
    monkeypatch.setenv("EDGEPACK_SSH_CONFIG", str(file))
    return file


def says(device: Device) -> str:
    """What `echo` on the device prints, over the transport that a run uses."""
    transport = SshTransport(device, 10)
    session = transport.open("echo reached")
    try:
        text = session.receive(10).decode()
    finally:
        session.close()
    assert (transport.counters.connections, transport.counters.execs) == (1, 1)
    assert transport.counters.sent_bytes > 0
    return text


def code_of(device: Device) -> str:
    with pytest.raises(EdgepackError) as caught:
        says(device)
    assert caught.value.hint
    return f"{caught.value.code} {caught.value.what} {caught.value.hint}"


def alias(board: Sshd, **changed: object) -> Device:
    """The board by a name that only the OpenSSH configuration can resolve."""
    plain = replace(board.device(), host="pi-in-the-lab", port=None, user=None, key=None)
    return replace(plain, **changed)


def block(board: Sshd) -> str:
    device = board.device()
    return (
        f"Host pi-in-*\n HostName 127.0.0.1\n Port {board.port}\n User {device.user}\n"
        f" IdentityFile {device.key}\n"
    )


def test_the_users_configuration_says_where_and_how(board: Sshd, ssh_config: Path) -> None:
    ssh_config.write_text(block(board))
    assert says(alias(board)) == "reached\n"
    assert devices.scan_host_key(alias(board)).fingerprint == board.fingerprint()


def test_the_registry_goes_before_it(board: Sshd, ssh_config: Path) -> None:
    ssh_config.write_text(block(board).replace(str(board.port), "1").replace("User ", "User no"))
    own = board.device()
    assert "EP401" in code_of(alias(board))
    assert says(alias(board, port=own.port, user=own.user)) == "reached\n"


def test_an_included_file_counts(board: Sshd, ssh_config: Path) -> None:
    (ssh_config.parent / "lab.conf").write_text(block(board))
    ssh_config.write_text("Include *.conf\nUser nobody-else\n")
    assert says(alias(board)) == "reached\n"


def test_known_hosts_settings_do_not_weaken_pinning(board: Sshd, ssh_config: Path) -> None:
    ssh_config.write_text("StrictHostKeyChecking no\n" + block(board))
    assert "EP402" in code_of(alias(board, host_keys=()))


def test_a_broken_configuration_is_named(board: Sshd, ssh_config: Path) -> None:
    ssh_config.write_text("Port not-a-number\n")
    assert "EP104" in code_of(alias(board))


def test_a_proxy_command_carries_the_connection(board: Sshd, ssh_config: Path) -> None:
    code = "import socket,sys,threading,os\n" + PIPE.format(port=board.port)
    script = ssh_config.parent / "pipe.py"
    script.write_text(code)
    ssh_config.write_text(
        block(board).replace("127.0.0.1", "192.0.2.1")
        + f" ProxyCommand {sys.executable} {script} %h %p\n"
    )
    assert says(alias(board)) == "reached\n"
    assert script.with_suffix(".args").read_text() == f"192.0.2.1 {board.port}"


PIPE = """
open(sys.argv[0][:-3] + ".args", "w").write(" ".join(sys.argv[1:]))
sock = socket.create_connection(("127.0.0.1", {port}))
def forward():
    while data := os.read(0, 65536):
        sock.sendall(data)
    sock.shutdown(1)
threading.Thread(target=forward, daemon=True).start()
while data := sock.recv(65536):
    os.write(1, data)
"""


# ---------------------------------------------------------------- gateways


@pytest.fixture
def gateway(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd("gateway")


def test_a_registered_gateway_leads_to_the_board(board: Sshd, gateway: Sshd) -> None:
    Registry(config.devices_file()).add(gateway.device("gate"))
    assert says(replace(board.device(), jump="gate")) == "reached\n"
    assert devices.scan_host_key(replace(board.device(), jump="gate")).type == "ssh-ed25519"


def test_proxy_jump_of_the_configuration_is_a_registered_device(
    board: Sshd, gateway: Sshd, ssh_config: Path
) -> None:
    ssh_config.write_text(block(board) + f" ProxyJump 127.0.0.1:{gateway.port}\n")
    text = code_of(alias(board))
    assert "EP101" in text
    assert f"device add NAME --host 127.0.0.1 --port {gateway.port}" in text
    Registry(config.devices_file()).add(gateway.device("gate"))
    assert says(alias(board)) == "reached\n"
    assert says(alias(board, jump="none")) == "reached\n"


def test_the_gateways_host_key_is_pinned_as_well(board: Sshd, gateway: Sshd) -> None:
    registry = Registry(config.devices_file())
    registry.add(gateway.device("gate"))
    gateway.change_host_key()
    text = code_of(replace(board.device(), jump="gate"))
    assert "EP402" in text
    assert "trust gate" in text


def test_a_circle_of_gateways_is_refused(board: Sshd, gateway: Sshd) -> None:
    registry = Registry(config.devices_file())
    registry.add(replace(gateway.device("gate"), jump="other"))
    registry.add(replace(gateway.device("other"), jump="gate"))
    assert "gate -> other -> gate" in code_of(replace(board.device(), jump="gate"))


def test_a_board_behind_the_gateway_that_is_off(board: Sshd, gateway: Sshd) -> None:
    Registry(config.devices_file()).add(gateway.device("gate"))
    board.stop()
    text = code_of(replace(board.device(), jump="gate"))
    assert "EP401" in text
    assert "through 'gate'" in text


def test_at_most_eight_sessions_at_once_through_one_gateway(board: Sshd, gateway: Sshd) -> None:
    Registry(config.devices_file()).add(gateway.device("gate"))
    device = replace(board.device(), jump="gate")
    transports = [SshTransport(device, 10) for _ in range(route.GATEWAY_SESSIONS)]
    sessions = [transport.open("cat") for transport in transports]
    ninth: list[str] = []
    thread = threading.Thread(target=lambda: ninth.append(says(device)))
    thread.start()
    thread.join(2)
    assert ninth == []
    for session in sessions:
        session.close()
    thread.join(30)
    assert ninth == ["reached\n"]


# ---------------------------------------------------------------- secrets


ASK = """
import sys, json
from edgepack.model import Device
from edgepack.transport.ssh import SshTransport
device = Device(**{**json.loads(sys.argv[1])})
for _ in range(2):
    session = SshTransport(device, 10).open("echo reached")
    print(session.receive(10).decode(), end="")
    session.close()
"""


def on_a_terminal(device: Device, typed: str) -> str:
    """What the program above prints on a terminal where `typed` is typed at each question."""
    import json
    from dataclasses import asdict

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASK, json.dumps(asdict(device))])
    shown = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if data.rstrip().endswith(b":"):
            os.write(terminal, typed.encode() + b"\n")
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()


def test_the_passphrase_is_asked_once(board: Sshd) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(board.key)]
    subprocess.run(command, check=True, capture_output=True)
    shown = on_a_terminal(board.device(), "open sesame")
    assert shown.count("Passphrase of") == 1
    assert shown.count("reached") == 2
    assert "open sesame" not in shown
    assert "the passphrase is wrong" in on_a_terminal(board.device(), "wrong")


@pytest.fixture
def password_server(tmp_path: Path) -> Iterator[Device]:
    """An SSH server that takes one password; sshd would need an account of its own for it."""
    key = paramiko.PKey.from_path(keygen(tmp_path / "server"))
    listener = socket.create_server(("127.0.0.1", 0))

    class Server(paramiko.ServerInterface):
        def get_allowed_auths(self, username: str) -> str:
            return "password"

        def check_auth_password(self, username: str, password: str) -> int:
            right = password == "the right one"
            return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

        def check_channel_request(self, kind: str, chanid: int) -> int:
            return paramiko.OPEN_SUCCEEDED

        def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
            def answer() -> None:
                channel.sendall(b"reached\n")
                channel.send_exit_status(0)
                channel.close()

            threading.Timer(0.1, answer).start()
            return True

    def serve() -> None:
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(key)
            transport.start_server(server=Server())

    threading.Thread(target=serve, daemon=True).start()
    yield Device(
        name="board",
        profile="desktop",
        host="127.0.0.1",
        port=listener.getsockname()[1],
        user="pi",
        host_keys=(f"{key.get_name()} {key.get_base64()}",),
    )
    listener.close()


def test_a_password_is_asked_for_each_login_and_kept_nowhere(
    password_server: Device, tmp_path: Path
) -> None:
    device = replace(password_server, ask_password=True)
    shown = on_a_terminal(device, "the right one")
    assert shown.count("Password of pi@127.0.0.1 (board): ") == 2
    assert shown.count("reached") == 2
    assert "the right one" not in shown
    assert "EP403" in on_a_terminal(device, "a wrong one")
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"the right one" in file.read_bytes() for file in kept)


def test_no_password_is_asked_for_unless_told_to(password_server: Device) -> None:
    assert "--ask-password" in code_of(password_server)

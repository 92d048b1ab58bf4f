"""A real OpenSSH sshd on 127.0.0.1 with throw-away keys; nobody's ~/.ssh is read."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from edgepack.model import Device
from tests.leash import Leash

SSHD = Path("/usr/sbin/sshd")  # sshd runs itself again and wants an absolute path

# SHLVL: a bash that sshd starts reads ~/.bashrc unless it seems to run inside another shell; what
# the developer has in there can take longer than all the rest.
_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {host_key}
PidFile none
AuthorizedKeysFile {authorized}
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
UsePAM no
UseDNS no
LogLevel ERROR
MaxStartups 100
SetEnv EDGEPACK_AGENT_HOME={home} SHLVL=1 {environment}
{extra}
"""


def keygen(path: Path, kind: str = "ed25519") -> Path:
    """A new key pair without a passphrase; the private key's path."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "edgepack test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def free_port() -> int:
    """A high port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sshd:
    """One sshd: a "board" whose agent lives in `home`."""

    def __init__(
        self,
        folder: Path,
        extra: str = "",
        *,
        address: str = "127.0.0.1",
        within: tuple[str, ...] = (),
        environment: str = "",
    ) -> None:
        """within: words before the command, to run it in another network namespace.
        environment: further NAME=VALUE of its sessions."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.home = folder / "agent-home"
        self.port = free_port()
        self.key = keygen(folder / "login")
        self.host_key = keygen(folder / "host")
        self.authorized = folder / "authorized_keys"
        self.authorized.write_bytes(self.key.with_suffix(".pub").read_bytes())
        self.address = address
        self._within = within
        self._extra = extra
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it and wait until it answers."""
        config = self.folder / "sshd_config"
        config.write_text(
            _CONFIG.format(
                port=self.port,
                address=self.address,
                host_key=self.host_key,
                authorized=self.authorized,
                home=self.home,
                extra=self._extra,
                environment=self._environment,
            )
        )
        log = (self.folder / "sshd.log").open("ab")
        self._process = subprocess.Popen(
            [*self._within, str(SSHD), "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self._leash = Leash(f"kill {self._process.pid}")
        end = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection((self.address, self.port), 1) as sock:
                    assert sock.recv(64).startswith(b"SSH-2.0")
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "sshd.log").read_text()
                assert time.monotonic() < end, "sshd does not answer"
                time.sleep(0.02)

    def stop(self) -> None:
        """End it and its sessions."""
        if self._process is not None:
            self._leash.release()
            self.cut()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def change_host_key(self) -> None:
        """What a board set up anew looks like."""
        self.stop()
        self.host_key = keygen(self.folder / "host-new")
        self.start()

    def cut(self) -> None:
        """SIGKILL every process that serves a connection, as a lost link would look like."""
        assert self._process is not None
        for pid in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> dict[int, list[str]]:
        """The agent's processes on this board, workers included: their commands by pid.

        Known by their environment; what the login shell's own files start is none of them.
        """
        mark = f"EDGEPACK_AGENT_HOME={self.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                command = (folder / "cmdline").read_text(errors="replace").split("\0")
                if mark in (folder / "environ").read_bytes().split(b"\0") and "-I" in command:
                    found[int(folder.name)] = command
        return found

    def agents(self) -> list[int]:
        """Process ids of the board's agents, not of their workers."""
        return [pid for pid, command in self.processes().items() if "worker" not in command]

    def free(self, patience_s: float = 20.0) -> bool:
        """Whether no process of the agent remains, once its patience is over."""
        end = time.monotonic() + patience_s
        while self.processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def device(self, name: str = "board", *, pinned: bool = True) -> Device:
        """The board as a registered device, reached with this interpreter as its Python."""
        public = self.host_key.with_suffix(".pub").read_text().split()
        return Device(
            name=name,
            profile="desktop",
            host=self.address,
            port=self.port,
            user=getpass.getuser(),
            key=str(self.key),
            host_keys=(f"{public[0]} {public[1]}",) if pinned else (),
            python=sys.executable,
        )

    def fingerprint(self) -> str:
        """The host key's, as ssh-keygen says it."""
        return fingerprint(self.host_key)


def fingerprint(key: Path) -> str:
    """What `ssh-keygen -l` prints for a key."""
    done = subprocess.run(
        ["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[1]


def _children(parent: int) -> list[int]:
    """The sshd processes below `parent`: sessions, and their unprivileged halves."""
    tree: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rsplit(")", 1)
        except OSError:
            continue  # it ended meanwhile
        if "(sshd" in name:
            tree.setdefault(int(fields.split()[1]), []).append(int(stat.parent.name))
    found = list(tree.get(parent, []))
    for child in found:
        found += tree.get(child, [])
    return found

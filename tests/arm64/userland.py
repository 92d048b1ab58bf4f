"""A stand-in for an aarch64 board: Debian's own arm64 userland, emulated, behind a real sshd.

Needs root, mmdebstrap, qemu-user-static and a Debian mirror. The packages are only unpacked, not
set up, which takes half a minute instead of four. The sshd runs with mounts and process numbers of
its own, so that nothing of it is left when it ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.ssh.sshd import free_port, keygen

TOOLS = ("mmdebstrap", "qemu-aarch64-static", "unshare")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ADDRESS = "127.0.0.1"
_PACKAGES = "python3,libstdc++6,openssh-server,dash,bash,coreutils,libc-bin,base-files"
_CONFIG = f"""\
ListenAddress {ADDRESS}
Port {{port}}
HostKey /etc/ssh/host
PidFile none
AuthorizedKeysFile /etc/ssh/authorized
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
LogLevel ERROR
"""


def missing() -> str:
    """What the userland needs and is not there; "" when all is."""
    if os.geteuid() != 0:
        return "root (an emulated arm64 userland is a chroot)"
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        return f"{', '.join(lacking)} (apt-get install mmdebstrap qemu-user-static)"
    return "" if _registered() else "a kernel that hands aarch64 programs to qemu (binfmt_misc)"


def _registered() -> bool:
    """Whether the kernel runs aarch64 programs with qemu, which is asked for where it does not."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False)
    rule = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
    if not (BINFMT / "qemu-aarch64").exists() and rule.exists():
        try:
            (BINFMT / "register").write_bytes(rule.read_bytes())
        except OSError:
            return False
    return (BINFMT / "qemu-aarch64").exists()


class Userland:
    """The board: made, started, stopped."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "arm64"
        self.port = free_port()
        self.key = keygen(folder / "login")
        self._process: subprocess.Popen[bytes] | None = None
        command = ["mmdebstrap", "--mode=root", "--variant=extract", "--architectures=arm64"]
        command += [f"--include={_PACKAGES}", "--quiet", "bookworm", str(self.root)]
        subprocess.run(command, check=True)
        etc = self.root / "etc"
        (etc / "passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
        (etc / "ssh" / "config").write_text(_CONFIG.format(port=self.port))
        (etc / "ssh" / "authorized").write_bytes(self.key.with_suffix(".pub").read_bytes())
        self.host_key = keygen(etc / "ssh" / "host")
        (self.root / "run" / "sshd").mkdir(exist_ok=True)

    def start(self) -> None:
        """Run its sshd and wait until it answers; emulated, that takes seconds."""
        inside = f"mount -t proc proc {self.root}/proc && mount --bind /dev {self.root}/dev && "
        inside += f"exec chroot {self.root} /usr/sbin/sshd -D -e -f /etc/ssh/config"
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--kill-child"]
        self._process = subprocess.Popen([*alone, "--fork", "sh", "-c", inside])
        end = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection((ADDRESS, self.port), 5) as sock:
                    assert sock.recv(64).startswith(b"SSH-2.0")
                return
            except OSError:
                assert self._process.poll() is None, "the arm64 sshd has ended"
                assert time.monotonic() < end, "the arm64 sshd does not answer"
                time.sleep(0.1)

    def stop(self) -> None:
        """End everything that runs in it; its mounts go with the processes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

"""Links and boards for the benchmarks: a delayed link into a network namespace, a real sshd.

Needs root, iproute2, OpenSSH's sshd and a C compiler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ssh.sshd import Sshd

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")  # a RAM disk: the disk is no part of the comparison
_SFTP = "Subsystem sftp internal-sftp"  # what scp talks to


def shell(line: str) -> None:
    """Run a line of shell; CalledProcessError when it fails."""
    subprocess.run(line, shell=True, check=True)


class Link:
    """A link to a network namespace of its own, `delay_us` each way."""

    near = "epdl0"
    address = "10.78.0.2"
    namespace = "epdl"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def toggle(self) -> None:
        """Cut it, or mend it."""
        os.kill(self._process.pid, signal.SIGUSR1)

    def bytes(self) -> int:
        """What went through it so far, both ways, headers included."""
        folder = Path("/sys/class/net") / self.near / "statistics"
        return sum(int((folder / f"{way}_bytes").read_text()) for way in ("rx", "tx"))


@contextmanager
def delayed(round_trip_ms: float) -> Iterator[Link]:
    """A link with that round trip, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="edgepack-lab-") as folder:
        program = Path(folder) / "delay_line"
        shell(f"cc -O2 -o {program} {HERE / 'delay_line.c'}")
        shell(f"ip netns add {Link.namespace}")
        try:
            command = [program, str(round(round_trip_ms * 500)), Link.namespace, Link.near, "epdl1"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            inside = f"ip -n {Link.namespace}"
            shell(
                f"ip addr add 10.78.0.1/30 dev {Link.near};"
                f"ip link set {Link.near} up txqueuelen 20000;"
                f"{inside} addr add {Link.address}/30 dev epdl1;"
                f"{inside} link set epdl1 up txqueuelen 20000; {inside} link set lo up"
            )
            yield Link(process)
            process.terminate()
            process.wait()
        finally:
            shell(f"ip netns del {Link.namespace}")


@contextmanager
def board(link: Link | None) -> Iterator[Sshd]:
    """A board behind the link, or on this host's loopback; its files are in memory."""
    Path("/run/sshd").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgepack-board-", dir=MEMORY) as folder:
        if link is None:
            sshd = Sshd(Path(folder), _SFTP)
        else:
            within = ("ip", "netns", "exec", link.namespace)
            sshd = Sshd(Path(folder), _SFTP, address=link.address, within=within)
        sshd.start()
        try:
            yield sshd
        finally:
            sshd.stop()

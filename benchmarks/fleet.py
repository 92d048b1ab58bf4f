"""A whole run over many real sshd devices whose job only waits 5 s.

    PYTHONPATH=. python benchmarks/fleet.py [--devices 200] [--width 32] [--dead 0.05]

Needs root and iproute2. Every device is a network namespace with an address, a host key and an
sshd of its own; its home is a folder in memory. The job is a scripted agent that takes the
protocol's steps, waits and reports one sample, so that what is timed is edgepack's own part:
connecting, logging in, starting, following and collecting. Of `--dead` devices the sshd is
stopped (SIGSTOP), which takes connections and never answers. Prints the time of the whole run
against the bar (5 s + 0.06 s a device), when the last healthy device had finished, the host's
largest memory, and connections and execs a device; and in turns with further runs the same wait by
`ssh` processes and by asyncssh (extra `bench`) at the same width. `stolen`: the share of the
machine's time that other virtual machines had meanwhile; devices run on the same cores.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from benchmarks import fleet_peers, netlab
from edgepack import agent
from edgepack.agent import AgentBundle
from edgepack.fleet import DeviceReport, run_jobs
from edgepack.model import (
    Blob,
    Device,
    Job,
    JobSettings,
    Profile,
    Recipe,
    RuntimeSpec,
    Signature,
    Variant,
)
from tests.ssh.sshd import SSHD, keygen

WAIT_S = 5.0
BRIDGE = "epfleet"

AGENT = f"""
import base64, hashlib, json, os, sys, time, zlib
def say(event, **fields):
    os.write(1, (chr(30) + json.dumps(dict(fields, event=event)) + chr(10)).encode())
digest = hashlib.sha256(open(sys.argv[0], "rb").read()).hexdigest()
say("hello", protocol=1, agent="0", digest=digest, python="3", arch="x", pid=1, time=0.0)
job = json.loads(sys.stdin.buffer.readline())
say("lease", token=1)
say("need", blobs=[], free_bytes=1)
end = time.monotonic() + {WAIT_S}
while time.monotonic() < end:
    time.sleep(min(2.0, max(0.0, end - time.monotonic())))
    say("alive")
ns = base64.b64encode(zlib.compress((1000).to_bytes(8, "little"))).decode()
for variant in job["variants"]:
    say("samples", variant=variant["name"], round=0, start_ns=0, ns=ns)
    say("result", variant=variant["name"], status="ok", rounds=1)
say("done", seconds={WAIT_S}, cancelled=False)
"""

# SHLVL: see tests/ssh/sshd.py.
_CONFIG = """\
Port 22
ListenAddress {address}
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {authorized}
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
LogLevel ERROR
SetEnv EDGEPACK_AGENT_HOME={folder}/home SHLVL=1
"""


def address(number: int) -> str:
    """10.79.x.y of a device."""
    return f"10.79.{number // 250}.{number % 250 + 2}"


@contextmanager
def fleet(count: int, root: Path) -> Iterator[list[Device]]:
    """That many devices behind one bridge, while the block runs."""
    Path("/run/sshd").mkdir(exist_ok=True)
    login = keygen(root / "login")
    netlab.shell(
        f"ip link add {BRIDGE} type bridge && ip addr add 10.79.255.1/16 dev {BRIDGE} && "
        f"ip link set {BRIDGE} up && sysctl -qw net.ipv4.neigh.default.gc_thresh3=8192 "
        "net.ipv4.neigh.default.gc_thresh2=4096 net.ipv4.neigh.default.gc_thresh1=2048"
    )
    try:
        yield [_device(number, root / str(number), login) for number in range(count)]
    finally:
        for number in range(count):
            name = f"epf{number}"
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in pids.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], check=False)
        netlab.shell(f"ip link del {BRIDGE}")


def _device(number: int, folder: Path, login: Path) -> Device:
    folder.mkdir()
    host = keygen(folder / "host")
    authorized = login.with_suffix(".pub")
    config = _CONFIG.format(address=address(number), folder=folder, authorized=authorized)
    (folder / "config").write_text(config)
    name, near = f"epf{number}", f"epfn{number}"
    netlab.shell(
        f"ip netns add {name} && ip link add {near} type veth peer name far netns {name} && "
        f"ip link set {near} master {BRIDGE} up && ip -n {name} link set lo up && "
        f"ip -n {name} addr add {address(number)}/16 dev far && ip -n {name} link set far up && "
        f"ip netns exec {name} {SSHD} -f {folder}/config"
    )
    public = host.with_suffix(".pub").read_text().split()
    return Device(
        name=f"device{number}",
        profile="p",
        host=address(number),
        user="root",
        key=str(login),
        host_keys=(f"{public[0]} {public[1]}",),
        python="/usr/bin/python3",
    )


@cache
def waiting_agent() -> AgentBundle:
    """The scripted agent as a zipapp; one, as the date in it would make the next one another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", AGENT)
    data = buffer.getvalue()
    return AgentBundle(sha256=hashlib.sha256(data).hexdigest(), data=data)


def job(device: Device) -> Job:
    """One variant that needs no bytes."""
    sha = "0" * 64
    variant = Variant(
        name="float",
        recipe=Recipe(name="float"),
        sha256=sha,
        bytes=1,
        gzip_bytes=1,
        signature=Signature(inputs=(), outputs=()),
    )
    profile = Profile(name="p", title="", arch=(), runtimes=(RuntimeSpec(name="none"),))
    return Job(
        job_id="benchmark",
        device=device,
        profile=profile,
        variants=(variant,),
        data=None,
        blobs=(Blob(sha256=sha, bytes=1, path="/nowhere"),),
        settings=JobSettings(),
    )


def stop_some(devices: list[Device], share: float, root: Path) -> set[str]:
    """SIGSTOP the sshd of that share of the devices; their names."""
    dead = devices[:: round(1 / share)] if share else []
    for device in dead:
        folder = root / device.name.removeprefix("device")
        os.kill(int((folder / "pid").read_text()), signal.SIGSTOP)
    return {device.name for device in dead}


def stolen() -> tuple[int, int]:
    """Clock ticks of all cores so far: stolen, and in all."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return ticks[7], sum(ticks)


def timed(devices: list[Device], width: int) -> dict[str, tuple[float, DeviceReport]]:
    """When each device had finished, in seconds from the start, and its report."""
    began = time.monotonic()
    reports = run_jobs([job(device) for device in devices], emit=lambda event: None, width=width)
    return {report.device: (time.monotonic() - began, report) for report in reports}


def main() -> None:
    """Set up the fleet, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dead", type=float, default=0.05)
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cleaning up is done
    agent.bundle = waiting_agent  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="edgepack-fleet-", dir=netlab.MEMORY) as folder:
        os.environ["EDGEPACK_HOME"] = f"{folder}/host-home"
        root = Path(folder)
        with fleet(wanted.devices, root) as devices:
            _run("first run", devices, wanted.width, set())
            ways = {"edgepack": lambda: _run("next run", devices, wanted.width, set())}
            payload = waiting_agent().data
            ways |= fleet_peers.ways(devices, payload, WAIT_S, wanted.width)
            print(fleet_peers.table(ways, wanted.turns), flush=True)
            dead = stop_some(devices, wanted.dead, root)
            _run(f"{len(dead)} dead", devices, wanted.width, dead)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"host's largest memory {largest:.0f} MB, bar 300")


def _run(title: str, devices: list[Device], width: int, dead: set[str]) -> None:
    before = stolen()
    found = timed(devices, width)
    lost, all_of = (after - then for after, then in zip(stolen(), before, strict=True))
    _report(f"{title} ({lost / all_of:.0%} stolen)", found, dead)


def _report(title: str, found: dict[str, tuple[float, DeviceReport]], dead: set[str]) -> None:
    """Print a run; the end of the benchmark where a device failed that was not stopped."""
    healthy = [value for name, value in found.items() if name not in dead]
    failed = sum(report.failure is not None for _, report in healthy)
    times = [seconds for seconds, _ in healthy]
    for _, report in healthy:
        if report.failure is not None:
            print(f"  {report.device}: {report.failure.code} {report.failure.what}")
    costs = [report.transfer for _, report in healthy]
    bar = WAIT_S + 0.06 * len(found)
    print(
        f"{title}: {len(found)} devices, healthy ones done after {max(times):.1f} s "
        f"(median {statistics.median(times):.1f}, bar {bar:.1f}), all after "
        f"{max(seconds for seconds, _ in found.values()):.1f} s; {failed} failed; at most "
        f"{max(c.connections for c in costs)} connections and {max(c.execs for c in costs)} execs",
        flush=True,
    )
    if failed:
        raise RuntimeError(f"{failed} devices failed: no figure of a fleet")


if __name__ == "__main__":
    main()

"""The same wait on the same devices by other ways: OpenSSH's ssh as processes, and asyncssh.

Each logs in to every device once, sends the same bytes, starts the same Python, waits as long.
As in edgepack, `width` bounds those that are connecting, not those that wait. Unlike edgepack,
neither follows the job, checks what came back, or ends what a lost link leaves behind.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from edgepack.model import Device

PROGRAM = "import sys, time; print(flush=True); sys.stdin.buffer.read(); time.sleep({wait_s})"
_NO_CHECKS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")

Peer = Callable[[Sequence[Device], bytes, float, int], None]


def _command(device: Device, wait_s: float) -> str:
    return f"exec {device.python} -I -c {shlex.quote(PROGRAM.format(wait_s=wait_s))}"


def openssh(devices: Sequence[Device], payload: bytes, wait_s: float, width: int) -> None:
    """A process of `ssh` for each device; AssertionError when one fails."""
    turnstile = BoundedSemaphore(width)

    def one(device: Device) -> None:
        options = [word for option in _NO_CHECKS for word in ("-o", option)]
        where = ["-i", str(device.key), f"{device.user}@{device.host}"]
        words = ["ssh", "-F", "none", *options, *where, _command(device, wait_s)]
        with turnstile:
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n", f"{device.name}: ssh failed"
        process.communicate(payload)
        assert process.returncode == 0, f"{device.name}: ssh ended with {process.returncode}"

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(one, devices))


def asyncssh(devices: Sequence[Device], payload: bytes, wait_s: float, width: int) -> None:
    """A connection of asyncssh for each device, in one thread."""
    import asyncssh as library

    async def one(device: Device, turnstile: asyncio.Semaphore) -> None:
        async with turnstile:
            link = await library.connect(
                device.host,
                username=device.user,
                client_keys=[device.key],
                known_hosts=None,
                config=[],
            )
            process = await link.create_process(_command(device, wait_s), encoding=None)
            assert await process.stdout.readline() == b"\n", f"{device.name}: asyncssh failed"
        process.stdin.write(payload)
        process.stdin.write_eof()
        await process.wait(check=True)
        link.close()
        await link.wait_closed()

    async def everyone() -> None:
        turnstile = asyncio.Semaphore(width)
        await asyncio.gather(*(one(device, turnstile) for device in devices))

    asyncio.run(everyone())


def ways(
    devices: Sequence[Device], payload: bytes, wait_s: float, width: int
) -> dict[str, Callable[[], None]]:
    """The peers that are installed, by name, ready to run."""
    peers: dict[str, Peer] = {"OpenSSH processes": openssh}
    if importlib.util.find_spec("asyncssh") is None:
        print("asyncssh is not installed: pip install 'edgepack[bench]'")
    else:
        peers["asyncssh"] = asyncssh
    return {
        name: functools.partial(peer, devices, payload, wait_s, width)
        for name, peer in peers.items()
    }


def table(ways: Mapping[str, Callable[[], None]], turns: int) -> str:
    """Time every way that often, in turns; a table in Markdown, the first way's ratio to each."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.monotonic()
            way()
            taken[name].append(time.monotonic() - began)
    own = statistics.median(next(iter(taken.values())))
    lines = ["| way | all done after (median, least to most) | the first's time |"]
    lines.append("| --- | --- | --- |")
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        lines.append(f"| {name} | {middle:.1f} s ({spread}) | {own / middle:.2f}x |")
    return "\n".join(lines)

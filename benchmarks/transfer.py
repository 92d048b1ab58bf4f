"""How long edgepack takes to bring files to a device, against scp, in the same run.

    PYTHONPATH=. python benchmarks/transfer.py [--rounds 5] [--round-trips 0 20 80] [--small]

Real sshd on this host: on the loopback for a round trip of 0 ms, else behind a link that delays
(benchmarks/delay_line.c; root). Both sides write to a RAM disk. The files are random bytes, so
that nothing is won by compressing. The two take turns; a line gives the medians in seconds,
their spread (the quartiles' distance) and edgepack's share of scp's time. edgepack's time runs
from connecting until the device has hashed and stored everything; scp's is that of its process.
`second`: the same push again; its bytes are counted on the interface, and its round trips
after login are told from how its time grows with the delay.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import netlab
from edgepack import config
from edgepack.fleet import run_jobs
from edgepack.model import (
    Blob,
    Job,
    JobSettings,
    Recipe,
    RuntimeSpec,
    Signature,
    Transfer,
    Variant,
)
from edgepack.transport.ssh import SshTransport
from tests.ssh.sshd import Sshd

MB = 1_000_000
BARS = {"large": {0: 0.95, 20: 0.95, 80: 0.95}, "many": {0: 0.9, 20: 0.15, 80: 0.15}}


@dataclass
class Bench:
    """One board, and the files that are brought there."""

    board: Sshd
    files: list[Path]

    def edgepack(self) -> Transfer:
        """Push them; what it cost."""
        (report,) = run_jobs([self.job()], emit=lambda event: None)
        assert report.failure is not None
        assert report.failure.code == "EP405", report.failure
        return report.transfer

    def job(self) -> Job:
        """A job that ends after the push: its runtime does not exist."""
        profile = replace(config.load_profile("desktop"), runtimes=(RuntimeSpec(name="none"),))
        blobs = [_blob(file) for file in self.files]
        return Job(
            job_id="benchmark",
            device=self.board.device(),
            profile=profile,
            variants=(_variant(blobs[0]),),
            data=None,
            blobs=tuple(blobs),
            settings=JobSettings(cache_bytes=1 << 40),
        )

    def forget(self) -> None:
        """Remove what the board has of the files; its agent stays."""
        shutil.rmtree(self.board.home / "blobs", ignore_errors=True)

    def scp(self) -> float:
        """Seconds that scp takes for the same files."""
        target = self.board.folder / "scp"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        command = ["scp", "-q", "-F", "none", "-P", str(self.board.port), "-i", str(self.board.key)]
        for option in (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ):
            command += ["-o", option]
        where = f"{getpass.getuser()}@{self.board.address}:{target}/"
        began = time.monotonic()
        subprocess.run([*command, *map(str, self.files), where], check=True)
        seconds = time.monotonic() - began
        assert sum(file.stat().st_size for file in target.iterdir()) == self.bytes
        shutil.rmtree(target)
        return seconds

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.stat().st_size for file in self.files)


def _blob(file: Path) -> Blob:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Blob(sha256=digest, bytes=file.stat().st_size, path=str(file))


def _variant(blob: Blob) -> Variant:
    return Variant(
        name="float",
        recipe=Recipe(name="float"),
        sha256=blob.sha256,
        bytes=blob.bytes,
        gzip_bytes=blob.bytes,
        signature=Signature(inputs=(), outputs=()),
    )


def pushed(bench: Bench) -> float:
    """Seconds of a whole first push."""
    bench.forget()
    cost = bench.edgepack()
    assert cost.blob_bytes == bench.bytes
    return cost.seconds


def spread(values: list[float]) -> float:
    """The distance of the quartiles."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def line(name: str, round_trip: float, ours: list[float], theirs: list[float], bar: float) -> None:
    """Print one comparison."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"{name:8} {round_trip:3g} ms  edgepack {statistics.median(ours):6.2f} ±{spread(ours):.2f}"
        f"  scp {statistics.median(theirs):6.2f} ±{spread(theirs):.2f}  ratio {ratio:.2f}"
        f"  bar {bar:.2f} {'ok' if ratio <= bar else 'MISSED'}",
        flush=True,
    )


def opening(board: Sshd) -> float:
    """Seconds to connect, log in and start a command that does nothing."""
    link = SshTransport(board.device())
    began = time.monotonic()
    session = link.open("true")
    seconds = time.monotonic() - began
    session.kill()
    return seconds


def main() -> None:
    """Run everything that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-trips", type=float, nargs="+", default=[0, 20, 80])
    parser.add_argument("--small", action="store_true", help="a tenth of the bytes, for a look")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cleaning up is done
    size = MB // (10 if wanted.small else 1)
    second: dict[float, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="edgepack-files-", dir=netlab.MEMORY) as folder:
        os.environ["EDGEPACK_HOME"] = f"{folder}/home"
        sets = {"large": _files(Path(folder), "large", 1, 100 * size)}
        sets["many"] = _files(Path(folder), "many", 100, size)
        for round_trip in wanted.round_trips:
            with (
                netlab.delayed(round_trip) if round_trip else nullcontext() as link,
                netlab.board(link) as board,
            ):
                second[round_trip] = _measure(board, link, sets, round_trip, wanted.rounds)
    known = sorted(second)
    if len(known) > 1:
        (total, opened), (total_0, opened_0) = second[known[-1]], second[known[0]]
        growth = (total - opened) - (total_0 - opened_0)
        trips = 2 + growth / (known[-1] - known[0]) * 1000  # 2: the channel and the exec
        print(f"second   round trips after login: {trips:.1f}  bar 4")


def _measure(
    board: Sshd, link: netlab.Link | None, sets: dict[str, list[Path]], trip: float, rounds: int
) -> tuple[float, float]:
    """Both ways of pushing both sets, then the second push; its seconds and those of opening."""
    for name, files in sets.items():
        bench = Bench(board, files)
        pushed(bench)  # the agent gets there, caches warm up
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(pushed(bench))
            theirs.append(bench.scp())
        line(name, trip, ours, theirs, BARS[name].get(round(trip), 1.0))
    before = link.bytes() if link else 0
    cost = bench.edgepack()
    on_wire = f"{link.bytes() - before} bytes on the interface" if link else "loopback"
    print(
        f"second   {trip:3g} ms  {cost.seconds:.2f} s, {cost.blob_bytes} payload bytes, {on_wire}"
    )
    again = [bench.edgepack().seconds for _ in range(rounds)]
    return min(again), _least(lambda: opening(board), rounds)


def _least(measure: Callable[[], float], times: int) -> float:
    return min(measure() for _ in range(times))


def _files(folder: Path, name: str, count: int, size: int) -> list[Path]:
    made = []
    for number in range(count):
        file = folder / f"{name}-{number}.bin"
        file.write_bytes(os.urandom(size))
        made.append(file)
    return made


if __name__ == "__main__":
    main()

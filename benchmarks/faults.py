"""Faults by the dozen: uploads cut at random offsets, hosts killed at random moments.

    PYTHONPATH=. python benchmarks/faults.py [--cuts 50] [--kills 100] [--seed 0]

A real sshd on this host's loopback. Every upload is cut once by SIGKILL to the sshd that serves
it, and must then go on where it stopped; every `edgepack bench` is killed (SIGKILL) once, then
finished with `run --resume`. Prints a table of what was lost, doubled, wrong or left over, which
must all be 0, and of how much was sent again, at most one chunk; exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import netlab
from benchmarks.transfer import Bench
from edgepack import config
from edgepack.fleet import run_jobs
from edgepack.fleet.messages import CHUNK_BYTES
from edgepack.model import Event, Measurement
from edgepack.registry import Registry
from edgepack.store import is_final, open_store
from tests.ssh import package
from tests.ssh.sshd import Sshd

BYTES = 8_000_000
EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
ALL = {(device, variant) for device in ("board", "local") for variant in ("float", "int8")}


KINDS = ("lost", "duplicated", "wrong", "orphans", ".part left", "chunks resent")
MOST = {"chunks resent": 1}
"""What a kind may count to at worst, in one fault; the others not even once."""


@dataclass
class Tally:
    """What went wrong over all faults of one sort: by kind, the sum and the worst of one fault."""

    times: int
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    worst: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def note(self, kind: str, count: int) -> None:
        """Add what one fault did of that kind."""
        self.sums[kind] += count
        self.worst[kind] = max(self.worst[kind], count)

    def left_over(self, board: Sshd) -> None:
        """Note what still runs on the board 20 s later, and files that were never finished."""
        self.note("orphans", 0 if board.free() else len(board.processes()))
        self.note(".part left", len(list(board.home.rglob("*.part"))))

    @property
    def good(self) -> bool:
        """Whether nothing went beyond what may happen."""
        return all(self.worst[kind] <= MOST.get(kind, 0) for kind in KINDS)


def cut_uploads(board: Sshd, folder: Path, times: int, rng: random.Random) -> Tally:
    """Cut that many uploads, each at an offset of its own.

    chunks resent: of those that the board had whole when the link was cut.
    """
    tally = Tally(times)
    file = folder / "upload"
    for number in range(times):
        content = rng.randbytes(BYTES)
        file.write_bytes(content)
        bench = Bench(board, [file])
        bench.forget()
        final = board.home / "blobs" / hashlib.sha256(content).hexdigest()
        offset, cut = rng.randrange(BYTES), threading.Event()

        def emit(event: Event, offset: int = offset, cut: threading.Event = cut) -> None:
            if event.stage == "push" and (event.done or 0) >= offset and not cut.is_set():
                cut.set()
                board.cut()

        list(run_jobs([bench.job()], emit=emit))
        tally.note("orphans", 0 if board.free() else len(board.processes()))
        there = on_board(board)
        tally.note("wrong", final.exists() and final.stat().st_size != BYTES)
        cost = bench.edgepack()
        tally.note("lost", not final.exists())
        tally.note("wrong", final.exists() and final.read_bytes() != content)
        again = cost.blob_bytes - (BYTES - there)
        tally.note("chunks resent", math.ceil(again / CHUNK_BYTES))
        tally.left_over(board)
        print(f"cut {number}: {there} of {BYTES} bytes were there", flush=True)
    return tally


def kill_hosts(board: Sshd, folder: Path, times: int, rng: random.Random) -> Tally:
    """Kill that many runs, each at a moment of its own, and finish them.

    lost: what is not measured in the end, or not any more; wrong: what was measured and changed.
    """
    tally = Tally(times)
    package.write(folder / "pack")
    Registry(config.devices_file()).add(board.device())
    command = [*EDGEPACK, "bench", str(folder / "pack"), "-d", "board", "-d", "local"]
    command += ["--max-seconds", "0.5", "-v"]
    lines = start(command).communicate()[1].count(b"\n")
    for number in range(times):
        process = start(command)
        assert process.stderr is not None
        # At work, or about to store and conclude, where most of the lines are said.
        for _ in range(rng.randrange(lines) if number % 2 else 0):
            process.stderr.readline()
        time.sleep(rng.uniform(0.0, 1.0 if number % 2 else 4.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = dict(measured())
        resume = [*EDGEPACK, "run", "--resume", "latest", "-q"]
        done = subprocess.run(resume, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(done.stderr.strip())
        rows = measured()
        after = dict(rows)
        tally.note("lost", len(ALL - {*after}))
        tally.note("duplicated", len(rows) - len(after))
        tally.note("wrong", sum(after.get(key, found) != found for key, found in before.items()))
        tally.left_over(board)
        print(f"kill {number}: {len(before)} of {len(ALL)} were measured", flush=True)
    return tally


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """The command, once it has begun its run."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    while not process.stderr.readline().startswith(b"run 2"):
        assert process.poll() is None
    return process


def measured() -> list[tuple[tuple[str, str], Measurement]]:
    """What the newest run holds as measured, by device and variant."""
    with open_store(config.store_url()) as store:
        found = store.load("latest").measurements
    return [((m.device, m.variant), m) for m in found if is_final(m)]


def on_board(board: Sshd) -> int:
    """Bytes of blobs and parts that the board has."""
    return sum(file.stat().st_size for file in (board.home / "blobs").glob("*"))


def main() -> None:
    """Inject, then print what went wrong; exit 1 when anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cleaning up is done
    rng, began = random.Random(wanted.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgepack-faults-") as name:
        os.environ["EDGEPACK_HOME"] = f"{name}/home"
        with netlab.board(None) as board:
            tallies = {
                "upload cut": cut_uploads(board, Path(name), wanted.cuts, rng),
                "host killed": kill_hosts(board, Path(name), wanted.kills, rng),
            }
    print(table(tallies))
    print(f"took {time.monotonic() - began:.0f} s")
    sys.exit(not all(tally.good for tally in tallies.values()))


def table(tallies: dict[str, Tally]) -> str:
    """In Markdown: a line a sort of fault; chunks are those of the worst upload."""
    head = ["fault", "times", *KINDS, "good"]
    lines = [head, ["---"] * len(head)]
    for title, tally in tallies.items():
        counts = [(tally.worst if kind in MOST else tally.sums)[kind] for kind in KINDS]
        lines.append([title, *map(str, (tally.times, *counts)), "yes" if tally.good else "NO"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()

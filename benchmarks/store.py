"""The store with a million measurements: `runs ls`, `compare`, `runs trend`.

    PYTHONPATH=. python benchmarks/store.py [--rows 1000000] [--engine sqlite] [--repeat 5]

The unit is a row of the table `measurements`: one variant on one device in one run, with its
environment, quality bits and 600 latency samples (so a million rows hold 600 million samples).
Rows are copies of one run's, made inside the database. Runs have 6 variants on 4 devices.
Each figure is the median of --repeat, in this process and as a command (with Python's start and
every import); beside it the command's CPU time, which other work on the machine stretches less.
The bar is one second. PostgreSQL is a cluster of the benchmark's own.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

from edgepack.cli.main import cli
from edgepack.model import Run
from edgepack.store import open_store
from tests import builders, postgres

VARIANTS = ("float", "dynamic", "int8", "prune50-int8", "fp16", "int4")
DEVICES = ("local", "pi4", "pi-zero", "nano")
BAR_S = 1.0
EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
COPIED = 1000
"""Runs that one statement adds: what it has to sort and log stays small."""


def template() -> Run:
    """One run of all variants on all devices."""
    shapes = dict(builders.SHAPES)
    usual = list(shapes)
    run = builders.run(usual, DEVICES, run_id="20200101T000000-000000")
    more = tuple(
        dataclasses.replace(measured, variant=name)
        for name in VARIANTS[len(usual) :]
        for measured in run.measurements
        if measured.variant == "dynamic"
    )
    package = builders.package([builders.variant(name) for name in VARIANTS])
    return dataclasses.replace(run, package=package, measurements=(*run.measurements, *more))


def fill(url: str, rows: int) -> int:
    """Make the store; returns its rows of measurements."""
    run = template()
    with open_store(url) as store:
        store.save(run)
    wanted = max(rows // len(run.measurements), 2) - 1
    engine = create_engine(url)
    for start in range(0, wanted, COPIED):
        with engine.begin() as connection:
            _copy(connection, start, min(start + COPIED, wanted))
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        count = int(connection.scalar(text("SELECT count(*) FROM measurements")) or 0)
    engine.dispose()
    return count


def _copy(connection: Connection, start: int, stop: int) -> None:
    """Copy the first run into one run for each number from start to stop."""
    first = "20200101T000000-000000"
    ids = [f"202611{1 + n // 86400 % 28:02d}T{n // 3600 % 24:02d}{n // 60 % 60:02d}{n % 60:02d}"
           f"-{n:06x}" for n in range(start, stop)]  # fmt: skip
    connection.execute(text("CREATE TEMPORARY TABLE fresh (run_id VARCHAR(64))"))
    connection.execute(text("INSERT INTO fresh VALUES (:id)"), [{"id": each} for each in ids])
    for table in ("runs", "measurements", "transfers"):
        columns = [
            name
            for name in connection.execute(text(f"SELECT * FROM {table} LIMIT 0")).keys()  # noqa: SIM118
            if name != "run_id"
        ]
        named = ", ".join(columns)
        old = ", ".join(f"{table}.{name}" for name in columns)
        connection.execute(
            text(
                f"INSERT INTO {table} (run_id, {named}) SELECT fresh.run_id, {old} "
                f"FROM fresh CROSS JOIN {table} WHERE {table}.run_id = :first"
            ),
            {"first": first},
        )
    connection.execute(text("DROP TABLE fresh"))


CALLS = (
    ("runs", "ls"),
    ("compare", "latest"),
    ("compare", "latest", "latest~1"),
    ("runs", "trend", "--device", "pi4"),
)


def inside(arguments: Sequence[str]) -> None:
    """The command in this process, its output thrown away."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(args=list(arguments), standalone_mode=False)


def outside(arguments: Sequence[str]) -> None:
    """The command as a user calls it: modules are compiled once, as pip does."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{os.environ['EDGEPACK_HOME']}/compiled"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [*EDGEPACK, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def timed(call: Callable[[], None], repeat: int) -> tuple[float, float]:
    """The medians of `repeat` calls' seconds, by the clock and of CPU, after one to fill caches."""
    call()
    taken, worked = [], []
    for _ in range(repeat):
        start, before = time.perf_counter(), sum(os.times()[:4])
        call()
        taken.append(time.perf_counter() - start)
        worked.append(sum(os.times()[:4]) - before)
    return statistics.median(taken), statistics.median(worked)


@contextmanager
def database(engine: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of that engine."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'runs.db'}"
        return
    found = postgres.binaries()
    if found is None:
        raise SystemExit("PostgreSQL is missing (Debian: apt-get install postgresql)")
    cluster = postgres.Cluster(found)
    try:
        yield cluster.database()
    finally:
        cluster.remove()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engine", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    slow = 0
    for engine in options.engine or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory() as name, database(engine, Path(name)) as url:
            os.environ |= {"EDGEPACK_HOME": name, "EDGEPACK_STORE": url}
            start = time.perf_counter()
            count = fill(url, options.rows)
            print(f"{engine}: {count:,} measurements, {time.perf_counter() - start:.0f} s to make")
            print(f"  {'':32} in process    command    its CPU   of the bar")
            for arguments in CALLS:
                here, _ = timed(functools.partial(inside, arguments), options.repeat)
                command, cpu = timed(functools.partial(outside, arguments), options.repeat)
                slow += command > BAR_S
                shown = "".join(f"{each * 1000:8.0f} ms" for each in (here, command, cpu))
                print(f"  {' '.join(arguments):32}{shown}   {command / BAR_S:.2f}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

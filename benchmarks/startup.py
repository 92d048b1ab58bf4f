"""How fast the light commands start, against Python with click alone: medians of wall time.

Bars: `--help` below 100 ms and `device ls` below 150 ms on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
COMMANDS = {
    "python -c 'import click'": ([sys.executable, "-c", "import click"], None),
    "edgepack --help": ([*EDGEPACK, "--help"], 100.0),
    "edgepack device ls": ([*EDGEPACK, "device", "ls"], 150.0),
    "python -c 'import edgepack'": ([sys.executable, "-c", "import edgepack"], None),
}


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=15, help="runs of each command (default 15)")
    count = parser.parse_args().n
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "EDGEPACK_HOME": home}
        for _ in range(count + 1):  # the first fills the caches
            for name, (command, _bar) in COMMANDS.items():
                began = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                times[name].append((time.perf_counter() - began) * 1e3)
    missed = False
    print(f"{'command':30} {'median ms':>10} {'least ms':>10} {'bar ms':>8}")
    for name, (_, bar) in COMMANDS.items():
        median = statistics.median(times[name][1:])
        missed |= bar is not None and median > bar
        print(f"{name:30} {median:10.0f} {min(times[name][1:]):10.0f} {bar or '':>8}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
